"""A table with its numbers, and the text that people read of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np

from isdiff.metrics.contrast import Contrast, Verdict
from isdiff.metrics.intervals import Estimate
from isdiff.tables.agreement import MARKS, Agreement, agreement
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
    """One metric on one mask."""

    mask: str
    metric: Metric | Measure
    paper_metric: str = ""  # what the paper printed here
    same: bool = False  # whether that is the metric measured, so that the two values may be subtracted


@dataclass
class Value:
    """One cell."""

    ours: Estimate | None = None
    paper: float | None = None  # the printed value
    seed_sd: float | None = None  # standard deviation between seeds; None for one seed
    mark: str = ""  # best or second of its column
    missing: str = ""  # why there is no value
    calls: float | None = None  # of the network for an image, on average
    seconds: float | None = None  # of an image, under the protocol: network, precision, batch size, device
    protocol: str = ""


@dataclass
class Line:
    """A row of the table with its values, in the order of the columns."""

    row: RowPlan
    values: list[Value]


@dataclass(frozen=True)
class Comparison:
    """One row minus another, by column."""

    row: RowPlan
    against: RowPlan
    contrasts: tuple[Contrast | None, ...]  # None where one of them has no value
    printed: tuple[Decimal | None, ...]  # the paper's differences; None where it does not print both


@dataclass
class Gaps:
    """What could not be had: things, each with the command that gets it, and reasons of failures, with their cells."""

    waits: dict[str, list[str]] = field(default_factory=dict)
    failed: dict[str, list[str]] = field(default_factory=dict)

    def add(self, other: Gaps, name: str = "") -> None:
        """Also what ``other`` lacks, with its cells as those of the table ``name``."""
        for mine, its in ((self.waits, other.waits), (self.failed, other.failed)):
            for why, cells in its.items():
                mine.setdefault(why, []).extend(f"{name}: {cell}" if name else cell for cell in cells)


@dataclass
class Sheet:
    """A whole table; ``here`` says what was measured, ``notes`` are sentences below it."""

    plan: TablePlan
    columns: list[Column]
    lines: list[Line] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)
    gaps: Gaps = field(default_factory=Gaps)
    here: str = ""
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

    def paired(self) -> Iterator[tuple[Comparison, Column, Contrast | None, Decimal | None]]:
        """All differences, ours and the paper's, where there is one of them."""
        for each in self.comparisons:
            for column, found, printed in zip(self.columns, each.contrasts, each.printed, strict=True):
                if found is not None or printed is not None:
                    yield each, column, found, printed

    def agreements(self) -> Iterator[tuple[Comparison, Column, Agreement]]:
        """What ours say of the differences that the paper prints for its own method."""
        for each, column, found, printed in self.paired():
            word = agreement(printed, found, column.metric.higher_is_better)
            if each.row.isdiff and word is not None:
                yield each, column, word

    @property
    def protocols(self) -> list[str]:
        """Each gets a number of its own: times of two networks are not to be compared."""
        return list(dict.fromkeys(value.protocol for _, _, value in self.cells() if value.protocol))

    def grids(self) -> list[Grid]:
        """A grid for every mask."""
        return [mask_grid(self, mask) for mask in dict.fromkeys(column.mask for column in self.columns)]


def mask_grid(sheet: Sheet, mask: str) -> Grid:
    """A line for each row that has something here, and below it one for each row that it is compared with."""
    here = [i for i, column in enumerate(sheet.columns) if column.mask == mask]
    columns, rows = [sheet.columns[i] for i in here], []
    for line in sheet.lines:
        values = [line.values[i] for i in here]
        planned = next((cell for cell in line.row.cells if cell.mask == mask), None)
        if planned and planned.impossible and not planned.paper:
            continue
        texts = [value_text(value, column) for value, column in zip(values, columns, strict=True)]
        rows.append([Text(line.row.label), *texts, *cost_texts(sheet, line.row, values)])
        for each in [each for each in sheet.comparisons if each.row is line.row]:
            found = [(each.contrasts[i], each.printed[i]) for i in here]
            if any(part is not None for pair in found for part in pair):
                texts = [pair_text(*pair, column) for pair, column in zip(found, columns, strict=True)]
                sizes = {str(contrast.difference.n) for contrast, _ in found if contrast}
                rows.append([Text("", f"against {each.against.label}"), *texts, Text("–".join(sizes)), *[Text("")] * 2])
    return Grid(mask, ["method", *(column.metric.heading for column in columns), "n", "calls", "s/image"], rows)


