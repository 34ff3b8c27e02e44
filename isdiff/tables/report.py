"""All tables and figures of a profile in one page that opens offline."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from isdiff import environment
from isdiff.io.files import atomic_open
from isdiff.metrics.base import Metric
from isdiff.metrics.contrast import FEW, GAIN, WORSE
from isdiff.tables.cells import Cells
from isdiff.tables.compare import Row
from isdiff.tables.figures import Drawn
from isdiff.tables.plan import TablePlan
from isdiff.tables.render import parts, template
from isdiff.tables.sheet import Sheet
from isdiff.tables.spent import Spent
from isdiff.tables.strips import FIRST, embedded, strip, worst


def strips(plan: TablePlan, cells: Cells, metric: Metric, folder: Path) -> list[dict[str, str]]:
    """For every mask of a table a picture of its first images, and one of those on which IS-Diff does worst.

    Which images are shown is no choice of ours: of the images that all rows have, the first of the dataset, and the
    worst values of ``metric`` for the first row with IS-Diff beside those of the row that it is compared with.
    """
    found = []
    for mask in plan.masks:
        rows = {row.name: cells[row.name, mask] for row in plan.rows if (row.name, mask) in cells}
        shown = list(rows.values())
        common = set[str]().union(*(row.ids for row in shown)).intersection(*(row.ids for row in shown))
        if not common:
            continue
        first = [i for i in shown[0].ids if i in common][:FIRST]
        found.append(
            picture(folder / f"{plan.name}_{mask}.png", shown, first, f"{plan.title}, {mask}: the first images")
        )
        judged = [r for r in plan.rows if "isdiff" in r.name and r.name in rows and r.against]
        if judged and len(common) > 1:  # one is the first and the worst
            row = judged[0]
            partner = rows.get(row.against[0])
            bad = worst(rows[row.name], partner, metric.name, metric.title.endswith("↑"), common)
            if bad:
                lost = f"loses most against {partner.label}" if partner is not None else "has the worst values"
                text = f"{plan.title}, {mask}: where {row.label} {lost}{ranked(rows[row.name], len(common))}"
                found.append(picture(folder / f"{plan.name}_{mask}_worst.png", shown, bad, text))
    return found


def ranked(row: Row, count: int) -> str:
    """By what the worst images were found, where that is not what their pictures show."""
    seeds = max((len(sample.seeds) for sample in row.samples.values()), default=1)
    means = f" in the mean of {seeds} seeds; pictures of seed {row.experiment.setup.seed}" if seeds > 1 else ""
    return f" (of the {count} images that all rows have{means})"


def picture(path: Path, rows: Sequence[Row], ids: Sequence[str], caption: str) -> dict[str, str]:
    return {"source": embedded(strip(path, rows, ids)), "caption": caption}


def page(
    path: Path,
    title: str,
    sheets: Sequence[Sheet],
    pictures: dict[str, list[dict[str, str]]],
    figures: Sequence[Drawn] = (),
    commands: Sequence[str] = (),
    spent: Spent | None = None,
) -> Path:
    """Write the report.

    Args:
        pictures: strips by table.
        commands: what makes this page again.
        spent: what the runs behind it cost.
    """
    facts: dict[str, Any] = {"commit": environment.git_commit(), **environment.package_versions()}
    text = template("report.html").render(
        title=title, sheets=[parts(sheet) for sheet in sheets], pictures=pictures, figures=figures, commands=commands,
        facts=facts, verdicts=tally(sheets), compared=compared(sheets), spent=spent,
    )  # fmt: skip
    with atomic_open(path) as stream:
        stream.write(text)
    with atomic_open(path.with_suffix(".json")) as stream:
        cost = None if spent is None else asdict(spent)
        found = {"facts": facts, "verdicts": tally(sheets), "comparisons": compared(sheets), "spent": cost}
        json.dump(found, stream, indent=1)
    return path


def compared(sheets: Sequence[Sheet]) -> int:
    """How many verdicts all tables give."""
    contrasts = [found for sheet in sheets for each in sheet.comparisons for found in each.contrasts]
    return sum(found is not None and found.verdict != FEW for found in contrasts)


def tally(sheets: Sequence[Sheet]) -> list[tuple[str, str, str, int, int, int, int]]:
    """For each comparison with IS-Diff: table, row, partner, and in how many columns it gains, neither, loses, or has
    too few images to say."""
    found = []
    for sheet in sheets:
        for each in sheet.comparisons:
            if "IS-Diff" not in each.label and not each.label.startswith("+"):
                continue
            verdicts = [c.verdict for c in each.contrasts if c is not None]
            gains, losses = verdicts.count(GAIN), verdicts.count(WORSE)
            few = verdicts.count(FEW)
            same = len(verdicts) - gains - losses - few
            found.append((sheet.title.split(":")[0], each.label, each.against, gains, same, losses, few))
    return found
