"""Masks from image files: one for all images, or one per image in a folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from isdiff.errors import UserError
from isdiff.masks.base import MaskSource

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")


class FileMask(MaskSource):
    """White is the hole; ``invert`` for files with the other polarity.

    Args:
        path: an image file, used for every image, or a folder with ``<image id>.png`` (or jpg, bmp, webp) files.
        invert: black is the hole.
    """

    def __init__(self, path: str, invert: bool = False) -> None:
        self.path, self.invert = Path(path), invert
        if not self.path.exists():
            raise UserError(f"mask.path: there is no file or folder {self.path}; give an image or a folder of images")

    def file_for(self, image_id: str) -> Path:
        if self.path.is_file():
            return self.path
        for suffix in SUFFIXES:
            if (file := self.path / f"{image_id}{suffix}").exists():
                return file
        raise UserError(f"no mask for image {image_id}: expected {self.path / image_id}.png (or jpg, bmp, webp)")

    def hole(self, image_id: str, height: int, width: int) -> np.ndarray:
        return read_mask(self.file_for(image_id), height, width, self.invert)


def read_mask(file: Path, height: int, width: int, invert: bool = False) -> np.ndarray:
    """(height, width) bool, True where the file is white (black with ``invert``).

    Cut to the same proportions about its middle, as images are, so that a mask drawn on the uncropped image fits; then
    scaled without gray values.

    Raises:
        UserError: the file is missing, is no image, or is gray.
    """
    try:
        with Image.open(file) as image:
            gray = image.convert("L")
    except FileNotFoundError:
        raise UserError(f"mask {file} is missing") from None
    except (UnidentifiedImageError, OSError) as error:
        raise UserError(f"mask {file} cannot be read as an image ({error})") from None
    if gray.size != (width, height):
        gray = ImageOps.fit(gray, (width, height), Image.Resampling.NEAREST)
    values = np.asarray(gray)
    between = np.mean((values > 25) & (values < 230))
    if between > 0.05:
        raise UserError(
            f"mask {file} is gray in {between:.0%} of its pixels; masks must be black and white (white = hole)"
        )
    return (values < 128) if invert else (values >= 128)
