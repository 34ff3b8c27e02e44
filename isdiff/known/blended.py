"""Blended diffusion as diffusers' flow pipelines do it: known pixels are noised by one noise, that of the start."""

from __future__ import annotations

from torch import Tensor

from isdiff.diffusion.grid import Grid
from isdiff.known.base import KnownRegion
from isdiff.trajectory import Trajectory


def start_noise(tr: Trajectory, grid: Grid) -> Tensor:
    """The noise in the known pixels of the state that an attempt began with."""
    return (tr.start - grid.alpha(tr.plan[0]) * tr.task.image) / grid.sigma(tr.plan[0])


class Blended(KnownRegion):
    """The known region is replaced by the image noised to the current level, in every step by the same noise."""

    def enter(self, tr: Trajectory, grid: Grid, index: int) -> Tensor:
        return tr.task.compose(tr.x, grid.noised(tr.task.image, start_noise(tr, grid), index))
