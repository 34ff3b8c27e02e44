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
    """A cell as text, in no markup yet.

    Attributes:
        note: what the paper says, and whether we agree.
        mark, note_mark: of value and note: ``best``, ``second``, ``bad`` or empty.
    """

    value: str
    detail: str = ""
    mark: str = ""
    note: str = ""
    note_mark: str = ""

    @property
    def marked(self) -> list[tuple[str, str]]:
        """Value, detail and note, each with its mark."""
        return [(self.value, self.mark), (self.detail, ""), (self.note, self.note_mark)]


@dataclass(frozen=True)
class Grid:
    """A table as people see it; a row whose first text has only a detail belongs to the row above."""

    title: str
    heads: list[str]
    rows: list[list[Text]]

    def markdown(self) -> list[str]:
        """Its lines, without the title: best bold, second best italic."""

        def cell(text: Text) -> str:
            value, note = (f"{MARKUP.get(m, '')}{part}{MARKUP.get(m, '')}" for part, m in text.marked[::2])
            return "; ".join(filter(None, [f"{value} {text.detail}".strip(), note]))

        return markdown_table(self.heads, [list(map(cell, row)) for row in self.rows])

    def terminal(self, title: str = "") -> Table:
        """For a ``rich`` console, under the ``title`` of the whole; words that do not fit a narrow one are folded."""
        from rich.markup import escape
        from rich.table import Table

        def cell(text: Text) -> str:
            parts = [(escape(printable(part)), STYLES.get(mark, "")) for part, mark in text.marked if part]
            return "\n".join(f"[{style}]{part}[/]" if style else part for part, style in parts)

        table = Table(title=escape(": ".join(filter(None, [title, self.title]))))
        for head in self.heads:
            table.add_column(escape(head), overflow="fold")
        for row in self.rows:
            table.add_row(*map(cell, row))
        return table
