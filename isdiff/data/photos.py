"""Natural photographs that ship with the repository, as square crops chosen by a fixed rule."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from isdiff.checks import check_choice, check_text, check_whole
from isdiff.data.base import Dataset, file_stamp, read_table, safe_id
from isdiff.data.drawn import rng_for
from isdiff.data.images import load_rgb, pixels_hash
from isdiff.errors import Missing, UserError
from isdiff.paths import located

DEV_PHOTOS = 15
HASHES = ("pixels_64", "pixels_128", "pixels_256")
CROP = {"id": str, "file": str, "left": int, "top": int, "side": int, **dict.fromkeys(HASHES, str)}
FLAT = 16.0  # a crop whose gray values have a smaller standard deviation (of 255) shows next to nothing

Box = tuple[int, int, int]  # left, top, side


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


def crop(photo: Image.Image, box: Box, size: int) -> np.ndarray:
    """Take the square of a photograph, reduced by Pillow's antialiased bicubic filter; (size, size, 3) uint8."""
    left, top, side = box
    square = photo.crop((left, top, left + side, top + side))
    # Not resize(box=...): what that answers for a tall photograph is not the same in all versions of Pillow.
    return np.asarray(square.resize((size, size), Image.Resampling.BICUBIC))


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


@lru_cache(maxsize=256)
def open_photo(path: Path) -> Image.Image:
    return load_rgb(path)


class PhotoDataset(Dataset):
    """Crops of photographs; id n of a split is a crop of its photograph n modulo their number.

    Args:
        split: ``test`` (listed in ``test.csv`` with the hashes of their pixels), or ``dev`` or ``train`` (by the same
            rule on other photographs).
        root: the folder that holds ``photos/``.
        size: 32, 64, 128 or 256. Larger ones keep only crops that are at least so large: nothing is enlarged.
        count: how many crops a split has before that.
    """

    name = "photos"

    def __init__(self, split: str = "test", root: str = "data", size: int = 64, count: int = 1000) -> None:
        check_choice("split", split, ("test", "dev", "train"), "photos has")
        if size not in (32, 64, 128, 256):
            raise UserError(f"dataset.size is {size!r}; photos come as 32, 64, 128 or 256 pixels")
        check_whole("count", count)
        check_text("root", root)
        self.split, self.size, self.root, self.count = split, size, Path(root), count
        self.places = self.listed(count) if split == "test" else {}

    def listed(self, count: int) -> dict[str, tuple[Path, Box, str]]:
        path = located(self.root / "photos" / "test.csv")
        rows = read_table(path, CROP, "It ships with the repository, or run scripts/make_photos.py")
        found = {}
        for image_id, row in list(rows.items())[:count]:
            if not safe_id(row["file"]):
                raise UserError(f"{path}: file {row['file']!r} is no file name")
            if row["side"] >= self.size:
                place = located(self.root / "photos" / "test" / row["file"])
                found[image_id] = (place, (row["left"], row["top"], row["side"]), row.get(f"pixels_{self.size}", ""))
        return found

    @cached_property
    def files(self) -> list[Path]:
        return split_files(self.root, self.split)

    def place(self, image_id: str) -> tuple[Path, Box, str]:
        """The photograph of an id, the crop in it, and the hash of its pixels where it is listed."""
        if image_id not in self.places:
            start, _, number = image_id.rpartition("-")
            if self.split == "test" or start != f"photos-{self.split}" or not number.isdigit():
                raise UserError(f"{image_id} is no image of photos, split {self.split}")
            # Chosen when it is asked for: a run may want a few of a thousand.
            file = self.files[int(number) % len(self.files)]
            self.places[image_id] = (file, fixed_box(image_id, open_photo(file), 64), "")
        return self.places[image_id]

    def ids(self) -> list[str]:
        if self.split == "test":
            return list(self.places)
        every = [f"photos-{self.split}-{n:04d}" for n in range(self.count)]
        # Every crop has 64 pixels; whether it has more, only looking tells.
        return every if self.size <= 64 else [i for i in every if self.place(i)[1][2] >= self.size]

    def source(self, image_id: str) -> str:
        """The photograph."""
        return self.place(image_id)[0].name

    def require(self, ids: Sequence[str]) -> None:
        """Refuse a split whose photographs do not travel with the package."""
        if self.split != "test":
            require_photos(self.files)

    def image(self, image_id: str) -> np.ndarray:
        """Crop and reduce it; refuse pixels other than those that were listed."""
        file, box, expected = self.place(image_id)
        pixels = crop(open_photo(file), box, self.size)
        if expected and pixels_hash(pixels) != expected:
            raise UserError(
                f"{image_id} has other pixels than listed in {self.root / 'photos' / 'test.csv'}: {file} was changed, "
                "or this Pillow decodes or reduces differently; scripts/make_photos.py --check says how many differ"
            )
        return pixels

    def stamp(self, image_id: str) -> str:
        """Of the photograph, with the place of the crop: another one in ``test.csv`` is other content."""
        try:
            file, box, _ = self.place(image_id)
        except UserError:
            return ""
        found = file_stamp(file)
        return found and f"{found}-{'-'.join(map(str, box))}"
