"""A table as people read it: headings and rows of text, in no markup yet."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from isdiff.metrics.intervals import Estimate, Verdict
from isdiff.tables.plan import RowPlan
from isdiff.tables.sheet import Agreement, Pair, Sheet, Value

MARKS = {Verdict.GAIN: "best", Verdict.WORSE: "bad", Agreement.AGREES: "best", Agreement.OPPOSITE: "bad"}


@dataclass(frozen=True)
class Text:
    """A cell.

    Attributes:
        note: what the paper says, and whether we agree.
        mark, note_mark: of value and note: ``best``, ``second``, ``bad`` or empty.
    """

    value: str = ""
    detail: str = ""
    mark: str = ""
    note: str = ""
    note_mark: str = ""


@dataclass(frozen=True)
class Grid:
    """A table; a row whose first text has only a detail belongs to the row above."""

    title: str
    heads: list[str]
    rows: list[list[Text]]


def mask_grid(sheet: Sheet, mask: str) -> Grid:
    """A line for each row that has something here, and below it one for each row that it is compared with."""
    columns, rows = [column for column in sheet.columns if column.mask == mask], []
    for row in sheet.plan.rows:
        values = [value for value in sheet.values if value.row is row and value.column.mask == mask]
        planned = next((cell for cell in row.cells if cell.mask == mask), None)
        if planned and planned.impossible and not planned.paper:
            continue
        rows.append([Text(row.label), *map(value_text, values), *cost_texts(sheet, row, values)])
        pairs = [pair for pair in sheet.pairs if pair.row is row and pair.column.mask == mask]
        for against in dict.fromkeys(pair.against.name for pair in pairs):
            its = {pair.column.metric.name: pair for pair in pairs if pair.against.name == against}
            texts = [pair_text(its[c.metric.name]) if c.metric.name in its else Text() for c in columns]
            sizes = {str(pair.found.difference.n) for pair in its.values() if pair.found}
            label = next(iter(its.values())).against.label
            rows.append([Text("", f"against {label}"), *texts, Text("–".join(sizes)), Text(), Text()])
    return Grid(mask, ["method", *(column.metric.heading for column in columns), "n", "calls", "s/image"], rows)


def cost_texts(sheet: Sheet, row: RowPlan, values: Sequence[Value]) -> list[Text]:
    """Images, network calls and seconds, with the number of the protocol where there are several; the paper's time."""
    counts = sorted({value.ours.n for value in values if value.ours is not None})
    sizes = "–".join(map(str, dict.fromkeys([*counts[:1], *counts[-1:]])))
    made = next((value for value in values if value.protocol), None)
    paper = "" if row.paper_time is None else f"paper {float(row.paper_time):g}"
    calls = seconds = ""
    if made:
        place = f" [{sheet.protocols.index(made.protocol) + 1}]" * (len(sheet.protocols) > 1)
        calls, seconds = f"{made.calls:.0f}", f"{made.seconds:.2f}{place}"
    return [Text(sizes), Text(calls), Text(seconds, note=paper)]


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


def value_text(value: Value) -> Text:
    """Value, interval, spread between seeds; the paper's value and, where it is the same metric, the difference."""
    paper = "" if value.paper is None else f"paper {value.paper}"
    if value.ours is None:
        return Text("–", note=paper)
    if value.paper is not None and value.column.same:
        paper += f" ({number(value.ours.value - float(value.paper), '+')})"
    spread = "" if value.seed_sd is None else f"SD {number(value.seed_sd)}"
    return Text(number(value.ours.value), ", ".join(filter(None, [span(value.ours), spread])), value.mark, paper)


def pair_text(pair: Pair) -> Text:
    """Verdict, difference, interval, share and p-value; the paper's difference, and a word on both."""
    found, word = pair.found, pair.agreement
    note, note_mark = (f"paper {pair.printed:+}: {word}", MARKS.get(word, "")) if word else ("", "")
    if found is None:
        return Text("–", note=note, note_mark=note_mark)
    relative = f", {found.relative:+.1f} %" if np.isfinite(found.relative) else ""
    detail = f"{number(found.difference.value, '+')} {span(found.difference, '+')}{relative}, p {found.p:.3f}"
    return Text(str(found.verdict), detail, MARKS.get(found.verdict, ""), note, note_mark)


def footnotes(sheet: Sheet) -> list[str]:
    """What the numbers are, the paper's, the seconds, and the sheet's own notes."""
    spread = ", SD: standard deviation between seeds" * any(value.seed_sd is not None for value in sheet.values)
    sizes = {value.ours.n for value in sheet.values if value.ours is not None}
    among = ", among the rows with the most images" * (len(sizes) > 1)
    found = [
        f"In brackets 95 % bootstrap intervals over images{spread}. Best and second best of a column are "
        f"marked{among}. A line with 'against' is the difference to that row, paired over images."
    ]
    if any(value.paper is not None for value in sheet.values):
        differ = sorted({(c.metric.title, c.paper_metric) for c in sheet.columns if not c.same})
        beside = ", ".join(f"its {paper.upper()} stands beside our {ours}" for ours, paper in differ)
        other = f"; {beside}: other measures and images, so only directions count"
        meant = other if differ else " (ours minus the paper's)"
        found.append(f"paper: what the paper prints{meant}, and the difference of two such values.")
    if protocols := sheet.protocols:
        ways = [f"[{i}] {each}" if len(protocols) > 1 else each for i, each in enumerate(protocols, 1)]
        taken = f"; {sheet.plan.times}" if sheet.plan.times else ""
        what = "an image's encoders and seeds, and its share of the network's time"
        apart = ". Those of two networks are not to be compared" * (len(protocols) > 1)
        found.append(f"Seconds are of {what}: {'; '.join(ways)}{taken}{apart}.")
    return [*found, *sheet.notes]
