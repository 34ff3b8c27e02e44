"""Natural photographs that ship with the repository, as square crops that a table lists."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from isdiff.checks import check_choice, check_text, check_whole
from isdiff.data.base import Dataset, file_stamp, read_table, safe_id
from isdiff.data.images import load_rgb, pixels_hash
from isdiff.errors import Missing, UserError
from isdiff.paths import located

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

    def __init__(self, split: str = "test", root: str = "data", size: int = 64, count: int = 1000) -> None:
        check_choice("split", split, list(FOLDERS), "photos has")
        if size not in (32, 64, 128, 256):
            raise UserError(f"dataset.size is {size!r}; photos come as 32, 64, 128 or 256 pixels")
        check_whole("count", count)
        check_text("root", root)
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
