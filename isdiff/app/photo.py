"""A photo on its way through the page: read from an upload, shown, painted on, and written with its pixels kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from isdiff.data.images import FORMATS
from isdiff.errors import UserError
from isdiff.io.contact_sheet import with_hole
from isdiff.pictures.files import read_picture
from isdiff.pictures.inpaint import DRAWN, hole_of
from isdiff.pictures.picture import Picture

PAINTED = "paint only"  # in the place of a mask's name
SHOWN = (512, 1024)  # sides of pictures on the page: smaller ones are enlarged by a whole number, larger ones reduced


@dataclass(frozen=True, eq=False)
class Photo:
    """A photo and what its file says about it.

    Attributes:
        name: without a suffix, for messages and for the names of results.
        info: what its file says about it, see :class:`isdiff.pictures.files.PictureFile`.
    """

    name: str
    picture: Picture
    info: dict[str, Any] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.picture.shape

    def seen(self, mask: str = PAINTED) -> np.ndarray:
        """As the page shows it, (h, w, 3) uint8, the hole of a named mask hatched."""
        return to_screen(with_hole(self.picture.rgb(), self.hole(mask, ())))

    def hole(self, mask: str, layers: Sequence[str]) -> np.ndarray:
        """What a named mask hides and what was painted, (H, W) bool.

        Args:
            layers: files of the editor, at most one; all that has some colour is hole.
        """
        if mask not in (PAINTED, *DRAWN):
            raise UserError(f"there is no mask {mask!r}; there are {', '.join(DRAWN)}")
        found = np.zeros(self.shape, bool) if mask == PAINTED else hole_of(mask, self.picture)
        if len(layers) > 1:
            raise UserError("there are several layers of paint and one is taken; load the photo again")
        for layer in layers:
            found = found | from_screen(read_layer(layer, screen_size(*self.shape)), self.shape)
        return found


def screen_size(height: int, width: int) -> tuple[int, int]:
    """Height and width on the page of a picture of this size."""
    low, high = SHOWN
    longer = max(height, width)
    if longer <= high:
        factor = max(1, low // longer)
        return height * factor, width * factor
    return max(1, round(height * high / longer)), max(1, round(width * high / longer))


def to_screen(pixels: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 at the size of the page: enlarged without blur, reduced without aliasing."""
    height, width = screen_size(*pixels.shape[:2])
    how = cv2.INTER_AREA if (height, width) < pixels.shape[:2] else cv2.INTER_NEAREST
    return cv2.resize(pixels, (width, height), interpolation=how)


def read_layer(path: str, size: tuple[int, int]) -> np.ndarray:
    """What has some colour in a layer of this height and width, (h, w) bool; layers of another size are not decoded."""
    try:
        with Image.open(path, formats=FORMATS) as layer:
            if layer.size == size[::-1]:
                return np.asarray(layer.convert("RGBA").getchannel("A")) > 0
    except Exception:  # decoders of damaged files raise nearly anything
        pass
    raise UserError("what was painted does not fit the photo on the page; load the photo again")


def from_screen(painted: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """What was painted on the page, (h, w) bool, in the picture's own pixels: each that has some paint is hole."""
    (height, width), size = shape, painted.shape
    if size[0] >= height and size[1] >= width:
        factor = size[0] // height
        return np.asarray(painted.reshape(height, factor, width, factor).any((1, 3)))
    return cv2.resize(painted.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST) > 0


def uploaded(path: str | Path, name: str, megapixels: float) -> Photo:
    """The photo of an upload; its size is read before it is decoded.

    Args:
        path: where the server put it.
        name: that the visitor's file has.
    """
    try:
        with Image.open(path, formats=FORMATS) as opened:
            too_large = opened.width * opened.height > megapixels * 1e6
    except Exception as error:  # of a file that is damaged, which is said below, or far too large
        too_large = isinstance(error, Image.DecompressionBombError)
    if too_large:
        raise UserError(f"{name} has more than {megapixels:g} megapixels, which this page takes; save it smaller")
    try:
        file = read_picture(Path(path), name)
    except UserError as error:
        raise UserError(str(error).replace(str(path), name)) from None
    return Photo(Path(name).stem, file.picture, file.info)
