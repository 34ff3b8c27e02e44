"""All tables and figures of a profile in one page that opens offline, with picture strips of their rows."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from isdiff import environment
from isdiff.data.images import load_rgb
from isdiff.io.contact_sheet import TILE, contact_sheet, with_hole
from isdiff.io.files import atomic_open
from isdiff.metrics.base import Metric
from isdiff.metrics.contrast import Verdict
from isdiff.metrics.samples import MeanStatistic
from isdiff.seeds.base import SeededStart
from isdiff.tables.cells import Cells, Costs, Row
from isdiff.tables.figures import Drawn
from isdiff.tables.plan import TablePlan
from isdiff.tables.render import parts, template
from isdiff.tables.sheet import Sheet

SHOWN = 3  # images of a strip
LARGEST_TILE = 220  # pixels; larger pictures are reduced


def spent(costs: Costs) -> dict[str, float]:
    """The sum of what the images behind a report cost."""
    calls, seconds = (sum(each[i] for each in costs.values()) for i in (0, 1))
    return {"images": len(costs), "network_calls": calls, "seconds": seconds}


def spent_text(found: dict[str, float]) -> str:
    """The same as a sentence."""
    return (
        f"All runs: {found['network_calls']:,} network calls for {found['images']:,} pictures, "
        f"{found['seconds'] / 3600:.1f} hours of one worker."
    )


def write_page(
    path: Path,
    title: str,
    sheets: Sequence[Sheet],
    pictures: dict[str, list[dict[str, str]]],
    figures: Sequence[Drawn] = (),
    command: str = "",
    costs: Costs | None = None,
) -> Path:
    """Write the report, and its facts and verdicts as JSON beside it.

    Args:
        pictures: strips by table.
        command: what makes this page again.
        costs: of the runs behind it.
    """
    verdicts = [contrast.verdict for sheet in sheets for _, _, contrast in sheet.paired()]
    found: dict[str, Any] = {
        "facts": {"commit": environment.git_commit(), **environment.package_versions()},
        "verdicts": tally(sheets), "comparisons": len(verdicts) - verdicts.count(Verdict.FEW),
        "spent": spent(costs or {}),
    }  # fmt: skip
    text = template("report.html").render(
        title=title, sheets=[parts(sheet) for sheet in sheets], pictures=pictures, figures=figures, command=command,
        spent_text=spent_text(found["spent"]), **found,
    )  # fmt: skip
    for file, content in ((path, text), (path.with_suffix(".json"), json.dumps(found, indent=1))):
        with atomic_open(file) as stream:
            stream.write(content)
    return path


def tally(sheets: Sequence[Sheet]) -> list[tuple[str | int, ...]]:
    """For each comparison of a row with IS-Diff: table, row, partner, and how many columns have each verdict."""
    verdicts = (Verdict.GAIN, Verdict.NONE, Verdict.WORSE, Verdict.FEW)
    return [
        (sheet.plan.title.split(":")[0], each.row.label, each.against.label, *map(each.count, verdicts))
        for sheet in sheets
        for each in sheet.comparisons
        if each.row.isdiff
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
        common = common_ids(every)
        if not common:
            continue
        strips = [(f"{plan.name}_{mask}.png", common[:SHOWN], "the first images")]
        judged = next((r for r in plan.rows if r.isdiff and r.name in rows and r.against), None)
        if judged is not None and len(common) > 1:  # one is the first and the worst
            row, partner = rows[judged.name], rows.get(judged.against[0])
            if bad := worst(row, partner, metric, common):
                lost = f"loses most against {partner.label}" if partner is not None else "has the worst values"
                seeds, pictured = len(row.samples[metric.name].seeds), row.experiment.setup.seed
                means = f" in the mean of {seeds} seeds; pictures of seed {pictured}" if seeds > 1 else ""
                text = f"where {judged.label} {lost} (of the {len(common)} images that all rows have{means})"
                strips.append((f"{plan.name}_{mask}_worst.png", bad, text))
        for name, ids, text in strips:
            source = embed(draw_strip(folder / name, every, ids))
            found.append({"source": source, "caption": f"{plan.title}, {mask}: {text}"})
    return found


def common_ids(rows: Sequence[Row]) -> list[str]:
    """The images that all rows have, in the dataset's order."""
    everywhere = set.intersection(*(set(row.ids) for row in rows)) if rows else set()
    return [image_id for image_id in rows[0].ids if image_id in everywhere] if rows else []


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
    """A sheet with input, seed, every row's result and truth of ``ids``, which all rows have.

    The seed is the first seeded row's.
    """
    seeded = next((i for i, row in enumerate(rows) if isinstance(row.experiment.setup.start, SeededStart)), None)
    records = [{record["id"]: record for record in row.records} for row in rows]
    lines = []
    for image_id in ids:
        seed = []
        if seeded is None:
            given = rows[0].experiment.read(image_id)
        else:
            experiment = rows[seeded].experiment
            task, given = experiment.ready(image_id)
            seed = [(experiment.seed_picture(task, records[seeded][image_id]["chosen_attempt"]), "")]
        results = [
            (row.experiment.store.image(image_id), caption(own[image_id]))
            for row, own in zip(rows, records, strict=True)
        ]
        lines.append([(with_hole(given.pixels, given.hole), image_id), *seed, *results, (given.pixels, "")])
    titles = ["input", *["seed"] * (seeded is not None), *(row.label for row in rows), "truth"]
    return contact_sheet(path, titles, lines, min(LARGEST_TILE, max(TILE, given.pixels.shape[0])))


def caption(record: dict[str, Any]) -> str:
    """Costs of one image, and which attempt was kept."""
    return f"{record['network_calls']} calls" + (f", attempt {record['chosen_attempt'] + 1}" if record["dce"] else "")


def embed(path: Path) -> str:
    """A picture as a data URL, for a page that needs no other file; WebP, as it is a third of the size."""
    stream = io.BytesIO()
    load_rgb(path).save(stream, "webp", quality=80)
    return "data:image/webp;base64," + base64.b64encode(stream.getvalue()).decode()
