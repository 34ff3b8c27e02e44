"""A sheet as Markdown, CSV, LaTeX, HTML, and as tables of a logger."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isdiff.io.files import atomic_open
from isdiff.io.texts import csv_text, markdown_line
from isdiff.loggers.base import Tables
from isdiff.metrics.intervals import Estimate
from isdiff.tables.sheet import Sheet, footnotes

if TYPE_CHECKING:
    from jinja2 import Template

TEMPLATES = Path(__file__).parent / "templates"


def markdown(sheet: Sheet) -> str:
    """Best bold, second best italic."""
    values, *paired = sheet.grids()
    parts = [markdown_line(f"# {sheet.title}"), "", *values.markdown(), ""]
    for grid in paired:
        parts += [f"{grid.title}:", "", *grid.markdown(), ""]
    waits = [f"Waits for {thing}: {', '.join(cells)}" for thing, cells in sheet.gaps.waits.items()]
    parts += [markdown_line(f"- {note}") for note in [*footnotes(sheet), *waits]]
    return "\n".join(parts) + "\n"


def value_entries(sheet: Sheet) -> list[dict[str, Any]]:
    """Every cell with full numbers; None is what there is not."""
    return [
        {
            "table": sheet.name, "profile": sheet.profile, "dataset": sheet.dataset, "row": line.name,
            "label": line.label, "mask": column.mask, "metric": column.metric.name,
            **{key: getattr(value.ours, key, None) for key in ("value", "low", "high", "n")},
            "seed_sd": value.seed_sd, "paper_metric": column.paper_metric, "paper": value.paper,
            "network_calls": getattr(value.cost, "network_calls", None),
            "seconds_per_image": getattr(value.cost, "seconds", None),
            "protocol": getattr(value.cost, "protocol", None), "missing": value.missing,
        }
        for line, column, value in sheet.cells()
    ]  # fmt: skip


def comma_separated(sheet: Sheet) -> str:
    """One line a cell."""
    entries = value_entries(sheet)
    rows = [["" if value is None else value for value in entry.values()] for entry in entries]
    return csv_text([list(entries[0]), *rows])


def logged_tables(sheet: Sheet) -> Tables:
    """For loggers: the table as people read it, one with every number, and the comparisons."""
    columns = ["method", *(f"{c.mask}: {c.heading}" for c in sheet.columns), "network_calls", "seconds_per_image"]
    rows: list[list[Any]] = []
    for line in sheet.lines:
        cost = [None, None] if line.cost is None else [line.cost.network_calls, line.cost.seconds]
        rows.append([line.label, *(bounds(value.ours)[0] for value in line.values), *cost, line.paper_time])
    if sheet.timed:
        columns.append("paper_seconds")
    left_out = ("table", "profile", "dataset", "network_calls", "seconds_per_image", "protocol")
    entries = [{key: value for key, value in each.items() if key not in left_out} for each in value_entries(sheet)]
    compared = [
        [each.label, each.against, column.mask, column.metric.name, *bounds(found.difference), finite(found.relative),
         finite(found.p), found.difference.n, str(found.verdict)]
        for each, column, found in sheet.paired()
    ]  # fmt: skip
    heads = [
        "method",
        "against",
        "mask",
        "metric",
        "difference",
        "low",
        "high",
        "relative_percent",
        "p",
        "n",
        "verdict",
    ]
    return {
        "table": (columns, [row[: len(columns)] for row in rows]),
        "values": (
            ["method" if key == "label" else key for key in entries[0]],
            [[finite(value) for value in entry.values()] for entry in entries],
        ),
        "comparisons": (heads, compared),
    }


def bounds(found: Estimate | None) -> list[float | None]:
    """Value and interval; None is what is not known."""
    return [None] * 3 if found is None else [finite(x) for x in (found.value, found.low, found.high)]


def finite(value: Any) -> Any:
    """None for a number that is not finite; numbers of the paper's as plain ones."""
    if not isinstance(value, float):
        return value
    return float(value) if math.isfinite(value) else None


def template(name: str) -> Template:
    """A Jinja template of this folder; what it is given is escaped in the language of its ending."""
    from jinja2 import Environment, FileSystemLoader
    from markupsafe import Markup  # text that is markup already, such as a macro's

    if name.endswith(".tex"):
        found = Environment(
            loader=FileSystemLoader(TEMPLATES), trim_blocks=True, lstrip_blocks=True, block_start_string="<%",
            block_end_string="%>", variable_start_string="<<", variable_end_string=">>", comment_start_string="<#",
            comment_end_string="#>", finalize=lambda x: x if isinstance(x, Markup) else latex_text(str(x)),
        )  # fmt: skip
    else:
        found = Environment(loader=FileSystemLoader(TEMPLATES), trim_blocks=True, lstrip_blocks=True, autoescape=True)
    return found.get_template(name)


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
    return template("page.html").render(title=sheet.title, sheets=[parts(sheet)])


def parts(sheet: Sheet) -> dict[str, object]:
    """What the templates show of a sheet."""
    return {"sheet": sheet, "grids": sheet.grids(), "notes": footnotes(sheet)}


FORMS = {"md": markdown, "csv": comma_separated, "tex": latex, "html": html}


def write(sheet: Sheet, folder: Path) -> list[Path]:
    """The sheet in every form, as ``<name>.md``, ``.csv``, ``.tex`` and ``.html``."""
    written = []
    for ending, form in FORMS.items():
        path = folder / f"{sheet.name}.{ending}"
        with atomic_open(path) as stream:
            stream.write(form(sheet))
        written.append(path)
    return written
