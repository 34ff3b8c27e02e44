"""Heun's second-order steps on the probability flow (Karras et al. 2022, Alg. 1, without their schedule)."""

from __future__ import annotations

from torch import Tensor

from isdiff.diffusion.grid import Grid
from isdiff.known.base import KnownRegion
from isdiff.prediction import Prediction
from isdiff.samplers.base import Sampler, Steps, steps_down
from isdiff.trajectory import Trajectory


class Heun(Sampler):
    """Two network calls a step: at its start and at the Euler guess of its end; one for the step to the clean image."""

    calls_per_step = 2

    def __call__(self, tr: Trajectory, grid: Grid, known: KnownRegion) -> Steps:
        for t, s in steps_down(tr, grid, known):
            tr.x = known.enter(tr, grid, t)
            prediction = yield tr.x, t
            x0, noise = projected(tr, grid, known, prediction, tr.x, t)
            if grid.sigma(s) > 0:
                guess = grid.noised(x0, noise, s)
                prediction = yield guess, s
                later_x0, later_noise = projected(tr, grid, known, prediction, guess, s)
                tr.x = midway(grid, t, s, tr.x, (x0, noise), (later_x0, later_noise))
            else:
                tr.x = grid.noised(x0, noise, s)


def projected(
    tr: Trajectory, grid: Grid, known: KnownRegion, prediction: Prediction, x: Tensor, index: int
) -> tuple[Tensor, Tensor]:
    """The clean image that a step uses, and the noise that ``x`` then has."""
    tr.x0 = known.clean(prediction.x0(x, grid, index))
    x0 = known.project(tr, tr.x0)
    return x0, (x - grid.alpha(index) * x0) / grid.sigma(index)


def midway(grid: Grid, t: int, s: int, x: Tensor, start: tuple[Tensor, Tensor], end: tuple[Tensor, Tensor]) -> Tensor:
    """The step along the mean of the two slopes.

    With ``y = x / alpha`` against ``sigma / alpha`` the slope is the noise; where nothing of the image is left at the
    start (flow models), the mean of the two velocities ``noise - x0``.
    """
    if grid.alpha(t) == 0:
        velocity = (start[1] - start[0] + end[1] - end[0]) / 2
        return x + (grid.sigma(s) - grid.sigma(t)) * velocity
    ratio = grid.alpha(s) / grid.alpha(t)
    return ratio * x + (grid.sigma(s) - ratio * grid.sigma(t)) * (start[1] + end[1]) / 2
