"""FlowChef: the state itself is moved by the error on known pixels, then steps with the velocity from before."""

from __future__ import annotations

from isdiff.checks import check_number
from isdiff.diffusion.grid import Grid
from isdiff.known.base import KnownRegion
from isdiff.samplers.base import Sampler, Steps, steps_down
from isdiff.trajectory import Trajectory


class FlowChef(Sampler):
    """
    Args:
        strength: k, by which share of the error known pixels of the state are moved, in every step but the last.
    Raises:
        ValueError: a strength below 0.
    """

    def __init__(self, strength: float = 1.0) -> None:
        check_number("strength", strength)
        self.strength = strength

    def __call__(self, tr: Trajectory, grid: Grid, known: KnownRegion) -> Steps:
        for t, s in steps_down(tr, grid, known):
            prediction = yield tr.x, t
            tr.x0 = known.clean(prediction.x0(tr.x, grid, t))
            noise = (tr.x - grid.alpha(t) * tr.x0) / grid.sigma(t)
            error = 0.0 if s < 0 else self.strength * (tr.x0 - tr.task.compose(tr.x0))
            # On flow levels this is Euler's step; elsewhere DDIM's, whose direction is the same.
            moved = grid.alpha(s) * tr.x0 + grid.sigma(s) * noise
            tr.x = moved - error
