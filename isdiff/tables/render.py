"""A table as Markdown, CSV, LaTeX, HTML, and as tables of a logger."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, Template
from markupsafe import Markup  # text that is markup already, such as a macro's
from rich.console import Console
from rich.markdown import Markdown

from isdiff.errors import printable
from isdiff.io.files import atomic_save
from isdiff.io.texts import csv_text, markdown_line, markdown_table
from isdiff.loggers.base import Tables
from isdiff.tables.grid import Grid, Text, footnotes, mask_grid
from isdiff.tables.sheet import Sheet

TEMPLATES = Path(__file__).parent / "templates"
MARKUP = {"best": "**", "second": "*", "bad": "**", "": ""}  # in Markdown
LATEX = str.maketrans({
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "↓": r"$\downarrow$", "↑": r"$\uparrow$", "–": "--",
    "é": r"\'e", "×": r"$\times$",
})  # fmt: skip


@dataclass(frozen=True)
class Part:
    """A table as it is shown, whatever stands behind it."""

    name: str
    title: str
    setting: str
    grids: list[Grid]
    notes: list[str]
    entries: list[dict[str, Any]]  # every cell with full numbers; None is what there is not
    pictures: Mapping[str, Any] = field(default_factory=dict)  # strips by the title of their grid


def part_of(sheet: Sheet, pictures: Mapping[str, Any] | None = None) -> Part:
    """A sheet as it is shown, with a grid for every mask."""
    plan, waits = sheet.plan, [f"Waits for {what}: {', '.join(cells)}" for what, cells in sheet.gaps.waits.items()]
    setting, notes = ": ".join(filter(None, [plan.setting, sheet.here])), [*footnotes(sheet), *waits]
    grids = [mask_grid(sheet, mask) for mask in dict.fromkeys(column.mask for column in sheet.columns)]
    return Part(plan.name, plan.title, setting, grids, notes, value_entries(sheet), pictures or {})


def markdown(part: Part, level: str = "#") -> str:
    """Best bold, second best italic; ``level`` is that of the heading."""

    def cell(text: Text) -> str:
        value, note = (f"{MARKUP[m]}{t}{MARKUP[m]}" for t, m in ((text.value, text.mark), (text.note, text.note_mark)))
        return "; ".join(filter(None, [f"{value} {text.detail}".strip(), note]))

    lines = [markdown_line(f"{level} {part.title}"), ""]
    lines += [markdown_line(f"Here: {part.setting}."), ""] if part.setting else []
    for grid in part.grids:
        lines += [markdown_line(f"{grid.title}:"), ""] if len(part.grids) > 1 else []
        lines += [*markdown_table(grid.heads, [list(map(cell, row)) for row in grid.rows]), ""]
    return "\n".join([*lines, *(markdown_line(f"- {note}") for note in part.notes)]) + "\n"


def show(part: Part) -> None:
    """Print the table; words that do not fit a narrow terminal are folded."""
    Console().print(Markdown(printable(markdown(part))))


def value_entries(sheet: Sheet) -> list[dict[str, Any]]:
    """Every cell with full numbers; None is what there is not."""
    return [
        {
            "table": sheet.plan.name, "profile": sheet.plan.profile, "dataset": sheet.plan.dataset,
            "row": v.row.name, "label": v.row.label, "mask": v.column.mask, "metric": v.column.metric.name,
            **{key: getattr(v.ours, key, None) for key in ("value", "low", "high", "n")},
            "seed_sd": v.seed_sd, "paper_metric": v.column.paper_metric, "paper": v.paper, "network_calls": v.calls,
            "seconds_per_image": v.seconds, "protocol": v.protocol or None, "missing": v.missing,
        }
        for v in sheet.values
    ]  # fmt: skip


def comparison_entries(sheet: Sheet) -> list[dict[str, Any]]:
    """Every paired difference with full numbers, and the paper's."""
    return [
        {
            "method": pair.row.label, "against": pair.against.label, "mask": pair.column.mask,
            "metric": pair.column.metric.name, "difference": found.difference.value, "low": found.difference.low,
            "high": found.difference.high, "relative_percent": found.relative, "p": found.p, "n": found.difference.n,
            "verdict": str(found.verdict), "paper": None if pair.printed is None else float(pair.printed),
            "agreement": pair.agreement,
        }
        for pair in sheet.pairs
        if (found := pair.found) is not None
    ]  # fmt: skip


def comma_separated(entries: Sequence[dict[str, Any]]) -> str:
    rows = [["" if value is None else value for value in entry.values()] for entry in entries]
    return csv_text([list(entries[0]), *rows])


def logged_tables(sheet: Sheet) -> Tables:
    """For loggers: the table as people read it, one with every number, and the comparisons."""
    overview = []
    for planned in sheet.plan.rows:
        its = [value for value in sheet.values if value.row is planned]
        made = [value for value in its if value.protocol]
        row: dict[str, Any] = {"method": planned.label}
        row |= {f"{v.column.mask}: {v.column.metric.heading}": getattr(v.ours, "value", None) for v in its}
        for key, cost in (("network_calls", "calls"), ("seconds_per_image", "seconds")):
            row[key] = float(np.mean([getattr(value, cost) for value in made])) if made else None
        overview.append(row | {"paper_seconds": planned.paper_time})
    tables = {"table": overview, "values": value_entries(sheet), "comparisons": comparison_entries(sheet)}
    return {name: [plain_numbers(row) for row in rows] for name, rows in tables.items()}


def plain_numbers(entry: dict[str, Any]) -> dict[str, Any]:
    """None for numbers that are not finite; the paper's as plain ones."""
    floats = {key: float(value) for key, value in entry.items() if isinstance(value, (float, Decimal))}
    return entry | {key: value if math.isfinite(value) else None for key, value in floats.items()}


def template(name: str) -> Template:
    """A Jinja template of this folder; what it is given is escaped in the language of its ending."""
    options: dict[str, Any] = {"autoescape": True}
    if name.endswith(".tex"):
        options = {
            "block_start_string": "<%", "block_end_string": "%>", "variable_start_string": "<<",
            "variable_end_string": ">>", "comment_start_string": "<#", "comment_end_string": "#>",
            "finalize": lambda x: x if isinstance(x, Markup) else str(x).translate(LATEX),
        }  # fmt: skip
    loader = FileSystemLoader(TEMPLATES)
    return Environment(loader=loader, trim_blocks=True, lstrip_blocks=True, **options).get_template(name)


def latex(part: Part) -> str:
    """Tables for ``booktabs``; needs ``\\usepackage{booktabs,graphicx}``. Best bold, second best underlined."""
    return template("table.tex").render(part=part)


def html(part: Part) -> str:
    """A page of its own that opens offline."""
    return template("page.html").render(title=part.title, parts=[part])


FORMS = {"md": markdown, "csv": lambda part: comma_separated(part.entries), "tex": latex, "html": html}


def write(part: Part, folder: Path) -> None:
    """The table in every form, as ``<name>.md``, ``.csv``, ``.tex`` and ``.html``."""
    for ending, form in FORMS.items():
        atomic_save(folder / f"{part.name}.{ending}", form(part))
