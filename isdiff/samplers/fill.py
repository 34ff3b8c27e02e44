"""No steps at all, for methods without a network."""

from __future__ import annotations

from isdiff.diffusion.grid import Grid
from isdiff.known.base import KnownRegion
from isdiff.samplers.base import Sampler, Steps
from isdiff.trajectory import Trajectory


class Fill(Sampler):
    """Asks for no network: what an image begins with is its result."""

    calls_per_step = 0

    def __call__(self, tr: Trajectory, grid: Grid, known: KnownRegion) -> Steps:
        yield from ()
