"""Second-order steps on the probability flow: Heun and DPM-Solver++."""

from __future__ import annotations

import math

from torch import Tensor

from isdiff.checks import check_flag
from isdiff.diffusion.grid import Grid
from isdiff.known import KnownRegion
from isdiff.prediction import Prediction
from isdiff.samplers.base import Sampler, Steps, steps_down
from isdiff.trajectory import Trajectory


class Heun(Sampler):
    """Heun's steps (Karras et al. 2022, Alg. 1, without their schedule).

    Two network calls a step: at its start and at the Euler guess of its end; one for the step to the clean image.
    """

    calls_per_step = 2

    def __call__(self, tr: Trajectory, grid: Grid, known: KnownRegion) -> Steps:
        for t, s in steps_down(tr, grid, known):
            tr.x = known.enter(tr, grid, t)
            prediction = yield tr.x, t
            start = projected(tr, grid, known, prediction, tr.x, t)
            guess = grid.noised(*start, s)
            if grid.sigma(s) > 0:
                prediction = yield guess, s
                tr.x = midway(grid, t, s, tr.x, start, projected(tr, grid, known, prediction, guess, s))
            else:
                tr.x = guess


def projected(
    tr: Trajectory, grid: Grid, known: KnownRegion, prediction: Prediction, x: Tensor, index: int
) -> tuple[Tensor, Tensor]:
    """The clean image that a step uses, and the noise that ``x`` then has."""
    tr.x0 = known.clean(prediction.x0(x, grid, index))
    x0 = known.project(tr, tr.x0)
    return x0, grid.noise_in(x, x0, index)


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


class DPMPP2M(Sampler):
    """DPM-Solver++(2M) (Lu et al. 2022b), or its SDE form: multistep, one network call a step.

    Args:
        stochastic: the SDE form, with fresh noise in every step.
    """

    def __init__(self, stochastic: bool = False) -> None:
        check_flag("stochastic", stochastic)
        self.stochastic = stochastic

    def __call__(self, tr: Trajectory, grid: Grid, known: KnownRegion) -> Steps:
        before: tuple[Tensor, float] | None = None  # the last step's clean image and its log-SNR
        reached = None
        for t, s in steps_down(tr, grid, known):
            before = before if t == reached else None  # a climb begins anew
            reached = s
            fresh = tr.noise() if self.stochastic else None
            tr.x = known.enter(tr, grid, t)
            prediction = yield tr.x, t
            tr.x0 = known.clean(prediction.x0(tr.x, grid, t))
            x0, now, then = known.project(tr, tr.x0), grid.log_snr(t), grid.log_snr(s)
            ahead = extrapolated(x0, before, now, then)
            before, h = (x0, now), then - now
            if fresh is None:
                # expm1 keeps the digits of small steps; at the clean image (h infinite) it is -1, and x is x0.
                tr.x = grid.sigma(s) / grid.sigma(t) * tr.x - grid.alpha(s) * math.expm1(-h) * ahead
            else:
                noise = grid.sigma(s) * math.sqrt(-math.expm1(-2 * h))
                kept = grid.sigma(s) / grid.sigma(t) * math.exp(-h)
                tr.x = kept * tr.x - grid.alpha(s) * math.expm1(-2 * h) * ahead + noise * fresh


def extrapolated(x0: Tensor, before: tuple[Tensor, float] | None, now: float, then: float) -> Tensor:
    """The clean image half a step ahead, on the line through the last two predictions.

    First order where there is no last one, or the step is infinitely long.
    """
    if before is None or math.isinf(then) or math.isinf(before[1]) or math.isinf(now):
        return x0
    ratio = (now - before[1]) / (then - now)
    return x0 + (x0 - before[0]) / (2 * ratio)
