"""Pictures of several rows side by side, with their truth: a PNG of its own, or for a page."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from isdiff.io.contact_sheet import TILE, contact_sheet, with_hole
from isdiff.tables.cells import Cells, Row, describe
from isdiff.tables.plan import TablePlan

SHOWN = 2  # images of a page's strips
LARGEST_TILE = 220  # pixels; larger pictures are reduced


def common_ids(rows: Sequence[Row]) -> list[str]:
    """The images that all rows have, in the dataset's order."""
    everywhere = set.intersection(*(set(row.ids) for row in rows)) if rows else set()
    return [image_id for image_id in rows[0].ids if image_id in everywhere] if rows else []


def strip(rows: Sequence[Row], image_id: str) -> list[tuple[str, np.ndarray]]:
    """Truth, input and what rows made of it, (H, W, 3) uint8, with labels; all rows have the image."""
    given = rows[0].experiment.read(image_id)
    shown = [("truth", given.pixels), ("input", with_hole(given.pixels, given.hole))]
    return [*shown, *((row.label, row.experiment.store.image(image_id)) for row in rows)]


def draw_strips(path: Path, rows: Sequence[Row], ids: Sequence[str]) -> Path:
    lines = [strip(rows, image_id) for image_id in ids]
    tiles = [
        [(pixels, "" if place else image_id) for place, (_, pixels) in enumerate(line)]
        for image_id, line in zip(ids, lines, strict=True)
    ]
    side = min(LARGEST_TILE, max(TILE, len(lines[0][0][1])))
    return contact_sheet(path, [label for label, _ in lines[0]], tiles, side)


def page_strips(plan: TablePlan, cells: Cells, mask: str) -> dict[str, Any]:
    """The first images that all rows have, as labels and data URLs, with a caption; empty where there is none."""
    rows = [cells[row.name, mask] for row in plan.rows if (row.name, mask) in cells]
    ids = common_ids(rows)[:SHOWN]
    if not ids:
        return {}
    seed = rows[0].experiment.setup.seed
    what = f"{describe(rows)}; {mask} masks, seed {seed}: the first {len(ids)} images that all rows have"
    lines = [[(label, embed(pixels)) for label, pixels in strip(rows, image_id)] for image_id in ids]
    return {"caption": what, "lines": lines}


def embed(pixels: np.ndarray) -> str:
    """A picture as a data URL, for a page that needs no other file; WebP, as it is a third of the size."""
    picture = Image.fromarray(pixels)
    picture.thumbnail((LARGEST_TILE, LARGEST_TILE))
    stream = io.BytesIO()
    picture.save(stream, "webp", quality=90)
    return "data:image/webp;base64," + base64.b64encode(stream.getvalue()).decode()
