"""Checks of the values that an object is made with; the message names the key of the configuration that gives each.

A refused value is a sentence for users of the command line and a ``ValueError`` for callers of the library.
"""

import math
import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated, Any

from isdiff.errors import UserError

LONGEST_SIDE = 16384  # what comes above it is a slip, and ends in the middle of things for want of memory
LARGEST = 1e100  # of numbers: above it one is no float, or a slip


class BadValue(UserError, ValueError):
    """A value that cannot be used."""


def is_number(value: Any) -> bool:
    """Whether it is a finite number and no bool, which Python would count as 0 or 1."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < LARGEST


def check_flag(key: str, value: Any) -> None:
    """Refuse what is no bool; ``"no"`` would otherwise mean yes."""
    if not isinstance(value, bool):
        raise BadValue(f"{key} is {value!r}; it must be true or false")


def check_whole(key: str, value: Any, low: int | None = 1) -> None:
    """Refuse what is no whole number, or below ``low``."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole or (low is not None and value < low):
        bounds = "" if low is None else f" of at least {low}"
        raise BadValue(f"{key} is {value!r}; it must be a whole number{bounds}")


def check_side(key: str, value: Any) -> None:
    """Refuse what is no number of pixels that an image's side can have."""
    check_whole(key, value)
    if value > LONGEST_SIDE:
        raise BadValue(f"{key} is {value}; it must be at most {LONGEST_SIDE} pixels")


def check_number(key: str, value: Any, low: float = 0, high: float = math.inf) -> None:
    """Refuse what is no finite number, or not between ``low`` and ``high``."""
    if not is_number(value) or not low <= value <= high:
        bounds = f"a number of at least {low:g}" if high == math.inf else f"a number between {low:g} and {high:g}"
        raise BadValue(f"{key} is {value!r}; it must be {bounds}")


def check_text(key: str, value: Any) -> None:
    """Refuse what is no text, or an empty one (as a path, that would be the current folder)."""
    if not isinstance(value, (str, os.PathLike)) or not str(value):
        quoted = f"; a number in quotes is one: '\"{value!r}\"'" if isinstance(value, (int, float)) else ""
        raise BadValue(f"{key} is {value!r}; it must be a text that is not empty{quoted}")


def check_choice(key: str, value: Any, allowed: Sequence[Any], what: str = "it must be one of") -> None:
    """Refuse what is none of the values allowed."""
    if not isinstance(value, str) or value not in allowed:
        raise BadValue(f"{key} is {value!r}; {what} {', '.join(map(str, allowed))}")


def one_of(*allowed: str, what: str = "it must be one of") -> Callable[[str, Any], None]:
    """Make a check for ``Annotated[str, ...]``."""
    return partial(check_choice, allowed=allowed, what=what)


# Types of the arguments of components, which are checked before an object is made.
Flag = Annotated[bool, check_flag]
Text = Annotated[str, check_text]
Whole = Annotated[int, check_whole]  # at least 1
Count = Annotated[int, partial(check_whole, low=0)]  # at least 0
Side = Annotated[int, check_side]
Number = Annotated[float, check_number]  # at least 0
Positive = Annotated[float, partial(check_number, low=1e-3)]
FromOne = Annotated[float, partial(check_number, low=1)]
Share = Annotated[float, partial(check_number, high=1)]  # from 0 to 1
