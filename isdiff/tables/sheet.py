"""A table with its numbers: values, differences between rows, and whether they point where the paper's do."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum

import numpy as np

from isdiff.metrics.base import Metric
from isdiff.metrics.intervals import Contrast, Estimate, Verdict
from isdiff.tables.plan import RowPlan, TablePlan


class Agreement(str, Enum):
    """What our difference says of the paper's."""

    AGREES = "agrees"
    NONE = "no difference here"
    OPPOSITE = "opposite"
    UNKNOWN = "not comparable"

    __str__ = str.__str__


@dataclass(frozen=True)
class Measure:
    """What a column shows that is no :class:`~isdiff.metrics.base.Metric`; none of its values is the better one."""

    name: str
    title: str
    heading: str
    higher_is_better: bool = False


@dataclass(frozen=True)
class Column:
    """One metric on one mask."""

    mask: str
    metric: Metric | Measure
    paper_metric: str = ""  # what the paper printed here
    same: bool = False  # whether that is the metric measured, so that the two values may be subtracted


@dataclass
class Value:
    """One cell."""

    row: RowPlan
    column: Column
    ours: Estimate | None = None
    paper: Decimal | None = None  # the printed value
    seed_sd: float | None = None  # standard deviation between seeds; None for one seed
    mark: str = ""  # best or second of its column
    missing: str = ""  # why there is no value
    calls: float | None = None  # of the network for an image, on average
    seconds: float | None = None  # of an image, under the protocol: network, precision, batch size, device
    protocol: str = ""


@dataclass(frozen=True)
class Pair:
    """One row minus another in a column: ours and the paper's difference; at least one of them is known."""

    row: RowPlan
    against: RowPlan
    column: Column
    found: Contrast | None
    printed: Decimal | None

    @property
    def agreement(self) -> Agreement | None:
        """Compare directions, as sizes are of other images and metrics; None where the paper prints no difference.

        Equal printed values have no direction.
        """
        if self.printed is None:
            return None
        if self.found is None or self.found.verdict is Verdict.FEW or not self.printed:
            return Agreement.UNKNOWN
        if self.found.verdict is Verdict.NONE:
            return Agreement.NONE
        better = (self.printed > 0) == self.column.metric.higher_is_better
        return Agreement.AGREES if better == (self.found.verdict is Verdict.GAIN) else Agreement.OPPOSITE


def printed_difference(row: RowPlan, other: RowPlan, mask: str, place: int) -> Decimal | None:
    """The paper's value of ``row`` minus that of ``other`` for a metric; None unless the paper prints both."""
    values = [cell.paper[place] for each in (row, other) for cell in each.cells if cell.mask == mask and cell.paper]
    printed = [value for value in values if value is not None]
    return None if len(printed) < 2 or row.source or other.source else printed[0] - printed[1]


@dataclass
class Gaps:
    """What could not be had: things, each with the command that gets it, and reasons of failures, with their cells."""

    waits: dict[str, list[str]] = field(default_factory=dict)
    failed: dict[str, list[str]] = field(default_factory=dict)

    def add(self, other: "Gaps", name: str = "") -> None:
        """Also what ``other`` lacks, with its cells as those of the table ``name``."""
        for mine, its in ((self.waits, other.waits), (self.failed, other.failed)):
            for why, cells in its.items():
                mine.setdefault(why, []).extend(f"{name}: {cell}" if name else cell for cell in cells)


@dataclass
class Sheet:
    """A whole table; ``here`` says what was measured, ``notes`` are sentences below it."""

    plan: TablePlan
    columns: list[Column]
    values: list[Value] = field(default_factory=list)  # row by row, in the order of the columns
    pairs: list[Pair] = field(default_factory=list)
    gaps: Gaps = field(default_factory=Gaps)
    here: str = ""
    notes: list[str] = field(default_factory=list)

    def rank(self) -> None:
        """Mark the best and second best value of every column, among those over its largest number of images."""
        for column in self.columns:
            found = [(v, v.ours) for v in self.values if v.column is column and v.ours is not None]
            most = max((ours.n for _, ours in found), default=0)
            known = [(v, ours.value) for v, ours in found if ours.n == most and np.isfinite(ours.value)]
            known.sort(key=lambda pair: pair[1], reverse=column.metric.higher_is_better)
            for (value, _), mark in zip(known[:2] if len(known) > 2 else known[:1], ("best", "second"), strict=False):
                value.mark = mark

    def judged(self) -> Iterator[tuple[Pair, Agreement]]:
        """The differences that the paper prints for its own method, and what ours say of them."""
        for pair in self.pairs:
            if pair.row.isdiff and (word := pair.agreement) is not None:
                yield pair, word

    @property
    def protocols(self) -> list[str]:
        """Each gets a number of its own: times of two networks are not to be compared."""
        return list(dict.fromkeys(value.protocol for value in self.values if value.protocol))
