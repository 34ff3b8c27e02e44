"""Which photographs belong to a split, and which squares of them are its images."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from isdiff.data.base import read_table
from isdiff.data.shipped import Box, crop
from isdiff.errors import Missing
from isdiff.paths import located
from training.drawn import rng_for

DEV_PHOTOS = 15
FLAT = 16.0  # a crop whose gray values have a smaller standard deviation (of 255) shows next to nothing


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def photo_rows(root: str | Path) -> list[dict[str, str]]:
    """Read ``photos.csv``: a row per photograph."""
    path = located(Path(root) / "photos" / "photos.csv")
    columns = dict.fromkeys(("file", "split", "group"), str)
    return list(read_table(path, columns, "It ships with the repository").values())


def split_files(root: str | Path, split: str) -> list[Path]:
    """Find the photographs of a split, those of ``test`` in the order of a hash, so that the first are of all kinds.

    ``dev`` are the training photographs with the smallest hash of their names, one a scene; other photographs of their
    scenes are in no split.
    """
    rows = photo_rows(root)
    folder = Path(root) / "photos"
    if split == "test":
        names = [row["file"] for row in rows if row["split"] == "test"]
        names.sort(key=lambda name: digest(f"isdiff/photos/{name}"))
        return [located(folder / "test" / name) for name in names]
    training = [row for row in rows if row["split"] == "train"]
    ranked = sorted(training, key=lambda row: digest(f"isdiff/photos/dev/{row['file']}"))
    dev: dict[str, str] = {}
    for row in ranked:
        if len(dev) < DEV_PHOTOS:
            dev.setdefault(row["group"], row["file"])
    if split == "dev":
        return [located(folder / "train" / name) for name in sorted(dev.values())]
    return [located(folder / "train" / row["file"]) for row in training if row["group"] not in dev]


def require_photos(files: Sequence[Path]) -> None:
    """Refuse photographs that are not here: an installed package carries none for training."""
    if absent := [file for file in files if not file.exists()]:
        count = f"{len(absent)} of {len(files)} photographs are missing (first: {absent[0]})"
        there = f"copy the repository's data/photos/train to {absent[0].parent}"
        raise Missing([f"{count}; an installed package has those of the test split alone: {there}"])


def random_box(rng: np.random.Generator, width: int, height: int, size: int) -> Box:
    """Draw a square with a side log-uniform between a quarter of the shorter one (or ``size``, if larger) and it."""
    short = min(width, height)
    low = min(max(size, short / 4), short)
    side = min(short, round(low * (short / low) ** rng.random()))
    return int(rng.integers(width - side + 1)), int(rng.integers(height - side + 1)), side


def is_flat(pixels: np.ndarray) -> bool:
    return float(pixels.mean(2).std()) < FLAT


def fixed_box(image_id: str, photo: Image.Image, size: int) -> Box:
    """Find the crop that belongs to an id: the first of its own random ones that is not flat."""
    rng = rng_for(f"isdiff/photos/{image_id}")
    for _ in range(50):
        box = random_box(rng, *photo.size, size)
        if not is_flat(crop(photo, box, size)):
            break
    return box
