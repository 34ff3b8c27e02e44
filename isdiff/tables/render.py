"""A sheet as Markdown, CSV, LaTeX, HTML, and on a terminal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from isdiff.errors import printable
from isdiff.io.files import atomic_open
from isdiff.io.texts import csv_text, markdown_line, markdown_table
from isdiff.tables.sheet import Sheet, Text, body, comparison_rows, footnotes, heads

if TYPE_CHECKING:
    from jinja2 import Template
    from rich.table import Table

TEMPLATES = Path(__file__).parent / "templates"


def markdown(sheet: Sheet) -> str:
    """Best bold, second best italic."""

    def cell(text: Text) -> str:
        value = {"best": f"**{text.value}**", "second": f"*{text.value}*", "bad": f"**{text.value}**"}
        return f"{value.get(text.mark, text.value)} {text.detail}".strip()

    def table(titles: list[str], rows: list[list[Text]]) -> list[str]:
        return markdown_table(titles, [list(map(cell, row)) for row in rows])

    parts = [markdown_line(f"# {sheet.title}"), "", *table(heads(sheet), body(sheet)), ""]
    titles, rows = comparison_rows(sheet)
    if rows:
        parts += ["Paired over images:", "", *table(titles, rows), ""]
    waits = [f"Waits for {thing}: {', '.join(cells)}" for thing, cells in sheet.gaps.waits.items()]
    parts += [markdown_line(f"- {note}") for note in [*footnotes(sheet), *waits]]
    return "\n".join(parts) + "\n"


def comma_separated(sheet: Sheet) -> str:
    """One line a cell, with full numbers."""
    rows: list[list[object]] = [
        ["table", "profile", "dataset", "row", "label", "mask", "metric", "value", "low", "high", "n", "seed_sd",
         "paper_metric", "paper", "network_calls", "seconds_per_image", "protocol", "missing"]
    ]  # fmt: skip
    for line in sheet.lines:
        for value, column in zip(line.values, sheet.columns, strict=True):
            ours = value.ours
            found = [""] * 4 if ours is None else [ours.value, ours.low, ours.high, ours.n]
            cost = ["", "", ""] if value.cost is None else [value.cost.calls, value.cost.seconds, value.cost.protocol]
            given = ["" if x is None else x for x in (value.seed_sd, column.paper_metric, value.paper)]
            rows.append(
                [sheet.name, sheet.profile, sheet.dataset, line.name, line.label, column.mask, column.metric, *found,
                 *given, *cost, value.missing]
            )  # fmt: skip
    return csv_text(rows)


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
    return "".join(SPECIAL.get(letter, letter) for letter in text)


def latex(sheet: Sheet) -> str:
    """A table for ``booktabs``; needs ``\\usepackage{booktabs,graphicx}``. Best bold, second best underlined."""
    titles, rows = comparison_rows(sheet)
    return template("table.tex").render(
        sheet=sheet, heads=heads(sheet), body=body(sheet), notes=footnotes(sheet), titles=titles, rows=rows
    )


def html(sheet: Sheet) -> str:
    """A page of its own that opens offline."""
    return template("page.html").render(title=sheet.title, sheets=[parts(sheet)])


def parts(sheet: Sheet) -> dict[str, object]:
    """What the HTML templates show of a sheet."""
    titles, rows = comparison_rows(sheet)
    return {
        "sheet": sheet, "heads": heads(sheet), "body": body(sheet), "notes": footnotes(sheet), "titles": titles,
        "rows": rows,
    }  # fmt: skip


def side_by_side(titles: list[str], rows: list[list[Text]], width: int) -> list[list[int]]:
    """Columns in as many groups as it takes for their longest words to fit; the first column begins each."""
    words = [max(len(word) for text in column for word in text.split() or [""]) + 3 for column in zip(
        titles, *([f"{text.value} {text.detail}" for text in row] for row in rows), strict=True)]  # fmt: skip
    groups = [[0]]
    for place in range(1, len(titles)):
        if len(groups[-1]) > 1 and sum(words[i] for i in [*groups[-1], place]) >= width:
            groups.append([0])
        groups[-1].append(place)
    return groups


def terminal(sheet: Sheet, width: int | None = None) -> list[Table]:
    """For a ``rich`` console of so many columns (this one's): the values, and below them the comparisons."""
    from rich import get_console
    from rich.markup import escape
    from rich.table import Table

    styles = {"best": "bold green", "second": "underline", "bad": "bold red"}

    def cell(text: Text) -> str:
        value = escape(printable(text.value))
        value = f"[{styles[text.mark]}]{value}[/]" if text.mark else value
        return f"{value}\n[dim]{escape(text.detail)}[/]" if text.detail else value

    found = []
    for title, (titles, rows) in (
        (sheet.title, (heads(sheet), body(sheet))),
        ("Paired over images", comparison_rows(sheet)),
    ):
        for group in side_by_side(titles, rows, width or get_console().width) if rows else []:
            table = Table(title=escape(title))
            for place in group:
                table.add_column(escape(titles[place]), overflow="fold")
            for row in rows:
                table.add_row(*(cell(row[place]) for place in group))
            found.append(table)
    return found


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
