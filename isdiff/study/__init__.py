"""The human study of Table III: which method's pictures do people prefer, without knowing whose they are."""
