"""Picture strips for a report: the same images through every method, the first ones and the worst."""

from __future__ import annotations

import base64
import io
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from isdiff.data.images import load_rgb
from isdiff.io.contact_sheet import contact_sheet, with_hole
from isdiff.metrics.samples import MeanSample
from isdiff.seeds.base import SeededStart
from isdiff.tables.compare import Row

FIRST, WORST = 3, 3


def distances(row: Row, metric: str) -> dict[str, float]:
    """Mean over seeds of an image's own distance to its truth, by id; empty where the metric has none per image."""
    sample = row.samples.get(metric)
    if sample is None or not all(isinstance(each, MeanSample) for each in sample.seeds):
        return {}
    values = np.mean([each.values for each in sample.seeds if isinstance(each, MeanSample)], axis=0)
    return dict(zip(row.ids, values.tolist(), strict=True))


def worst(
    row: Row,
    partner: Row | None,
    metric: str,
    higher_is_better: bool = False,
    among: Collection[str] | None = None,
    count: int = WORST,
) -> list[str]:
    """Images on which ``row`` loses most against ``partner``, or has the worst values if there is none.

    Args:
        among: only these, such as those that other rows have too.
    """
    own = distances(row, metric)
    base = distances(partner, metric) if partner is not None else {}
    asked = [i for i in own if (among is None or i in among) and (not base or i in base)]
    loss = {i: own[i] - base.get(i, 0.0) for i in asked}
    return sorted(loss, key=lambda i: loss[i], reverse=not higher_is_better)[:count]


def strip(path: Path, rows: Sequence[Row], ids: Sequence[str]) -> Path:
    """A sheet with input, seed, every row's result and truth of ``ids``; the seed is the first seeded row's."""
    seeded = next((row for row in rows if isinstance(row.experiment.setup.start, SeededStart)), None)
    lines = []
    for image_id in ids:
        truth = rows[0].experiment.dataset.image(image_id)
        hole = rows[0].experiment.read(image_id).hole
        tiles = [(with_hole(truth, hole), image_id)]
        if seeded is not None:
            tiles.append((seed_picture(seeded, image_id), ""))
        for row in rows:
            record = next((r for r in row.records if r["id"] == image_id), None)
            missing = np.full_like(truth, 255)
            tiles.append((missing, "") if record is None else (row.experiment.store.image(image_id), caption(record)))
        lines.append([*tiles, (truth, "")])
    titles = ["input", *(["seed"] if seeded is not None else []), *(row.label for row in rows), "truth"]
    return contact_sheet(path, titles, lines)


def caption(record: dict) -> str:
    return f"{record['network_calls']} calls" + (f", attempt {record['chosen_attempt'] + 1}" if record["dce"] else "")


def seed_picture(row: Row, image_id: str) -> np.ndarray:
    """What the chosen attempt of ``row`` began with, before noise; (H, W, 3) uint8."""
    record = next(r for r in row.records if r["id"] == image_id)
    return row.experiment.seed_picture(row.experiment.ready(image_id).task, record["chosen_attempt"])


def embedded(path: Path) -> str:
    """A picture as a data URL, for a page that needs no other file; WebP, as it is a third of the size."""
    stream = io.BytesIO()
    load_rgb(path).save(stream, "webp", quality=80)
    return "data:image/webp;base64," + base64.b64encode(stream.getvalue()).decode()
