"""The masks of EditBench (Wang et al. 2023)."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np

from isdiff.checks import check_text
from isdiff.data.base import file_stamp
from isdiff.data.editbench import find_root, place
from isdiff.errors import UserError
from isdiff.masks.base import MaskSource
from isdiff.masks.files import read_mask
from isdiff.paths import located


class EditBenchMask(MaskSource):
    """The hole that comes with each image; white = generate."""

    def __init__(self, path: str) -> None:
        check_text("path", path)
        self.path = located(path)

    @cached_property
    def root(self) -> Path:
        return find_root(self.path)

    def hole(self, image_id: str, height: int, width: int) -> np.ndarray:
        """Read the mask of an image of EditBench."""
        return read_mask(place(self.root, "masks", image_id), height, width)

    def stamp(self, image_id: str) -> str:
        try:
            return file_stamp(place(self.root, "masks", image_id))
        except (UserError, OSError):
            return ""
