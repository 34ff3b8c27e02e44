"""Errors that a user can mend: shown as one sentence, without a traceback."""

from collections import defaultdict
from collections.abc import Sequence

LONGEST_LINE = 2000


def printable(text: str) -> str:
    """Make a text of others fit for a terminal: what would move its cursor or change its colours is spelled out."""
    spelled = ("".join(c if c.isprintable() else ascii(c)[1:-1] for c in line) for line in text.split("\n"))
    return "\n".join(line if len(line) <= LONGEST_LINE else f"{line[: LONGEST_LINE - 4]} ..." for line in spelled)


class UserError(Exception):
    """Something outside the program is not as it must be; the message says what, where and what to do."""

    exit_code = 1

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


class Missing(UserError):
    """Weights or images that are not here; one line for each, with the command that gets it."""

    exit_code = 2

    def __init__(self, things: Sequence[str]) -> None:
        self.things = list(map(printable, things))
        super().__init__("\n".join(self.things))


class SomeFailed(UserError):
    """A run went to its end, but some of its images could not be made."""

    exit_code = 3


def explained(error: BaseException) -> str:
    """Write one sentence for an error of the user's or of the operating system."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        advice = "make room, change permissions or give another place, then run the same command again"
        return printable(f"{error.filename or 'a file'}: {error.strerror}; {advice}")
    return printable(str(error)) or type(error).__name__


def summed_up(failed: dict[str, str], shown: int = 5) -> list[str]:
    """Sum up failures by reason, one line each: the first image and how many more; the most frequent reason first.

    Reasons that differ only in the image's name count as one.
    """
    groups: dict[str, list[str]] = defaultdict(list)
    for image_id, reason in failed.items():
        groups[reason.replace(image_id, "*")].append(image_id)
    ranked = sorted(groups.values(), key=len, reverse=True)
    lines = []
    for ids in ranked[:shown]:
        more = f", and {len(ids) - 1} more like it" if len(ids) > 1 else ""
        lines.append(printable(f"{ids[0]}: {failed[ids[0]]}{more}"))
    if len(ranked) > shown:
        lines.append(f"{sum(map(len, ranked[shown:]))} more for {len(ranked) - shown} other reasons")
    return lines
