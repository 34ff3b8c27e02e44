"""The web page: what it offers, the line in which requests wait, the work, and (in ``page`` alone) gradio."""
