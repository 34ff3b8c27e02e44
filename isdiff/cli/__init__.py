"""Commands: read what was typed, call, print."""
