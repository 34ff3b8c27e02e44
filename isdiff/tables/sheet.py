"""A table with its numbers, ready to be shown in any form."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from isdiff.metrics.contrast import Contrast
from isdiff.metrics.intervals import Estimate


@dataclass(frozen=True)
class Column:
    """
    Attributes:
        title: the metric's heading, with an arrow for the better direction.
        paper_metric: what the paper printed here.
        same: whether that is the metric measured, so that the two values may be subtracted.
    """

    mask: str
    metric: str
    title: str
    paper_metric: str
    same: bool

    @property
    def higher_is_better(self) -> bool:
        return self.title.endswith("↑")


@dataclass(frozen=True)
class Cost:
    """What images took, under which protocol (network, precision, batch size, device)."""

    calls: float
    seconds: float
    protocol: str


@dataclass
class Value:
    """One cell.

    Attributes:
        paper: the printed value.
        seed_sd: standard deviation between seeds; None for one seed.
        rank: 1 for the best of its column, 2 for the second best, else 0.
        missing: why there is no value.
        cost: of the cell's images.
    """

    ours: Estimate | None = None
    paper: float | None = None
    seed_sd: float | None = None
    rank: int = 0
    missing: str = ""
    cost: Cost | None = None


@dataclass
class Line:
    name: str
    label: str
    values: list[Value]
    cost: Cost | None = None
    paper_time: float | None = None


@dataclass(frozen=True)
class Comparison:
    """One row against another: a contrast for each column, None where one of them has no value."""

    label: str
    against: str
    contrasts: tuple[Contrast | None, ...]


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
    """
    Attributes:
        dataset: in the paper's words.
        notes: sentences below the table.
        times: how its seconds were taken.
    """

    name: str
    title: str
    profile: str
    setting: str
    columns: list[Column]
    lines: list[Line]
    comparisons: list[Comparison] = field(default_factory=list)
    gaps: Gaps = field(default_factory=Gaps)
    notes: list[str] = field(default_factory=list)
    dataset: str = ""
    times: str = ""

    def rank(self) -> None:
        """Mark the best and second best value of every column, among those over its largest number of images."""
        for index, column in enumerate(self.columns):
            values = [line.values[index] for line in self.lines]
            most = max((v.ours.n for v in values if v.ours is not None), default=0)
            full = {i: v.ours.value for i, v in enumerate(values) if v.ours is not None and v.ours.n == most}
            known = {i: value for i, value in full.items() if np.isfinite(value)}
            ordered = sorted(known, key=lambda i: known[i], reverse=column.higher_is_better)
            for place, i in enumerate(ordered[:2] if len(ordered) > 2 else ordered[:1], 1):
                values[i].rank = place

    @property
    def protocols(self) -> list[str]:
        """Each gets a column of seconds of its own: times of two networks are not to be compared."""
        return list(dict.fromkeys(line.cost.protocol for line in self.lines if line.cost))

    @property
    def has_paper(self) -> bool:
        return any(value.paper is not None for line in self.lines for value in line.values)


@dataclass(frozen=True)
class Text:
    """A cell as text, in no markup yet. ``mark``: ``best``, ``second`` or empty."""

    value: str
    detail: str = ""
    mark: str = ""


MARKS = {1: "best", 2: "second", 0: ""}


def number(value: float, signed: bool = False) -> str:
    """About four digits, so that 0.130 and 142.3 both say enough."""
    if not np.isfinite(value):
        return "unknown"
    digits = 3 if abs(value) < 10 else 2 if abs(value) < 100 else 1
    return f"{value:{'+' if signed else ''}.{digits}f}"


def span(found: Estimate, signed: bool = False) -> str:
    if not (np.isfinite(found.low) and np.isfinite(found.high)):
        return ""
    return f"[{number(found.low, signed)}, {number(found.high, signed)}]"


def shown(value: Value, column: Column) -> Text:
    """Value, interval, spread between seeds; the paper's value and, where it is the same metric, the difference."""
    details = []
    if value.ours is not None:
        details.append(span(value.ours))
        if value.seed_sd is not None:
            details.append(f"SD {number(value.seed_sd)}")
    if value.paper is not None:
        details.append(f"paper {value.paper}")
        if column.same and value.ours is not None:
            details[-1] += f" ({number(value.ours.value - value.paper, signed=True)})"
    text = number(value.ours.value) if value.ours is not None else "–"
    return Text(text, ", ".join(part for part in details if part), MARKS[value.rank])


