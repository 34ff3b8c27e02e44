"""A photo on its way through the page: read from an upload, shown, painted on, and written with its pixels kept."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from isdiff.data.images import FORMATS
from isdiff.errors import UserError
from isdiff.pictures.files import encode_flat, read_picture, write_picture
from isdiff.pictures.inpaint import hole_of
from isdiff.pictures.picture import Picture

PAINT = 255, 60, 120, 255
EXACT = 1_000_000  # pixels up to which the canvas shows a photo without loss


@dataclass(frozen=True, eq=False)
class Photo:
    """A photo and what its file says about it."""

    name: str  # without a suffix, for messages and for the names of results
    picture: Picture
    info: dict[str, Any] = field(default_factory=dict)  # see :class:`isdiff.pictures.files.PictureFile`
    label: str = ""  # how it came about, for names of files; empty for what was loaded

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.picture.shape

    def write(self, folder: Path, suffix: str) -> Path:
        """Write it into a folder: ``.png`` keeps its pixels and its kind, ``.jpg`` has 8 bits a colour."""
        name = "-".join(filter(None, [self.name[:80], self.label])) or "photo"
        path = folder / ("".join(letter if letter.isalnum() or letter in "-_+" else "_" for letter in name) + suffix)
        made = self.picture.back(self.picture.samples) if suffix == ".png" else self.picture.rgb()
        write_picture(path, made, self.info)
        return path

    def shown(self) -> tuple[bytes, str]:
        """A file of it for the canvas, and the file's suffix."""
        kind = "PNG" if np.prod(self.shape) <= EXACT else "JPEG"
        return encode_flat(self.picture.rgb(), kind, {}), f".{kind.lower()}"

    def painted(self, sent: str) -> np.ndarray:
        """The hole, (H, W) bool, of a PNG of paint that the canvas sent; one of another size is not decoded."""
        if not sent:
            return np.zeros(self.shape, bool)
        try:
            with Image.open(io.BytesIO(base64.b64decode(sent.partition(",")[2])), formats=("PNG",)) as layer:
                if layer.size == self.shape[::-1]:
                    return np.asarray(layer.convert("RGBA").getchannel("A")) >= 128
        except Exception:  # decoders of damaged files raise nearly anything
            pass
        raise UserError("what was painted does not fit the photo on the page; reload the page")

    def masked(self, path: str, name: str, megapixels: float) -> np.ndarray:
        """The hole, (H, W) bool, of a mask that was uploaded, see :func:`uploaded`."""
        with reading(path, name, megapixels):
            return hole_of(Path(path), self.picture)


def paint_of(hole: np.ndarray) -> str:
    """A PNG of paint where the hole is, for the canvas; empty for none."""
    if not hole.any():
        return ""
    return in_page(hole[..., None] * np.array(PAINT, np.uint8))


def in_page(pixels: np.ndarray) -> str:
    """A picture as an address that holds it."""
    return f"data:image/png;base64,{base64.b64encode(encode_flat(pixels, 'PNG', {})).decode()}"


def to_screen(pixels: np.ndarray, longest: int = 1024) -> np.ndarray:
    """A picture that fits the page: a small one is enlarged by a whole number, a large one is reduced."""
    height, width = pixels.shape[:2]
    longer = max(height, width)
    factor = max(1, longest // 2 // longer) if longer <= longest else longest / longer
    size = max(1, round(width * factor)), max(1, round(height * factor))
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_NEAREST)


def close_up(pixels: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """The part of a picture about its hole, (H, W) bool, nearly square."""
    spans = [np.flatnonzero(hole.any(axis)) for axis in (1, 0)]
    reach = max(32, *(int(np.ptp(span)) for span in spans))
    middles = [(span[0] + span[-1]) // 2 for span in spans]
    rows, columns = (slice(max(0, middle - reach), middle + reach) for middle in middles)
    return pixels[rows, columns]


@contextmanager
def reading(path: str | Path, name: str, megapixels: float) -> Iterator[None]:
    """Refuse an image that is too large before it is decoded; what is said of others has ``name`` for the path."""
    try:
        with Image.open(path, formats=FORMATS) as opened:
            too_large = opened.width * opened.height > megapixels * 1e6
    except Exception as error:  # of a file that is damaged, which is said elsewhere, or far too large
        too_large = isinstance(error, Image.DecompressionBombError)
    if too_large:
        raise UserError(f"{name} has more than {megapixels:g} megapixels, which this page takes; save it smaller")
    try:
        yield
    except UserError as error:
        raise UserError(str(error).replace(str(path), name)) from None


def uploaded(path: str | Path, name: str, megapixels: float) -> Photo:
    """The photo of an upload at ``path``; ``name`` is that of the visitor's file."""
    with reading(path, name, megapixels):
        file = read_picture(Path(path), name)
    return Photo(Path(name).stem, file.picture, file.info)
