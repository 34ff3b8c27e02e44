"""Files from disk and network: whole or absent, known by their hashes."""
