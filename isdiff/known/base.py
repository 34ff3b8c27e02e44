"""What a rule for the known region is: four hooks that a sampler calls, which by default do nothing."""

from __future__ import annotations

import math

from torch import Tensor

from isdiff.component import Component
from isdiff.diffusion.grid import Grid
from isdiff.trajectory import Trajectory


class KnownRegion(Component):
    """The rule of models that see the known region themselves, as inpainting U-Nets do: nothing happens to it.

    All tensors are (C, H, W), all indices the grid's. A rule keeps no state of its own; what it needs of an image is in
    the trajectory: ``tr.task`` (``compose(inside, known)``, ``image``, ``hole``), ``tr.x``, ``tr.x0``, ``tr.noise()``.
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
