"""Masks from image files: one for all images, or one per image in a folder."""

import os
import unicodedata
from abc import abstractmethod
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageOps

from isdiff.checks import Flag, Text
from isdiff.data.base import quote, stamp_of, stem_of
from isdiff.data.files import find_root, place, walk
from isdiff.data.images import SUFFIXES, decode, eight_bits, suffix_of
from isdiff.errors import UserError
from isdiff.masks.base import MaskSource
from isdiff.paths import located

SOFT = 0.2  # share of pixels that may be gray: soft edges, and the noise of JPEG
TOLERANCE = 0.05  # share of pixels in which colours and transparency may differ
BLACK, WHITE = 25, 230  # up to and from here a value counts as such
EVEN = 4  # values of 3 x 3 pixels that differ by no more


class MaskFiles(MaskSource):
    """Masks that are read from files; white is the hole, or black with ``invert``."""

    invert = False

    @abstractmethod
    def file_for(self, image_id: str) -> Path:
        """Find the one file for an image."""

    def hole(self, image_id: str, height: int, width: int) -> np.ndarray:
        return read_mask(self.file_for(image_id), height, width, self.invert)

    def stamp(self, image_id: str) -> str:
        return stamp_of(self.file_for, image_id)


class FileMask(MaskFiles):
    """One image file for all images, or a folder with one ``<image id>.png`` (or another format) for each.

    In folders, ``a/b.png`` is the mask of ``a__b``, as ids of folders are.
    """

    def __init__(self, path: Text, invert: Flag = False) -> None:
        self.path, self.invert = located(path), invert
        if not self.path.exists():
            where = quote(self.path)
            raise UserError(f"mask.path: there is no file or folder {where}; give an image or a folder of images")

    def fingerprint(self) -> dict[str, Any]:
        """Masks of another name are another run, or two sets of them would take turns in one."""
        return super().fingerprint() | {"file": os.path.basename(os.path.abspath(self.path))}

    @cached_property
    def index(self) -> dict[str, list[str]]:
        """The names of the image files in the folder, by the id that they are for."""
        found: dict[str, list[str]] = {}
        for name in sorted(path.relative_to(self.path).as_posix() for _, path in walk(self.path)):
            if suffix_of(name) in SUFFIXES:
                found.setdefault(stem_of(name), []).append(name)
        return found

    def file_for(self, image_id: str) -> Path:
        if not self.path.is_dir():
            return self.path
        names = self.index.get(unicodedata.normalize("NFC", image_id), [])
        if not names:
            expected = quote(self.path / f"{image_id}.png")
            raise UserError(f"no mask for image {image_id}: expected {expected} (or another image format)")
        if len(names) > 1:
            several = ", ".join(names)
            raise UserError(f"image {image_id} has {len(names)} masks in {quote(self.path)} ({several}); leave one")
        return self.path / names[0]


class EditBenchMask(MaskFiles):
    """The hole that comes with each image of EditBench (Wang et al. 2023)."""

    def __init__(self, path: Text) -> None:
        self.path = located(path)

    @cached_property
    def root(self) -> Path:
        return find_root(self.path)

    def file_for(self, image_id: str) -> Path:
        return place(self.root, "masks", image_id)


def read_mask(file: str | Path, height: int, width: int, invert: bool = False) -> np.ndarray:
    """Read (height, width) bool, True where the file is white (black with ``invert``).

    It is turned as its EXIF data say, cropped like images, and scaled without gray values.
    """
    hole = hole_in(decode(file, "mask"), f"mask {quote(file)}", invert)
    if hole.shape == (height, width):
        return hole
    return np.asarray(ImageOps.fit(Image.fromarray(hole), (width, height), Image.Resampling.NEAREST))


def hole_in(image: Image.Image, name: str, invert: bool = False) -> np.ndarray:
    """Take (H, W) bool, True where an image is white (black with ``invert``); gray is allowed at edges only."""
    try:
        values = gray_values(eight_bits(image))
    except ValueError as error:
        raise UserError(f"{name} cannot be used: {error}") from None
    between = (values > BLACK) & (values < WHITE)
    even = cv2.morphologyEx(values, cv2.MORPH_GRADIENT, np.ones((3, 3))) <= EVEN  # a shape's, and no edge's
    if between.mean() > SOFT or (even & between).any():
        share, most = 100 * between.mean(), np.bincount(values[between]).argmax()
        raise UserError(
            f"{name} is gray in {share:.3g}% of its pixels, most often {most} of 255; masks must be black and white "
            "(white = hole), but for their edges"
        )
    return (values < 128) if invert else (values >= 128)


def gray_values(image: Image.Image) -> np.ndarray:
    """Take the shape that a mask shows, (H, W) uint8: its colours, or its opacity where it has one colour only."""
    gray = np.asarray(image.convert("L") if image.mode in ("1", "L") else image.convert("RGB").convert("L"))
    if not image.has_transparency_data:
        return gray
    *colours, opacity = image.convert("RGBA").split()
    if opacity.getextrema()[0] == opacity.getextrema()[1]:
        return gray
    if all(channel.getextrema()[0] == channel.getextrema()[1] for channel in colours):
        return np.asarray(opacity)
    visible = (gray >= 128) & (np.asarray(opacity) >= 128)
    if np.mean(visible != (gray >= 128)) > TOLERANCE:
        raise ValueError("it has a shape both in its colours and in its transparency; save it in black and white")
    return gray
