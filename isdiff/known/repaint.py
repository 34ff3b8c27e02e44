"""RePaint: Inpainting using Denoising Diffusion Probabilistic Models (Lugmayr et al., CVPR 2022)."""

from __future__ import annotations

from torch import Tensor

from isdiff.checks import check_flag
from isdiff.diffusion.grid import Grid
from isdiff.known.base import KnownRegion
from isdiff.trajectory import Trajectory


class Renoised(KnownRegion):
    """RePaint's Algorithm 1: before each step the known region is the image noised to the current level.

    Jumps back up are steps of the forward process.

    Args:
        clip_denoised: clamp the predicted clean image to [-1, 1].
    """

    def __init__(self, clip_denoised: bool = True) -> None:
        check_flag("clip_denoised", clip_denoised)
        self.clip_denoised = clip_denoised

    def enter(self, tr: Trajectory, grid: Grid, index: int) -> Tensor:
        if tr.x0 is None:  # a fresh start is left as it is
            return tr.x
        return tr.task.compose(tr.x, grid.noised(tr.task.image, tr.noise(), index))

    def clean(self, x0: Tensor) -> Tensor:
        return x0.clamp(-1, 1) if self.clip_denoised else x0
