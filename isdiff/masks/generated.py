"""Masks that follow from the configuration: half, all but the centre, the centre, and LaMa's random large masks."""

import math
from functools import partial
from typing import Annotated, NamedTuple

import cv2
import numpy as np
from numpy.random import RandomState

from isdiff.checks import check_whole
from isdiff.masks.base import GeneratedMask, random_state


class HalfMask(GeneratedMask):
    """The left half (columns 0 .. W//2 - 1) is given, the right half is the hole."""

    def hole(self, image_id: str, height: int, width: int) -> np.ndarray:
        return np.tile(np.arange(width) >= width // 2, (height, 1))


class ExpandMask(GeneratedMask):
    """A centred square of a quarter of the shorter side is given: 64x64 of 256x256, 16x16 of 64x64."""

    def hole(self, image_id: str, height: int, width: int) -> np.ndarray:
        side = max(1, min(height, width) // 4)
        return ~centred(height, width, side, side)


class CenterMask(GeneratedMask):
    """A centred box of half the height and half the width is the hole: 32x32 of 64x64."""

    def hole(self, image_id: str, height: int, width: int) -> np.ndarray:
        return centred(height, width, (height + 1) // 2, (width + 1) // 2)


def centred(height: int, width: int, rows: int, columns: int) -> np.ndarray:
    top, left = (height - rows) // 2, (width - columns) // 2
    box = np.zeros((height, width), bool)
    box[top : top + rows, left : left + columns] = True
    return box


class WideSettings(NamedTuple):
    """Limits for a square of ``size`` pixels, both ends included."""

    size: int
    length: int  # a segment of a stroke is 10 + {0..length-1} long
    width: int  # a segment of a stroke is 5 + {0..width-1} wide
    boxes: tuple[int, int]  # number of boxes
    box_side: tuple[int, int]


THICK = {256: WideSettings(256, 200, 100, (1, 3), (30, 150)), 512: WideSettings(512, 450, 250, (1, 4), (30, 300))}
STROKES, SEGMENTS = (1, 6), (1, 5)
MARGIN = 10  # of boxes from the border
BOX_SHARE = 0.3  # weight of boxes against 1 for strokes
MAX_HOLE = 0.5
CANDIDATES = 5


def between(rng: RandomState, low: int, high: int) -> int:
    return int(rng.randint(low, high + 1))


def draw_strokes(rng: RandomState, height: int, width: int, s: WideSettings) -> np.ndarray:
    canvas = np.zeros((height, width), np.float32)
    for stroke in range(between(rng, *STROKES)):
        x, y = between(rng, 0, width - 1), between(rng, 0, height - 1)
        for _ in range(between(rng, *SEGMENTS)):
            angle = 0.01 + between(rng, 0, 3)
            if stroke % 2 == 0:
                angle = 2 * 3.1415926 - angle
            length = 10 + between(rng, 0, s.length - 1)
            thickness = 5 + between(rng, 0, s.width - 1)
            to_x = min(max(int(x + length * math.sin(angle)), 0), width)
            to_y = min(max(int(y + length * math.cos(angle)), 0), height)
            cv2.line(canvas, (x, y), (to_x, to_y), 1.0, thickness)
            x, y = to_x, to_y
    return canvas > 0


def draw_boxes(rng: RandomState, height: int, width: int, s: WideSettings) -> np.ndarray:
    hole = np.zeros((height, width), bool)
    low, high = s.box_side[0], min(s.box_side[1], height - 2 * MARGIN - 1, width - 2 * MARGIN - 1)
    for _ in range(between(rng, *s.boxes)):
        box_width, box_height = between(rng, low, high), between(rng, low, high)
        x = between(rng, MARGIN, width - MARGIN - box_width)
        y = between(rng, MARGIN, height - MARGIN - box_height)
        hole[y : y + box_height, x : x + box_width] = True
    return hole


def candidate(rng: RandomState, height: int, width: int, settings: WideSettings) -> np.ndarray:
    share = np.array([1.0, BOX_SHARE])
    kind = rng.choice(2, p=share / share.sum())
    return (draw_boxes if kind else draw_strokes)(rng, height, width, settings)


class WideMask(GeneratedMask):
    """Five candidates on a 256 or 512 canvas, one of those that hide at most half, scaled to the image.

    LaMa leaves an image out when all five hide more than half; here five more are drawn, so every image has a mask.
    """

    def __init__(self, seed: Annotated[int, partial(check_whole, low=None)] = 0) -> None:
        self.seed = seed

    def hole(self, image_id: str, height: int, width: int) -> np.ndarray:
        settings = THICK[256 if min(height, width) < 512 else 512]
        scale = settings.size / min(height, width)
        canvas = round(height * scale), round(width * scale)
        rng = random_state(self.seed, image_id)
        fitting: list[np.ndarray] = []
        while not fitting:
            drawn = [candidate(rng, *canvas, settings) for _ in range(CANDIDATES)]
            fitting = [hole for hole in drawn if 0 < hole.mean() <= MAX_HOLE]
        hole = fitting[rng.randint(len(fitting))]
        if hole.shape == (height, width):
            return hole
        # Area-averaged, then cut at one half; a sliver that this would lose entirely keeps its strongest pixel.
        small = cv2.resize(hole.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
        return small >= min(0.5, small.max())
