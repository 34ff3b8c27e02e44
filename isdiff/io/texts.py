"""Texts of others in tables: they say what they say, and do nothing in a spreadsheet or on a page."""

import csv
import io
import re
from collections.abc import Iterable, Sequence


def csv_text(rows: Iterable[Sequence[object]]) -> str:
    """Rows as CSV; a text that a spreadsheet would take for a formula has an apostrophe in front."""
    stream = io.StringIO()
    formula = re.compile(r"[=+\-@\t\r]")
    csv.writer(stream, lineterminator="\n").writerows(
        [f"'{cell}" if isinstance(cell, str) and formula.match(cell) else cell for cell in row] for row in rows
    )
    return stream.getvalue()


def markdown_line(text: str) -> str:
    """One line of Markdown in which no tag, link, picture or border of a cell begins; stars keep their meaning."""
    return re.sub(r"[\\|]|<(?=[\w/!?])|\](?=\()", r"\\\g<0>", " ".join(text.splitlines()))


def markdown_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(map(markdown_line, row))} |" for row in (heads, *rows)]
    return [lines[0], "|" + "---|" * len(heads), *lines[1:]]
