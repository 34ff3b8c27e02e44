"""The two large masks of the RePaint protocol, half of the image and all but its centre, and the centre itself."""

import numpy as np

from isdiff.masks.base import GeneratedMask


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
