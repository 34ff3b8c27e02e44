"""The paper's own differences beside ours, and a word on whether one points where the other does."""

from collections.abc import Mapping
from decimal import Decimal
from enum import Enum

from isdiff.metrics.contrast import Contrast, Verdict
from isdiff.tables.plan import RowPlan


class Agreement(str, Enum):
    """What ours says of the paper's, in words."""

    AGREES = "agrees"
    NONE = "no difference here"
    OPPOSITE = "opposite"
    UNKNOWN = "not comparable"

    __str__ = str.__str__


MARKS = {Agreement.AGREES: "best", Agreement.OPPOSITE: "bad"}


def printed_difference(row: RowPlan, other: RowPlan, mask: str, place: int) -> Decimal | None:
    """The paper's value of ``row`` minus that of ``other`` for a metric; None unless the paper prints both."""
    values = [cell.paper[place] for each in (row, other) for cell in each.cells if cell.mask == mask and cell.paper]
    if len(values) < 2 or None in values or row.source or other.source:
        return None
    mine, its = (Decimal(str(value)) for value in values)
    return mine - its


def agreement(printed: Decimal | None, found: Contrast | None, higher_is_better: bool) -> Agreement | None:
    """Compare directions, as sizes are of other images and metrics; None where the paper prints no difference.

    Equal printed values have no direction.
    """
    if printed is None:
        return None
    if found is None or found.verdict is Verdict.FEW or not printed:
        return Agreement.UNKNOWN
    if found.verdict is Verdict.NONE:
        return Agreement.NONE
    better = (printed > 0) == higher_is_better
    return Agreement.AGREES if better == (found.verdict is Verdict.GAIN) else Agreement.OPPOSITE


def headline(counts: Mapping[Agreement, int]) -> str:
    """The answer in a sentence."""
    agrees, none, opposite = (counts[word] for word in (Agreement.AGREES, Agreement.NONE, Agreement.OPPOSITE))
    known = agrees + none + opposite
    if not known:
        return "Nothing can be compared yet."
    word = "Yes" if agrees == known else "Mostly" if 2 * agrees > known else "In part" if agrees > opposite else "No"
    found = f"Same direction here: {agrees}, no difference: {none}, opposite: {opposite}."
    return f"{word}. Differences of the paper that can be compared: {known}. {found}"
