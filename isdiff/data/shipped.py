"""Datasets that come with the repository: drawn images, and square crops of natural photographs."""

import io
import zipfile
import zlib
from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated

import numpy as np
from PIL import Image

from isdiff.checks import BadValue, Text, Whole, one_of
from isdiff.data.base import Dataset, file_stamp, read_table, safe_id
from isdiff.data.images import load_rgb, pixels_hash
from isdiff.errors import Missing, UserError
from isdiff.paths import located

Split = Annotated[str, one_of("test", "dev")]

LARGEST = 1 << 20  # bytes of one image
MEND = "it ships with the repository, or run scripts/make_drawn.py"


class DrawnDataset(Dataset):
    """Images that were drawn, 64x64: 1,000 of the split ``test``, and 100 others, ``dev``, to choose settings by."""

    def __init__(
        self, name: Annotated[str, one_of("avatars", "drawings", "landscapes", what="drawn datasets are")],
        split: Split = "test", root: Text = "data", size: int = 64, count: Whole = 1000,
    ) -> None:  # fmt: skip
        if size != 64:
            raise BadValue(f"size is {size!r}; {name} have 64 pixels")
        self.name, self.size, self.count = name, size, count
        self.path, self.table = (located(Path(root) / name / f"{split}.{kind}") for kind in ("zip", "csv"))
        try:
            self.archive = zipfile.ZipFile(self.path)
        except FileNotFoundError:
            raise UserError(f"{self.path} is missing; {MEND}") from None
        except (OSError, zipfile.BadZipFile) as error:
            reason = getattr(error, "strerror", None) or error
            raise UserError(f"{self.path} cannot be read as an archive ({reason}); {MEND}") from None

    def ids(self) -> list[str]:
        return [Path(name).stem for name in self.archive.namelist()[: self.count]]

    def image(self, image_id: str) -> np.ndarray:
        try:
            with self.archive.open(f"{image_id}.webp") as stream:
                image = Image.open(io.BytesIO(stream.read(LARGEST)), formats=("WEBP",))
            if image.size != (self.size, self.size):
                raise ValueError(image.size)
            return np.asarray(image.convert("RGB"))
        except KeyError:
            raise UserError(f"image {image_id} is not in {self.path}") from None
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, zipfile.BadZipFile, zlib.error):
            raise UserError(f"image {image_id} in {self.path} is damaged; {MEND}") from None

    @cached_property
    def captions(self) -> dict[str, str]:
        return {i: row["caption"] for i, row in read_table(self.table, {"id": str, "caption": str}, MEND).items()}

    def caption(self, image_id: str) -> str:
        if image_id not in self.captions:
            raise UserError(f"image {image_id} has no caption in {self.table}; {MEND}")
        return self.captions[image_id]

    def stamp(self, image_id: str) -> str:
        return file_stamp(self.path)


FOLDERS = {"test": "test", "dev": "train"}  # of the photographs of a split
HASHES = ("pixels_64", "pixels_128", "pixels_256")
CROP = {"id": str, "file": str, "left": int, "top": int, "side": int, **dict.fromkeys(HASHES, str)}

Box = tuple[int, int, int]  # left, top, side


def crop(photo: Image.Image, box: Box, size: int) -> np.ndarray:
    """Take the square of a photograph, reduced by Pillow's antialiased bicubic filter; (size, size, 3) uint8."""
    left, top, side = box
    square = photo.crop((left, top, left + side, top + side))
    # Not resize(box=...): what that answers for a tall photograph is not the same in all versions of Pillow.
    return np.asarray(square.resize((size, size), Image.Resampling.BICUBIC))


@lru_cache(maxsize=256)
def open_photo(path: Path) -> Image.Image:
    return load_rgb(path)


class PhotoDataset(Dataset):
    """The first ``count`` crops of a split, ``test`` or ``dev`` (held out of training), if at least ``size`` large.

    They are listed with the hashes of their pixels.
    """

    name = "photos"

    def __init__(self, split: Split = "test", root: Text = "data", size: int = 64, count: Whole = 1000) -> None:
        if size not in (32, 64, 128, 256):
            raise UserError(f"dataset.size is {size!r}; photos come as 32, 64, 128 or 256 pixels")
        self.size, self.table = size, located(Path(root) / "photos" / f"{split}.csv")
        rows = read_table(self.table, CROP, "It ships with the repository, or run scripts/make_photos.py")
        self.places: dict[str, tuple[Path, Box, str]] = {}  # the photograph of an id, the crop in it, its pixels' hash
        files: dict[str, Path] = {}  # of many crops each
        for image_id, row in list(rows.items())[:count]:
            name = row["file"]
            if name not in files:
                if not safe_id(name):
                    raise UserError(f"{self.table}: file {name!r} is no file name")
                files[name] = located(Path(root) / "photos" / FOLDERS[split] / name)
            if row["side"] >= size:
                box = row["left"], row["top"], row["side"]
                self.places[image_id] = files[name], box, row.get(f"pixels_{size}", "")  # none for 32

    def ids(self) -> list[str]:
        return list(self.places)

    def place(self, image_id: str) -> tuple[Path, Box, str]:
        if image_id not in self.places:
            raise UserError(f"{image_id} is no image of {self.table}")
        return self.places[image_id]

    def source(self, image_id: str) -> str:
        return self.place(image_id)[0].name

    def require(self, ids: Sequence[str]) -> None:
        """Refuse photographs that are not here: an installed package has those of the test split alone."""
        files = {self.place(image_id)[0] for image_id in ids}
        if absent := sorted(file for file in files if not file.exists()):
            count = f"{len(absent)} of {len(files)} photographs are missing (first: {absent[0]})"
            raise Missing([f"{count}; copy the repository's data/photos/train to {absent[0].parent}"])

    def image(self, image_id: str) -> np.ndarray:
        """Crop and reduce it; refuse pixels other than those that were listed."""
        file, box, expected = self.place(image_id)
        pixels = crop(open_photo(file), box, self.size)
        if expected and pixels_hash(pixels) != expected:
            raise UserError(
                f"{image_id} has other pixels than listed in {self.table}: {file} was changed, or this Pillow decodes "
                "or reduces differently; scripts/make_photos.py --check says how many differ"
            )
        return pixels

    def stamp(self, image_id: str) -> str:
        """Of the photograph, with the place of the crop: another one in the table is other content."""
        file, box, _ = self.places.get(image_id, (None, (), ""))
        found = file_stamp(file) if file else ""
        return found and f"{found}-{'-'.join(map(str, box))}"
