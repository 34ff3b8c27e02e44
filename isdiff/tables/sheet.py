"""A table with its numbers, and the text that people read of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from isdiff.metrics.contrast import Contrast, Verdict
from isdiff.metrics.intervals import Estimate
from isdiff.tables.grid import Grid, Text
from isdiff.tables.plan import RowPlan, TablePlan

if TYPE_CHECKING:
    from isdiff.metrics.base import Metric


@dataclass(frozen=True)
class Measure:
    """What a column shows that is no :class:`~isdiff.metrics.base.Metric`; none of its values is the better one."""

    name: str
    title: str
    heading: str
    higher_is_better: bool = False


@dataclass(frozen=True)
class Column:
    """One metric on one mask.

    Attributes:
        paper_metric: what the paper printed here.
        same: whether that is the metric measured, so that the two values may be subtracted.
    """

    mask: str
    metric: Metric | Measure
    paper_metric: str = ""
    same: bool = False

    @property
    def heading(self) -> str:
        return self.metric.heading


@dataclass(frozen=True)
class Cost:
    """What images took on average, under which protocol (network, precision, batch size, device)."""

    network_calls: float
    seconds: float
    protocol: str


@dataclass
class Value:
    """One cell.

    Attributes:
        paper: the printed value.
        seed_sd: standard deviation between seeds; None for one seed.
        mark: ``best`` or ``second`` of its column, else empty.
        missing: why there is no value.
        cost: of the cell's images.
    """

    ours: Estimate | None = None
    paper: float | None = None
    seed_sd: float | None = None
    mark: str = ""
    missing: str = ""
    cost: Cost | None = None


@dataclass
class Line:
    """A row of the table with its values, in the order of the columns."""

    row: RowPlan
    values: list[Value]
    cost: Cost | None = None


@dataclass(frozen=True)
class Comparison:
    """One row against another: a contrast for each column, None where one of them has no value."""

    row: RowPlan
    against: RowPlan
    contrasts: tuple[Contrast | None, ...]

    def count(self, verdict: Verdict) -> int:
        """In how many columns this comes out."""
        return sum(found is not None and found.verdict is verdict for found in self.contrasts)


@dataclass
class Gaps:
    """What could not be had.

    Attributes:
        waits: what is missing, each with the command that gets it, and the cells that wait for it.
        failed: why runs or images of runs failed, each with the cells that it befell.
    """

    waits: dict[str, list[str]] = field(default_factory=dict)
    failed: dict[str, list[str]] = field(default_factory=dict)

    def add(self, other: Gaps, name: str = "") -> None:
        """Also what ``other`` lacks, with its cells as those of the table ``name``."""
        for mine, its in ((self.waits, other.waits), (self.failed, other.failed)):
            for why, cells in its.items():
                mine.setdefault(why, []).extend(f"{name}: {cell}" if name else cell for cell in cells)


@dataclass
class Sheet:
    """A whole table; ``notes`` are sentences below it."""

    plan: TablePlan
    columns: list[Column]
    lines: list[Line] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)
    gaps: Gaps = field(default_factory=Gaps)
    notes: list[str] = field(default_factory=list)

    def rank(self) -> None:
        """Mark the best and second best value of every column, among those over its largest number of images."""
        for index, column in enumerate(self.columns):
            found = [(v, v.ours) for v in (line.values[index] for line in self.lines) if v.ours is not None]
            most = max((ours.n for _, ours in found), default=0)
            known = [(v, ours.value) for v, ours in found if ours.n == most and np.isfinite(ours.value)]
            known.sort(key=lambda pair: pair[1], reverse=column.metric.higher_is_better)
            for (value, _), mark in zip(known[:2] if len(known) > 2 else known[:1], ("best", "second"), strict=False):
                value.mark = mark

    def cells(self) -> Iterator[tuple[Line, Column, Value]]:
        """All of them, line by line."""
        for line in self.lines:
            for column, value in zip(self.columns, line.values, strict=True):
                yield line, column, value

    def paired(self) -> Iterator[tuple[Comparison, Column, Contrast]]:
        """All contrasts of the comparisons."""
        for each in self.comparisons:
            for column, found in zip(self.columns, each.contrasts, strict=True):
                if found is not None:
                    yield each, column, found

    @property
    def protocols(self) -> list[str]:
        """Each gets a column of seconds of its own: times of two networks are not to be compared."""
        return list(dict.fromkeys(line.cost.protocol for line in self.lines if line.cost))

    def grids(self) -> list[Grid]:
        """The values, and the paired comparisons where there are some."""
        paired = comparison_grid(self)
        return [value_grid(self), paired] if paired.rows else [value_grid(self)]


VERDICT_MARKS = {Verdict.GAIN: "best", Verdict.WORSE: "bad"}


def number(value: float, sign: str = "") -> str:
    """About four digits, so that 0.130 and 142.3 both say enough; with ``sign="+"`` also of positive ones the sign."""
    if not np.isfinite(value):
        return "unknown"
    digits = 3 if abs(value) < 10 else 2 if abs(value) < 100 else 1
    return f"{value:{sign}.{digits}f}"


def span(found: Estimate, sign: str = "") -> str:
    """The interval in brackets; empty where none is known."""
    known = np.isfinite(found.low) and np.isfinite(found.high)
    return f"[{number(found.low, sign)}, {number(found.high, sign)}]" if known else ""


def value_text(value: Value, column: Column) -> Text:
    """Value, interval, spread between seeds; the paper's value and, where it is the same metric, the difference."""
    details = []
    if value.ours is not None:
        details.append(span(value.ours))
    if value.seed_sd is not None:
        details.append(f"SD {number(value.seed_sd)}")
    if value.paper is not None:
        details.append(f"paper {value.paper}")
        if column.same and value.ours is not None:
            details[-1] += f" ({number(value.ours.value - value.paper, '+')})"
    text = number(value.ours.value) if value.ours is not None else "–"
    return Text(text, ", ".join(filter(None, details)), value.mark)


