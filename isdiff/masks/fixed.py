"""The two large masks of the RePaint protocol, half of the image and all but its centre, and the centre itself."""

from __future__ import annotations

import numpy as np

from isdiff.masks.base import GeneratedMask


class HalfMask(GeneratedMask):
    """The left half (columns 0 .. W//2 - 1) is given, the right half is the hole."""

    def hole(self, image_id: str, height: int, width: int) -> np.ndarray:
        hole = np.ones((height, width), bool)
        hole[:, : width // 2] = False
        return hole


class ExpandMask(GeneratedMask):
    """A centred square of a quarter of the shorter side is given: 64x64 of 256x256, 16x16 of 64x64."""

    def hole(self, image_id: str, height: int, width: int) -> np.ndarray:
        side = max(1, min(height, width) // 4)
        top, left = (height - side) // 2, (width - side) // 2
        hole = np.ones((height, width), bool)
        hole[top : top + side, left : left + side] = False
        return hole


class CenterMask(GeneratedMask):
    """A centred box of half the height and half the width is the hole: 32x32 of 64x64."""

    def hole(self, image_id: str, height: int, width: int) -> np.ndarray:
        rows, columns = (height + 1) // 2, (width + 1) // 2
        top, left = (height - rows) // 2, (width - columns) // 2
        hole = np.zeros((height, width), bool)
        hole[top : top + rows, left : left + columns] = True
        return hole