def cost_texts(sheet: Sheet, row: RowPlan, values: list[Value]) -> list[Text]:
    """Images, network calls and seconds, with the number of the protocol where there are several; the paper's time."""
    counts = sorted({value.ours.n for value in values if value.ours is not None})
    made = next((value for value in values if value.protocol), Value())
    protocols, paper = sheet.protocols, "" if row.paper_time is None else f"paper {row.paper_time:g}"
    place = f" [{protocols.index(made.protocol) + 1}]" if made.protocol and len(protocols) > 1 else ""
    return [
        Text("–".join(map(str, dict.fromkeys([*counts[:1], *counts[-1:]])))),
        Text("" if made.calls is None else f"{made.calls:.0f}"),
        Text("" if made.seconds is None else f"{made.seconds:.2f}{place}", note=paper),
    ]


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
    paper = "" if value.paper is None else f"paper {value.paper}"
    if value.ours is None:
        return Text("–", note=paper)
    if value.paper is not None and column.same:
        paper += f" ({number(value.ours.value - value.paper, '+')})"
    spread = "" if value.seed_sd is None else f"SD {number(value.seed_sd)}"
    return Text(number(value.ours.value), ", ".join(filter(None, [span(value.ours), spread])), value.mark, paper)


def pair_text(found: Contrast | None, printed: Decimal | None, column: Column) -> Text:
    """Verdict, difference, interval, share and p-value; the paper's difference, and a word on both."""
    word = agreement(printed, found, column.metric.higher_is_better)
    note, note_mark = (f"paper {printed:+}: {word}", MARKS.get(word, "")) if word else ("", "")
    if found is None:
        return Text("–" if note else "", "", "", note, note_mark)
    relative = f", {found.relative:+.1f} %" if np.isfinite(found.relative) else ""
    detail = f"{number(found.difference.value, '+')} {span(found.difference, '+')}{relative}, p {found.p:.3f}"
    mark = {Verdict.GAIN: "best", Verdict.WORSE: "bad"}.get(found.verdict, "")
    return Text(str(found.verdict), detail, mark, note, note_mark)


def footnotes(sheet: Sheet) -> list[str]:
    """What the numbers are, the paper's, the seconds, and the sheet's own notes."""
    values = [value for _, _, value in sheet.cells()]
    spread = ", SD: standard deviation between seeds" * any(value.seed_sd is not None for value in values)
    sizes = {value.ours.n for value in values if value.ours is not None}
    among = ", among the rows with the most images" * (len(sizes) > 1)
    found = [
        f"In brackets 95 % bootstrap intervals over images{spread}. Best and second best of a column are "
        f"marked{among}. A line with 'against' is the difference to that row, paired over images."
    ]
    if any(value.paper is not None for value in values):
        differ = sorted({(c.metric.title, c.paper_metric) for c in sheet.columns if not c.same})
        beside = ", ".join(f"its {paper.upper()} stands beside our {ours}" for ours, paper in differ)
        same, other = (
            " (ours minus the paper's)",
            f"; {beside}: other measures and images, so only directions count",
        )
        found.append(f"paper: what the paper prints{other if differ else same}, and the difference of two such values.")
    if protocols := sheet.protocols:
        ways = [f"[{i}] {each}" if len(protocols) > 1 else each for i, each in enumerate(protocols, 1)]
        taken = f"; {sheet.plan.times}" if sheet.plan.times else ""
        what = "an image's encoders and seeds, and its share of the network's time"
        apart = ". Those of two networks are not to be compared" * (len(protocols) > 1)
        found.append(f"Seconds are of {what}: {'; '.join(ways)}{taken}{apart}.")
    return [*found, *sheet.notes]