def value_grid(sheet: Sheet) -> Grid:
    """A row for each line."""
    several, protocols = len({column.mask for column in sheet.columns}) > 1, sheet.protocols
    timed = any(line.row.paper_time is not None for line in sheet.lines)
    titles = [f"{column.mask}: {column.heading}" if several else column.heading for column in sheet.columns]
    seconds = ["s/image" if len(protocols) == 1 else f"s/image [{i}]" for i in range(1, len(protocols) + 1)]
    heads = ["method", *titles, "n", "calls", *seconds, *["paper's s"] * timed]
    rows = []
    for line in sheet.lines:
        counts, cost = sorted({value.ours.n for value in line.values if value.ours is not None}), line.cost
        sizes = dict.fromkeys([*counts[:1], *counts[-1:]])
        costs = ["–".join(map(str, sizes)), f"{cost.network_calls:.0f}" if cost else ""]
        costs += [f"{cost.seconds:.2f}" if cost and cost.protocol == protocol else "" for protocol in protocols]
        costs += ["" if line.row.paper_time is None else f"{line.row.paper_time:g}"] * timed
        values = [value_text(value, column) for value, column in zip(line.values, sheet.columns, strict=True)]
        rows.append([Text(line.row.label), *values, *map(Text, costs)])
    return Grid(sheet.plan.title, heads, rows)


def comparison_grid(sheet: Sheet) -> Grid:
    """A row for each paired difference."""
    rows = []
    for each, column, found in sheet.paired():
        difference = found.difference
        relative = f"{found.relative:+.1f} %" if np.isfinite(found.relative) else ""
        rows.append([
            *map(Text, (each.row.label, each.against.label, column.mask, column.heading)),
            Text(number(difference.value, "+"), span(difference, "+")),
            *map(Text, (relative, f"{found.p:.3f}", str(difference.n))),
            Text(str(found.verdict), "", VERDICT_MARKS.get(found.verdict, "")),
        ])  # fmt: skip
    heads = ["method", "against", "mask", "metric", "difference", "relative", "p", "n", "verdict"]
    return Grid("Paired over images", heads, rows)


def footnotes(sheet: Sheet) -> list[str]:
    """What the numbers are, the paper's, the seconds, and the sheet's own notes."""
    values = [value for _, _, value in sheet.cells()]
    spread = ", SD: standard deviation between seeds" * any(value.seed_sd is not None for value in values)
    sizes = {value.ours.n for value in values if value.ours is not None}
    among = ", among the rows with the most images" * (len(sizes) > 1)
    setting = f"{sheet.plan.setting[:1].upper()}{sheet.plan.setting[1:]}. " if sheet.plan.setting else ""
    found = [
        f"{setting}In brackets 95 % bootstrap intervals over images{spread}. Best and second best of a column are "
        f"marked{among}."
    ]
    if any(value.paper is not None for value in values):
        differ = sorted({(c.metric.title, c.paper_metric) for c in sheet.columns if not c.same})
        beside = ", ".join(f"its {paper.upper()} stands beside our {ours}" for ours, paper in differ)
        same, other = " (ours minus the paper's)", f"; {beside}: other measures of other images, not to be compared"
        found.append(f"paper: the value printed in the paper{other if differ else same}.")
    if protocols := sheet.protocols:
        ways = [f"[{i}] {each}" if len(protocols) > 1 else each for i, each in enumerate(protocols, 1)]
        taken = f"; {sheet.plan.times}" if sheet.plan.times else ""
        what = "an image's encoders and seeds, and its share of the network's time"
        found.append(f"Seconds are of {what}: {'; '.join(ways)}{taken}.")
    return [*found, *sheet.notes]
