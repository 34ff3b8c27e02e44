"""How one image moves through the levels of noise."""
