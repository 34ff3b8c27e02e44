"""A sheet as Markdown, CSV, LaTeX, HTML, and as tables of a logger."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, Template
from markupsafe import Markup  # text that is markup already, such as a macro's

from isdiff.io.files import atomic_open
from isdiff.io.texts import csv_text, markdown_line
from isdiff.loggers.base import Tables
from isdiff.tables.sheet import Sheet, footnotes

TEMPLATES = Path(__file__).parent / "templates"


def markdown(sheet: Sheet, level: str = "#") -> str:
    """Best bold, second best italic; ``level`` is that of the heading."""
    values, *paired = sheet.grids()
    parts = [markdown_line(f"{level} {sheet.plan.title}"), "", *values.markdown(), ""]
    for grid in paired:
        parts += [f"{grid.title}:", "", *grid.markdown(), ""]
    waits = [f"Waits for {thing}: {', '.join(cells)}" for thing, cells in sheet.gaps.waits.items()]
    parts += [markdown_line(f"- {note}") for note in [*footnotes(sheet), *waits]]
    return "\n".join(parts) + "\n"


def value_entries(sheet: Sheet) -> list[dict[str, Any]]:
    """Every cell with full numbers; None is what there is not."""
    return [
        {
            "table": sheet.plan.name, "profile": sheet.plan.profile, "dataset": sheet.plan.dataset,
            "row": line.row.name, "label": line.row.label, "mask": column.mask, "metric": column.metric.name,
            **{key: getattr(value.ours, key, None) for key in ("value", "low", "high", "n")},
            "seed_sd": value.seed_sd, "paper_metric": column.paper_metric, "paper": value.paper,
            "network_calls": getattr(value.cost, "network_calls", None),
            "seconds_per_image": getattr(value.cost, "seconds", None),
            "protocol": getattr(value.cost, "protocol", None), "missing": value.missing,
        }
        for line, column, value in sheet.cells()
    ]  # fmt: skip


def comparison_entries(sheet: Sheet) -> list[dict[str, Any]]:
    """Every paired difference with full numbers."""
    return [
        {
            "method": each.row.label, "against": each.against.label, "mask": column.mask, "metric": column.metric.name,
            "difference": found.difference.value, "low": found.difference.low, "high": found.difference.high,
            "relative_percent": found.relative, "p": found.p, "n": found.difference.n, "verdict": str(found.verdict),
        }
        for each, column, found in sheet.paired()
    ]  # fmt: skip


def comma_separated(sheet: Sheet) -> str:
    """One line a cell."""
    entries = value_entries(sheet)
    rows = [["" if value is None else value for value in entry.values()] for entry in entries]
    return csv_text([list(entries[0]), *rows])


def logged_tables(sheet: Sheet) -> Tables:
    """For loggers: the table as people read it, one with every number, and the comparisons."""
    overview = []
    for line in sheet.lines:
        columns = zip(sheet.columns, line.values, strict=True)
        row: dict[str, Any] = {f"{c.mask}: {c.heading}": getattr(value.ours, "value", None) for c, value in columns}
        row |= {"network_calls": getattr(line.cost, "network_calls", None)}
        row |= {"seconds_per_image": getattr(line.cost, "seconds", None), "paper_seconds": line.row.paper_time}
        overview.append({"method": line.row.label} | row)
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


def latex(sheet: Sheet) -> str:
    """A table for ``booktabs``; needs ``\\usepackage{booktabs,graphicx}``. Best bold, second best underlined."""
    return template("table.tex").render(**parts(sheet))


def html(sheet: Sheet) -> str:
    """A page of its own that opens offline."""
    return template("page.html").render(title=sheet.plan.title, sheets=[parts(sheet)])


def parts(sheet: Sheet) -> dict[str, object]:
    """What the templates show of a sheet."""
    return {"sheet": sheet, "grids": sheet.grids(), "notes": footnotes(sheet)}


FORMS = {"md": markdown, "csv": comma_separated, "tex": latex, "html": html}


def write(sheet: Sheet, folder: Path) -> list[Path]:
    """The sheet in every form, as ``<name>.md``, ``.csv``, ``.tex`` and ``.html``."""
    written = []
    for ending, form in FORMS.items():
        path = folder / f"{sheet.plan.name}.{ending}"
        with atomic_open(path) as stream:
            stream.write(form(sheet))
        written.append(path)
    return written
