"""Datasets of image files that people have on disk, in the layouts in which they have them."""

from __future__ import annotations

import csv
import os
from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from isdiff.data.base import Dataset
from isdiff.data.images import PREPROCESSING, load_rgb
from isdiff.errors import Missing, UserError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


class FileDataset(Dataset):
    """Common part: an index of files below a folder, and one way to read them.

    Args:
        path: folder with the images, at any depth.
        size: side of the square that comes out.
        preprocess: ``center_crop_long_edge`` or ``guided_diffusion``.
    """

    def __init__(self, path: str, size: int, preprocess: str = "center_crop_long_edge") -> None:
        if preprocess not in PREPROCESSING:
            raise UserError(f"dataset.preprocess is {preprocess!r}; there are {', '.join(PREPROCESSING)}")
        self.path, self.size, self.preprocess = Path(path), size, preprocess

    @cached_property
    def index(self) -> dict[str, Path]:
        """Every image file below the folder by its name, found once."""
        found: dict[str, Path] = {}
        for folder, _, names in os.walk(self.path, followlinks=True):
            for name in sorted(names):
                if name.lower().endswith(SUFFIXES):
                    found.setdefault(name, Path(folder) / name)
        return found

    @abstractmethod
    def file(self, image_id: str) -> Path | None:
        """The file of an image; None if it is not here."""

    def image(self, image_id: str) -> np.ndarray:
        file = self.file(image_id)
        if file is None:
            raise UserError(f"image {image_id} is not below {self.path}")
        return np.asarray(PREPROCESSING[self.preprocess](load_rgb(file), self.size))


class FolderDataset(FileDataset):
    """Anyone's images: every image file below a folder, cropped to squares; ids are relative paths without suffix."""

    name = "folder"

    @cached_property
    def files(self) -> dict[str, Path]:
        if not self.path.is_dir():
            raise Missing([f"dataset.path: there is no folder {self.path}; give dataset.path=FOLDER"])
        paths = sorted(p for p in self.path.rglob("*") if p.suffix.lower() in SUFFIXES)
        if not paths:
            raise Missing([f"dataset.path: {self.path} has no image ({', '.join(SUFFIXES)})"])
        stems = [p.relative_to(self.path).with_suffix("").as_posix().replace("/", "__") for p in paths]
        # a.jpg beside a.png: keep both, told apart by their suffixes
        twice = {stem for stem in stems if stems.count(stem) > 1}
        return {s if s not in twice else f"{s}_{p.suffix[1:].lower()}": p for s, p in zip(stems, paths, strict=True)}

    def ids(self) -> list[str]:
        return list(self.files)

    def file(self, image_id: str) -> Path | None:
        return self.files.get(image_id)


class BenchmarkDataset(FileDataset):
    """A published dataset of which a committed manifest picks the images.

    Args:
        name: for messages and folders.
        manifest: CSV with ``id`` and ``number``, the image's number in the published dataset.
        patterns: file names that people have for image ``number``; those with ``{next}``, which is ``number + 1``, are
            for copies that were renumbered from 1 to ``total``.
        advice: how to get the images, for the message when they are missing.
    """

    def __init__(
        self,
        name: str,
        path: str,
        size: int,
        manifest: str,
        patterns: Sequence[str],
        advice: str,
        total: int = 0,
        preprocess: str = "center_crop_long_edge",
    ) -> None:
        super().__init__(path, size, preprocess)
        self.name, self.patterns, self.advice, self.total = name, list(patterns), advice, total
        with open(manifest, encoding="utf-8") as stream:
            self.rows = {row["id"]: row for row in csv.DictReader(stream)}

    def ids(self) -> list[str]:
        return list(self.rows)

    @cached_property
    def usable_patterns(self) -> list[str]:
        """A copy renumbered from 1 is known by its last file; its numbers are one more than the published ones."""
        renumbered = [p for p in self.patterns if "{next" in p]
        if any(p.format(next=self.total) in self.index for p in renumbered):
            return renumbered
        return [p for p in self.patterns if p not in renumbered]

    def file(self, image_id: str) -> Path | None:
        number = int(self.rows[image_id]["number"])
        names = (pattern.format(number=number, next=number + 1) for pattern in self.usable_patterns)
        return next((self.index[name] for name in names if name in self.index), None)

    def require(self, ids: Sequence[str]) -> None:
        """
        Raises:
            Missing: with how many images are not there, which first, and how to get them.
        """
        absent = [image_id for image_id in ids if self.file(image_id) is None]
        if absent:
            raise Missing(
                [f"{len(absent)} of {len(ids)} images of {self.name} are not below {self.path} (first: {absent[0]}). "
                 f"{self.advice}"]
            )  # fmt: skip
