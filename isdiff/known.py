"""Rules for the known region: what happens to it while an image is sampled."""

import math
from dataclasses import dataclass

from torch import Tensor

from isdiff.checks import Flag
from isdiff.component import Component
from isdiff.diffusion.grid import Grid
from isdiff.trajectory import Trajectory


class KnownRegion(Component):
    """How the known region is treated: four hooks that a sampler calls.

    By default nothing happens to it, as models need that see it themselves; other rules override the hooks. All tensors
    are (C, H, W), all indices the grid's. A rule keeps no state; what it needs is in the trajectory: ``tr.task``
    (``compose(inside, known)``, ``image``, ``hole``), ``tr.x``, ``tr.x0``, ``tr.noise()``.
    """

    def enter(self, tr: Trajectory, grid: Grid, index: int) -> Tensor:
        """The noisy image that the network sees at ``index``; by default ``tr.x`` as it is."""
        return tr.x

    def clean(self, x0: Tensor) -> Tensor:
        """The predicted clean image, e.g. clamped; the same tensor where nothing changes."""
        return x0

    def project(self, tr: Trajectory, x0: Tensor) -> Tensor:
        """The clean image that the step goes on with."""
        return x0

    def renoise(self, tr: Trajectory, grid: Grid, index: int) -> Tensor:
        """A climb by one index up to ``index``; by default a step of the forward process on the respaced chain."""
        ratio = grid.alpha(index) / grid.alpha(index - 1)
        return ratio * tr.x + math.sqrt(grid.beta(index)) * tr.noise()


class NullSpace(KnownRegion):
    """DDNM's range-null-space correction (Wang et al., ICLR 2023, Eq. 13).

    For inpainting it replaces the known pixels in the predicted clean image before every step. Time travel noises the
    last, uncorrected prediction to the higher level.
    """

    def project(self, tr: Trajectory, x0: Tensor) -> Tensor:
        return tr.task.compose(x0)

    def renoise(self, tr: Trajectory, grid: Grid, index: int) -> Tensor:
        assert tr.x0 is not None, "a plan begins with a fall"
        return grid.noised(tr.x0, tr.noise(), index)


@dataclass(eq=False)
class Renoised(KnownRegion):
    """RePaint's Algorithm 1 (Lugmayr et al., CVPR 2022): the known region is the image, noised anew before each step.

    Jumps back up are steps of the forward process.
    """

    clip_denoised: Flag = True  # clamp the predicted clean image to [-1, 1]

    def enter(self, tr: Trajectory, grid: Grid, index: int) -> Tensor:
        if tr.x0 is None:  # a fresh start is left as it is
            return tr.x
        return tr.task.compose(tr.x, grid.noised(tr.task.image, tr.noise(), index))

    def clean(self, x0: Tensor) -> Tensor:
        return x0.clamp(-1, 1) if self.clip_denoised else x0


class Blended(KnownRegion):
    """Blended diffusion of diffusers' flow pipelines: the image is noised by the noise of the start in every step."""

    def enter(self, tr: Trajectory, grid: Grid, index: int) -> Tensor:
        return tr.task.compose(tr.x, grid.noised(tr.task.image, start_noise(tr, grid), index))


def start_noise(tr: Trajectory, grid: Grid) -> Tensor:
    """The noise in the known pixels of the state that an attempt began with."""
    return grid.noise_in(tr.start, tr.task.image, tr.plan[0])
