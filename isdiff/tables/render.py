"""A table as Markdown, CSV, LaTeX, HTML, and as tables of a logger."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, Template
from markupsafe import Markup  # text that is markup already, such as a macro's

from isdiff.io.files import atomic_save
from isdiff.io.texts import csv_text, markdown_line
from isdiff.loggers.base import Tables
from isdiff.tables.agreement import agreement
from isdiff.tables.grid import Grid
from isdiff.tables.sheet import Sheet, footnotes

TEMPLATES = Path(__file__).parent / "templates"


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
    """A sheet as it is shown."""
    plan, waits = sheet.plan, [f"Waits for {what}: {', '.join(cells)}" for what, cells in sheet.gaps.waits.items()]
    setting, notes = ": ".join(filter(None, [plan.setting, sheet.here])), [*footnotes(sheet), *waits]
    return Part(plan.name, plan.title, setting, sheet.grids(), notes, value_entries(sheet), pictures or {})


def markdown(part: Part, level: str = "#") -> str:
    """Best bold, second best italic; ``level`` is that of the heading."""
    lines = [markdown_line(f"{level} {part.title}"), ""]
    lines += [markdown_line(f"Here: {part.setting}."), ""] if part.setting else []
    for grid in part.grids:
        lines += [*([markdown_line(f"{grid.title}:"), ""] if len(part.grids) > 1 else []), *grid.markdown(), ""]
    return "\n".join([*lines, *(markdown_line(f"- {note}") for note in part.notes)]) + "\n"


def value_entries(sheet: Sheet) -> list[dict[str, Any]]:
    """Every cell with full numbers; None is what there is not."""
    return [
        {
            "table": sheet.plan.name, "profile": sheet.plan.profile, "dataset": sheet.plan.dataset,
            "row": line.row.name, "label": line.row.label, "mask": column.mask, "metric": column.metric.name,
            **{key: getattr(value.ours, key, None) for key in ("value", "low", "high", "n")},
            "seed_sd": value.seed_sd, "paper_metric": column.paper_metric, "paper": value.paper,
            "network_calls": value.calls, "seconds_per_image": value.seconds, "protocol": value.protocol or None,
            "missing": value.missing,
        }
        for line, column, value in sheet.cells()
    ]  # fmt: skip


def comparison_entries(sheet: Sheet) -> list[dict[str, Any]]:
    """Every paired difference with full numbers, and the paper's."""
    return [
        {
            "method": each.row.label, "against": each.against.label, "mask": column.mask, "metric": column.metric.name,
            "difference": found.difference.value, "low": found.difference.low, "high": found.difference.high,
            "relative_percent": found.relative, "p": found.p, "n": found.difference.n, "verdict": str(found.verdict),
            "paper": None if printed is None else float(printed),
            "agreement": agreement(printed, found, column.metric.higher_is_better),
        }
        for each, column, found, printed in sheet.paired()
        if found is not None
    ]  # fmt: skip


def comma_separated(entries: Sequence[dict[str, Any]]) -> str:
    """One line a cell."""
    rows = [["" if value is None else value for value in entry.values()] for entry in entries]
    return csv_text([list(entries[0]), *rows])


def logged_tables(sheet: Sheet) -> Tables:
    """For loggers: the table as people read it, one with every number, and the comparisons."""
    overview = []
    for line in sheet.lines:
        columns = zip(sheet.columns, line.values, strict=True)
        row: dict[str, Any] = {"method": line.row.label}
        row |= {f"{c.mask}: {c.metric.heading}": getattr(value.ours, "value", None) for c, value in columns}
        for key, cost in (("network_calls", "calls"), ("seconds_per_image", "seconds")):
            known = [getattr(value, cost) for value in line.values if value.protocol]
            row[key] = float(np.mean(known)) if known else None
        overview.append(row | {"paper_seconds": line.row.paper_time})
    tables = {"table": overview, "values": value_entries(sheet), "comparisons": comparison_entries(sheet)}
    return {name: [plain_numbers(row) for row in rows] for name, rows in tables.items()}


def plain_numbers(entry: dict[str, Any]) -> dict[str, Any]:
    """None for numbers that are not finite; the paper's as plain ones."""
    floats = {key: float(value) for key, value in entry.items() if isinstance(value, float)}
    return entry | {key: value if math.isfinite(value) else None for key, value in floats.items()}


def template(name: str) -> Template:
    """A Jinja template of this folder; what it is given is escaped in the language of its ending."""
    options: dict[str, Any] = {"autoescape": True}
    if name.endswith(".tex"):
        options = {
            "block_start_string": "<%", "block_end_string": "%>", "variable_start_string": "<<",
            "variable_end_string": ">>", "comment_start_string": "<#", "comment_end_string": "#>",
            "finalize": lambda x: x if isinstance(x, Markup) else latex_text(str(x)),
        }  # fmt: skip
    loader = FileSystemLoader(TEMPLATES)
    return Environment(loader=loader, trim_blocks=True, lstrip_blocks=True, **options).get_template(name)


SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "↓": r"$\downarrow$", "↑": r"$\uparrow$", "–": "--",
    "é": r"\'e", "×": r"$\times$",
}  # fmt: skip


def latex_text(text: str) -> str:
    """Text as LaTeX writes it."""
    return "".join(SPECIAL.get(letter, letter) for letter in text)


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
