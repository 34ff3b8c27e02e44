"""Errors that a user can mend: shown as one sentence, without a traceback."""


class UserError(Exception):
    """Something outside the program is not as it must be; the message says what, where and what to do."""
