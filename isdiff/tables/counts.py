"""How many seeds and images stand behind the lines of a figure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from isdiff.tables.cells import Cells
from isdiff.tables.plan import TablePlan


def counted(panels: Sequence[tuple[str, TablePlan, Cells]], lines: Mapping[str, Sequence[str]]) -> str:
    """One sentence.

    Args:
        panels: a dataset's name, and what was measured on it.
        lines: the names of the rows behind each line, by its label.
    """
    parts = [f"{images(cells, lines)} of {dataset}" for dataset, _, cells in panels]
    return f"{seeds(panels)}, images: {', '.join(parts)}."


def seeds(panels: Sequence[tuple[str, TablePlan, Cells]]) -> str:
    found = sorted(
        {
            len(cell.seeds)
            for _, table, cells in panels
            for row in table.rows
            for cell in row.cells
            if (row.name, cell.mask) in cells
        }
    )
    number = " or ".join("one" if count == 1 else str(count) for count in found)
    return f"{number.capitalize()} seed{'s' if found[-1] > 1 else ''}"


def images(cells: Cells, lines: Mapping[str, Sequence[str]]) -> str:
    """Their number in most lines, and behind it the lines with another."""
    found = defaultdict(list)
    for label, names in lines.items():
        sizes = [len(row.ids) for (name, _), row in cells.items() if name in names]
        if sizes:
            found[min(sizes)].append(label)
    usual = max(found, key=lambda count: (len(found[count]), count), default=0)
    others = [
        f"{count} in {', '.join(repr(label) for label in found[count])}" for count in sorted(found) if count != usual
    ]
    return f"{usual} ({'; '.join(others)})" if others else str(usual)