def heads(sheet: Sheet) -> list[str]:
    several = len({column.mask for column in sheet.columns}) > 1
    titles = [f"{column.mask}: {column.title}" if several else column.title for column in sheet.columns]
    seconds = ["s/image" if len(sheet.protocols) == 1 else f"s/image [{i}]" for i in range(1, len(sheet.protocols) + 1)]
    return ["method", *titles, "n", "calls", *seconds, *(["paper's s"] if any_times(sheet.lines) else [])]


def any_times(lines: Iterable[Line]) -> bool:
    return any(line.paper_time is not None for line in lines)


def body(sheet: Sheet) -> list[list[Text]]:
    """The rows under ``heads``."""
    rows = []
    for line in sheet.lines:
        row = [Text(line.label)]
        row += [shown(value, column) for value, column in zip(line.values, sheet.columns, strict=True)]
        counts = sorted({value.ours.n for value in line.values if value.ours is not None})
        row.append(Text("–".join(str(n) for n in {*counts[:1], *counts[-1:]}) if counts else ""))
        row.append(Text(f"{line.cost.calls:.0f}" if line.cost else ""))
        row += [
            Text(f"{line.cost.seconds:.2f}" if line.cost and line.cost.protocol == protocol else "")
            for protocol in sheet.protocols
        ]
        if any_times(sheet.lines):
            row.append(Text("" if line.paper_time is None else f"{line.paper_time:g}"))
        rows.append(row)
    return rows


def comparison_rows(sheet: Sheet) -> tuple[list[str], list[list[Text]]]:
    """Headings and rows of the paired comparisons."""
    rows = []
    for each in sheet.comparisons:
        for column, found in zip(sheet.columns, each.contrasts, strict=True):
            if found is None:
                continue
            mark = {"gain confirmed": "best", "worse": "bad"}.get(found.verdict, "")
            cells = [each.label, each.against, column.mask, column.title]
            texts = [Text(cell) for cell in cells]
            texts.append(Text(number(found.difference.value, signed=True), span(found.difference, signed=True)))
            relative = f"{found.relative:+.1f} %" if np.isfinite(found.relative) else ""
            texts += [Text(relative), Text(f"{found.p:.3f}"), Text(str(found.difference.n))]
            rows.append([*texts, Text(found.verdict, "", mark)])
    return ["method", "against", "mask", "metric", "difference", "relative", "p", "n", "verdict"], rows


def footnotes(sheet: Sheet) -> list[str]:
    found = [
        f"{sheet.setting[:1].upper()}{sheet.setting[1:]}. In brackets 95 % bootstrap intervals over images"
        + (", SD: standard deviation between seeds" if has_seeds(sheet.lines) else "")
        + ". Best and second best of a column are marked"
        + (", among the rows with the most images." if len(sizes(sheet)) > 1 else ".")
    ]
    if sheet.has_paper:
        differ = sorted({(c.title.rstrip(" ↓↑"), c.paper_metric) for c in sheet.columns if not c.same})
        found.append(
            "paper: the value printed in the paper"
            + ("; " + ", ".join(f"its {p.upper()} stands beside our {o}" for o, p in differ)
               + ": other measures of other images, not to be compared" if differ else " (ours minus the paper's)")
            + "."
        )  # fmt: skip
    if sheet.protocols:
        several = len(sheet.protocols) > 1
        ways = (f"[{i}] {protocol}" if several else protocol for i, protocol in enumerate(sheet.protocols, 1))
        taken = f"; {sheet.times}" if sheet.times else ""
        what = "an image's encoders and seeds, and its share of the network's time"
        found.append(f"Seconds are of {what}: {'; '.join(ways)}{taken}.")
    return [*found, *sheet.notes]


def sizes(sheet: Sheet) -> set[int]:
    return {value.ours.n for line in sheet.lines for value in line.values if value.ours is not None}


def has_seeds(lines: Sequence[Line]) -> bool:
    return any(value.seed_sd is not None for line in lines for value in line.values)
