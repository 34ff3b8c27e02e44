"""Headings and rows of text, and the forms that they are shown in: Markdown and a terminal; templates read them too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from isdiff.errors import printable
from isdiff.io.texts import markdown_table

if TYPE_CHECKING:
    from rich.table import Table

MARKUP = {"best": "**", "second": "*", "bad": "**"}  # in Markdown
STYLES = {"best": "bold green", "second": "underline", "bad": "bold red"}  # on a terminal


@dataclass(frozen=True)
class Text:
    """A cell as text, in no markup yet. ``mark``: ``best``, ``second``, ``bad`` or empty."""

    value: str
    detail: str = ""
    mark: str = ""


@dataclass(frozen=True)
class Grid:
    """A table as people see it."""

    title: str
    heads: list[str]
    rows: list[list[Text]]

    def markdown(self) -> list[str]:
        """Its lines, without the title: best bold, second best italic."""

        def cell(text: Text) -> str:
            around = MARKUP.get(text.mark, "")
            return f"{around}{text.value}{around} {text.detail}".strip()

        return markdown_table(self.heads, [list(map(cell, row)) for row in self.rows])

    def terminal(self, width: int | None = None) -> list[Table]:
        """For a ``rich`` console of so many columns (this one's): columns that do not fit stand in another table."""
        from rich import get_console
        from rich.markup import escape
        from rich.table import Table

        def cell(text: Text) -> str:
            value = escape(printable(text.value))
            value = f"[{STYLES[text.mark]}]{value}[/]" if text.mark else value
            return f"{value}\n[dim]{escape(text.detail)}[/]" if text.detail else value

        found = []
        for group in self.side_by_side(width or get_console().width) if self.rows else []:
            table = Table(title=escape(self.title))
            for place in group:
                table.add_column(escape(self.heads[place]), overflow="fold")
            for row in self.rows:
                table.add_row(*(cell(row[place]) for place in group))
            found.append(table)
        return found

    def side_by_side(self, width: int) -> list[list[int]]:
        """Columns in as many groups as it takes for their longest words to fit; the first column begins each."""
        columns = zip(self.heads, *([f"{text.value} {text.detail}" for text in row] for row in self.rows), strict=True)
        words = [max(len(word) for text in column for word in text.split() or [""]) + 3 for column in columns]
        groups = [[0]]
        for place in range(1, len(self.heads)):
            if len(groups[-1]) > 1 and sum(words[i] for i in [*groups[-1], place]) >= width:
                groups.append([0])
            groups[-1].append(place)
        return groups
