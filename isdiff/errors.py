"""Errors that a user can mend: shown as one sentence, without a traceback."""

from __future__ import annotations

from collections.abc import Sequence


class UserError(Exception):
    """Something outside the program is not as it must be; the message says what, where and what to do."""

    exit_code = 1


class Missing(UserError):
    """Weights or images that are not here; one line for each, with the command that gets it."""

    exit_code = 2

    def __init__(self, things: Sequence[str]) -> None:
        self.things = list(things)
        super().__init__("\n".join(self.things))
