"""The web page: what it offers, the line in which requests wait, the work, and, with gradio, ``page`` and ``guard``."""
