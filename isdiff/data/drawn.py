"""The drawn datasets, which come with the repository."""

import io
import zipfile
import zlib
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from isdiff.checks import BadValue, check_choice, check_text, check_whole
from isdiff.data.base import Dataset, file_stamp, read_table
from isdiff.errors import UserError
from isdiff.paths import located

LARGEST = 1 << 20  # bytes of one image
MEND = "it ships with the repository, or run scripts/make_drawn.py"


class DrawnDataset(Dataset):
    """Images that were drawn, 64x64: 1,000 of the split ``test``, and 100 others, ``dev``, to choose settings by."""

    def __init__(self, name: str, split: str = "test", root: str = "data", size: int = 64, count: int = 1000) -> None:
        check_choice("name", name, ("avatars", "drawings", "landscapes"), "drawn datasets are")
        check_choice("split", split, ("test", "dev"), f"{name} has")
        check_text("root", root)
        check_whole("count", count)
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
