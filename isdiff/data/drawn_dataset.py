"""The drawn datasets; their test splits come with the repository, other splits are drawn on demand."""

from __future__ import annotations

import csv
import io
import zipfile
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from isdiff.data.base import Dataset
from isdiff.data.drawn import Drawing, draw, split_ids
from isdiff.data.splits import caption_of
from isdiff.data.styles import COLLECTIONS
from isdiff.errors import UserError
from isdiff.files import atomic_open


class DrawnDataset(Dataset):
    """
    Args:
        name: ``avatars`` (faces), ``drawings`` (faces, creatures, robots, plants, patterns, ...) or ``landscapes``.
        split: ``test`` (1,000 images, shipped), or ``dev`` or ``train`` (any number, drawn from the id).
        root: the folder with ``<name>/test.zip`` and ``<name>/test.csv``.
        size: side in pixels; the shipped split has 64.
        count: how many ids the split has.
    """

    def __init__(self, name: str, split: str = "test", root: str = "data", size: int = 64, count: int = 1000) -> None:
        if name not in COLLECTIONS:
            raise UserError(f"dataset.name is {name!r}; drawn datasets are {', '.join(COLLECTIONS)}")
        if split not in ("test", "dev", "train"):
            raise UserError(f"dataset.split is {split!r}; {name} has test, dev and train")
        self.name, self.split, self.folder, self.size, self.count = name, split, Path(root) / name, size, count
        self.archive: zipfile.ZipFile | None = None
        if split == "test" and size == 64:
            path = self.folder / "test.zip"
            if not path.exists():
                raise UserError(f"{path} is missing; it ships with the repository, or run scripts/make_drawn.py")
            self.archive = zipfile.ZipFile(path)

    def ids(self) -> list[str]:
        return split_ids(self.name, self.split, self.count)

    def image(self, image_id: str) -> np.ndarray:
        if self.archive is None:
            return draw(image_id, self.size).pixels
        with self.archive.open(f"{image_id}.webp") as stream:
            return np.asarray(Image.open(stream).convert("RGB"))

    @cached_property
    def captions(self) -> dict[str, str]:
        with (self.folder / "test.csv").open(encoding="utf-8", newline="") as stream:
            return {row["id"]: row["caption"] for row in csv.DictReader(stream)}

    def caption(self, image_id: str) -> str:
        if self.archive is not None:
            return self.captions[image_id]
        return caption_of(image_id)


def write_split(folder: Path, split: str, drawings: list[Drawing]) -> None:
    """``<split>.zip`` of lossless WebP images and ``<split>.csv`` of their attributes and captions."""
    with atomic_open(folder / f"{split}.zip", "wb") as stream, zipfile.ZipFile(stream, "w") as archive:
        for drawing in drawings:
            buffer = io.BytesIO()
            Image.fromarray(drawing.pixels).save(buffer, "webp", lossless=True, quality=100, method=6)
            # A fixed date keeps the archive identical from one run to the next.
            archive.writestr(zipfile.ZipInfo(f"{drawing.id}.webp", (1980, 1, 1, 0, 0, 0)), buffer.getvalue())
    with atomic_open(folder / f"{split}.csv") as stream:
        writer = csv.DictWriter(stream, ["id", *drawings[0].attributes, "caption"], lineterminator="\n")
        writer.writeheader()
        writer.writerows({"id": d.id, **d.attributes, "caption": d.caption} for d in drawings)
