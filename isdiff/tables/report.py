"""All tables and figures of a profile in one page that opens offline, with picture strips of their rows."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from isdiff import environment
from isdiff.data.images import load_rgb
from isdiff.io.contact_sheet import contact_sheet, with_hole
from isdiff.io.files import atomic_open
from isdiff.metrics.base import Metric
from isdiff.metrics.contrast import Verdict
from isdiff.metrics.samples import MeanStatistic
from isdiff.seeds.base import SeededStart
from isdiff.tables.cells import Cells
from isdiff.tables.figures import Drawn
from isdiff.tables.plan import TablePlan
from isdiff.tables.render import parts, template
from isdiff.tables.rows import Costs, Row
from isdiff.tables.sheet import Sheet

SHOWN = 3  # images of a strip


@dataclass(frozen=True)
class Spent:
    """The sum of what the images behind a report cost."""

    images: int
    network_calls: int
    seconds: float

    @classmethod
    def of(cls, costs: Costs) -> Spent:
        """Of what each image cost."""
        return cls(len(costs), sum(calls for calls, _ in costs.values()), sum(seconds for _, seconds in costs.values()))

    def __str__(self) -> str:
        return (
            f"all runs: {self.network_calls:,} network calls for {self.images:,} pictures, "
            f"{self.seconds / 3600:.1f} hours of one worker"
        )


def write_page(
    path: Path,
    title: str,
    sheets: Sequence[Sheet],
    pictures: dict[str, list[dict[str, str]]],
    figures: Sequence[Drawn] = (),
    command: str = "",
    spent: Spent | None = None,
) -> Path:
    """Write the report, and its facts and verdicts as JSON beside it.

    Args:
        pictures: strips by table.
        command: what makes this page again.
        spent: what the runs behind it cost.
    """
    verdicts = [contrast.verdict for sheet in sheets for _, _, contrast in sheet.paired()]
    found: dict[str, Any] = {
        "facts": {"commit": environment.git_commit(), **environment.package_versions()},
        "verdicts": tally(sheets), "comparisons": len(verdicts) - verdicts.count(Verdict.FEW),
    }  # fmt: skip
    text = template("report.html").render(
        title=title, sheets=[parts(sheet) for sheet in sheets], pictures=pictures, figures=figures, command=command,
        spent=spent, **found,
    )  # fmt: skip
    with atomic_open(path) as stream:
        stream.write(text)
    with atomic_open(path.with_suffix(".json")) as stream:
        json.dump(found | {"spent": None if spent is None else asdict(spent)}, stream, indent=1)
    return path


def tally(sheets: Sequence[Sheet]) -> list[tuple[str | int, ...]]:
    """For each comparison of a row with IS-Diff: table, row, partner, and how many columns have each verdict."""
    verdicts = (Verdict.GAIN, Verdict.NONE, Verdict.WORSE, Verdict.FEW)
    return [
        (sheet.title.split(":")[0], each.label, each.against, *map(each.count, verdicts))
        for sheet in sheets
        for each in sheet.comparisons
        if each.isdiff
    ]


def draw_strips(plan: TablePlan, cells: Cells, metric: Metric, folder: Path) -> list[dict[str, str]]:
    """For every mask of a table a picture of its first images, and one of those on which IS-Diff does worst.

    Which images are shown is no choice of ours: of the images that all rows have, the first of the dataset, and the
    worst values of ``metric`` for the first row with IS-Diff beside those of the row that it is compared with.
    """
    found = []
    for mask in plan.masks:
        rows = {row.name: cells[row.name, mask] for row in plan.rows if (row.name, mask) in cells}
        every = list(rows.values())
        common = set.intersection(*(set(row.ids) for row in every)) if every else set()
        if not common:
            continue
        first = [i for i in every[0].ids if i in common][:SHOWN]
        strips = [(f"{plan.name}_{mask}.png", first, "the first images")]
        judged = next((r for r in plan.rows if r.isdiff and r.name in rows and r.against), None)
        if judged is not None and len(common) > 1:  # one is the first and the worst
            row, partner = rows[judged.name], rows.get(judged.against[0])
            bad = worst(row, partner, metric, common)
            lost = f"loses most against {partner.label}" if partner is not None else "has the worst values"
            if bad:
                text = f"where {judged.label} {lost}{ranking(row, metric.name, len(common))}"
                strips.append((f"{plan.name}_{mask}_worst.png", bad, text))
        for name, ids, text in strips:
            source = embed(draw_strip(folder / name, every, ids))
            found.append({"source": source, "caption": f"{plan.title}, {mask}: {text}"})
    return found


def ranking(row: Row, metric: str, count: int) -> str:
    """By what the worst images were found, where that is not what their pictures show."""
    seeds = len(row.samples[metric].seeds)
    means = f" in the mean of {seeds} seeds; pictures of seed {row.experiment.setup.seed}" if seeds > 1 else ""
    return f" (of the {count} images that all rows have{means})"


def distances(row: Row, metric: str) -> dict[str, float]:
    """Mean over seeds of an image's own distance to its truth, by id; empty where the metric has none per image."""
    sample = row.samples.get(metric)
    if sample is None or not all(isinstance(each, MeanStatistic) for each in sample.seeds):
        return {}
    values = np.mean([each.values for each in sample.seeds if isinstance(each, MeanStatistic)], axis=0)
    return dict(zip(row.ids, values.tolist(), strict=True))


def worst(row: Row, partner: Row | None, metric: Metric, among: Collection[str]) -> list[str]:
    """The images ``among`` on which ``row`` loses most against ``partner``, or has the worst values without one."""
    own = distances(row, metric.name)
    base = distances(partner, metric.name) if partner is not None else {}
    loss = {i: own[i] - base.get(i, 0.0) for i in own if i in among and (not base or i in base)}
    return sorted(loss, key=lambda i: loss[i], reverse=not metric.higher_is_better)[:SHOWN]


def draw_strip(path: Path, rows: Sequence[Row], ids: Sequence[str]) -> Path:
    """A sheet with input, seed, every row's result and truth of ``ids``; the seed is the first seeded row's."""
    seeded = next((row for row in rows if isinstance(row.experiment.setup.start, SeededStart)), None)
    lines = []
    for image_id in ids:
        records = [next((r for r in row.records if r["id"] == image_id), None) for row in rows]
        seed = []
        if seeded is None:
            given = rows[0].experiment.read(image_id)
        else:
            task, given = seeded.experiment.ready(image_id)
            attempt = next(r["chosen_attempt"] for r in seeded.records if r["id"] == image_id)
            seed = [(seeded.experiment.seed_picture(task, attempt), "")]
        missing = (np.full_like(given.pixels, 255), "")
        results = [
            missing if record is None else (row.experiment.store.image(image_id), caption(record))
            for row, record in zip(rows, records, strict=True)
        ]
        lines.append([(with_hole(given.pixels, given.hole), image_id), *seed, *results, (given.pixels, "")])
    titles = ["input", *(["seed"] if seeded is not None else []), *(row.label for row in rows), "truth"]
    return contact_sheet(path, titles, lines)


def caption(record: dict[str, Any]) -> str:
    """Costs of one image, and which attempt was kept."""
    return f"{record['network_calls']} calls" + (f", attempt {record['chosen_attempt'] + 1}" if record["dce"] else "")


def embed(path: Path) -> str:
    """A picture as a data URL, for a page that needs no other file; WebP, as it is a third of the size."""
    stream = io.BytesIO()
    load_rgb(path).save(stream, "webp", quality=80)
    return "data:image/webp;base64," + base64.b64encode(stream.getvalue()).decode()
