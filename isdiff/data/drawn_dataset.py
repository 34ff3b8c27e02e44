"""The drawn datasets; their test splits come with the repository, other splits are drawn on demand."""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from isdiff.checks import check_choice, check_side, check_text, check_whole
from isdiff.data.base import GENERATED, Dataset, file_stamp, read_table
from isdiff.data.drawn import caption_of, draw, split_ids
from isdiff.data.styles import COLLECTIONS
from isdiff.errors import UserError
from isdiff.io.files import plain
from isdiff.paths import located

LARGEST = 1 << 20  # bytes of one image
MEND = "it ships with the repository, or run scripts/make_drawn.py"


class DrawnDataset(Dataset):
    """Images that were drawn.

    Args:
        name: ``avatars`` (faces), ``drawings`` (faces, creatures, robots, plants, patterns, ...) or ``landscapes``.
        split: ``test`` (1,000 images, shipped), or ``dev`` or ``train`` (any number, drawn from the id).
        root: the folder with ``<name>/test.zip`` and ``<name>/test.csv``.
        size: side in pixels; the shipped split has 64.
        count: how many ids the split has.
    """

    def __init__(self, name: str, split: str = "test", root: str = "data", size: int = 64, count: int = 1000) -> None:
        check_choice("name", name, list(COLLECTIONS), "drawn datasets are")
        check_choice("split", split, ("test", "dev", "train"), f"{name} has")
        check_text("root", root)
        check_side("size", size)
        check_whole("count", count)
        self.name, self.split, self.folder, self.size, self.count = name, split, Path(root) / name, size, count
        self.archive: zipfile.ZipFile | None = None
        if split == "test" and size == 64:
            self.archive = open_archive(located(self.folder / "test.zip"))
            if count > (there := len(self.archive.namelist())):
                raise UserError(f"dataset.count is {count}; the shipped test split of {name} has {there} images")

    def ids(self) -> list[str]:
        return split_ids(self.name, self.split, self.count)

    def image(self, image_id: str) -> np.ndarray:
        if self.archive is None:
            return draw(image_id, self.size).pixels
        try:
            with self.archive.open(f"{image_id}.webp") as stream:
                image = Image.open(io.BytesIO(stream.read(LARGEST)), formats=("WEBP",))
            if image.size != (self.size, self.size):
                raise ValueError(image.size)
            return np.asarray(image.convert("RGB"))
        except KeyError:
            raise UserError(f"image {image_id} is not in {self.archive.filename}") from None
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, zipfile.BadZipFile, zlib.error):
            raise UserError(f"image {image_id} in {self.archive.filename} is damaged; {MEND}") from None

    @cached_property
    def captions(self) -> dict[str, str]:
        rows = read_table(located(self.folder / "test.csv"), {"id": str, "caption": str}, MEND)
        return {image_id: row["caption"] for image_id, row in rows.items()}

    def caption(self, image_id: str) -> str:
        if self.archive is None:
            return caption_of(image_id)
        if image_id not in self.captions:
            raise UserError(f"image {image_id} has no caption in {self.folder / 'test.csv'}; {MEND}")
        return self.captions[image_id]

    def stamp(self, image_id: str) -> str:
        return GENERATED if self.archive is None else file_stamp(located(self.folder / "test.zip"))


def open_archive(path: Path) -> zipfile.ZipFile:
    """Open a shipped archive."""
    try:
        return zipfile.ZipFile(plain(path, math.inf))
    except FileNotFoundError:
        raise UserError(f"{path} is missing; {MEND}") from None
    except (OSError, zipfile.BadZipFile) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path} cannot be read as an archive ({reason}); {MEND}") from None
