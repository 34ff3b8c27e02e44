"""DDNM: Zero-Shot Image Restoration Using Denoising Diffusion Null-Space Model (Wang et al., ICLR 2023)."""

from __future__ import annotations

from torch import Tensor

from isdiff.diffusion.grid import Grid
from isdiff.known.base import KnownRegion
from isdiff.trajectory import Trajectory


class NullSpace(KnownRegion):
    """The range-null-space correction of Eq. 13.

    For inpainting it replaces the known pixels in the predicted clean image before every step. Time travel noises the
    last, uncorrected prediction to the higher level.
    """

    def project(self, tr: Trajectory, x0: Tensor) -> Tensor:
        return tr.task.compose(x0)

    def renoise(self, tr: Trajectory, grid: Grid, index: int) -> Tensor:
        assert tr.x0 is not None, "a plan begins with a fall"
        return grid.noised(tr.x0, tr.noise(), index)
