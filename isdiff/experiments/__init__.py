"""Experiments: from a configuration to folders of results, tables and pictures."""
