"""Holes that are grown or shrunk, and pictures that get a border to be filled."""

from __future__ import annotations

import re
from dataclasses import replace

import cv2
import numpy as np

from isdiff.checks import check_whole
from isdiff.errors import UserError
from isdiff.pictures.picture import Picture

SIDES = ("left", "top", "right", "bottom")
MOST = 20  # times the picture's own side


def reshape(picture: Picture, hole: np.ndarray | None, grow: int = 0, extend: str = "") -> tuple[Picture, np.ndarray]:
    """Grow the hole, then add borders to the picture, which are hole.

    Args:
        hole: (H, W) bool, or float32 of a soft mask; None if only the borders are to be filled.
        grow: pixels by which the hole grows on all sides, or shrinks if negative.
        extend: ``left=200,top=10%``: pixels, or shares of the picture's width or height.
    """
    if hole is None:
        hole = np.zeros(picture.shape, bool)
    if grow and hole.dtype != bool:
        raise UserError("grow is for masks in black and white; draw the rim of a soft one wider, or give feather")
    if grow:
        hole = grow_hole(hole, grow)
    if not extend:
        return picture, hole
    left, top, right, bottom = borders(extend, picture.shape)
    around = (top, bottom), (left, right)
    samples = np.pad(picture.samples, (*around, (0, 0)), mode="edge")
    return replace(picture, samples=samples), np.pad(hole, around, constant_values=1)


def grow_hole(hole: np.ndarray, pixels: int) -> np.ndarray:
    """Grow a hole (H, W) bool by ``pixels`` in all directions, or shrink it if they are negative."""
    check_whole("grow", pixels, low=None)
    # Beyond the picture's border nothing is known or hidden, so it moves no edge.
    away = (hole if pixels < 0 else ~hole).astype(np.uint8)
    if away.all():
        return hole
    distance = cv2.distanceTransform(away, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return distance > -pixels if pixels < 0 else distance <= pixels


def borders(text: str, shape: tuple[int, int]) -> tuple[int, int, int, int]:
    """Read ``left=200,top=10%`` for a picture of ``shape``, (H, W); returns pixels left, top, right and bottom."""
    found = dict.fromkeys(SIDES, 0)
    for part in text.split(","):
        match = re.fullmatch(r"\s*(left|top|right|bottom)=(\d{1,6}(?:\.\d+)?)(%|px)?\s*", part)
        if match is None:
            raise UserError(f"extend has {part!r}; it must be such as left=200,top=10% (pixels, or shares of the side)")
        side, number, unit = match.groups()
        whole = shape[0] if side in ("top", "bottom") else shape[1]
        found[side] = round(float(number) * whole / 100 if unit == "%" else float(number))
        if found[side] > MOST * whole:
            raise UserError(f"extend has {part!r}; a border may have at most {MOST} times the picture's side, {whole}")
    if not any(found.values()):
        raise UserError(f"extend is {text!r}, which adds nothing; give at least one pixel")
    left, top, right, bottom = (found[side] for side in SIDES)
    return left, top, right, bottom
