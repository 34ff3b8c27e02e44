"""Masks: functions from an image's id and size to a hole. ``True`` (white in files) is what gets generated."""
