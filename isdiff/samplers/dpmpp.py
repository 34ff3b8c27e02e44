"""DPM-Solver++ (Lu et al. 2022b): second-order multistep steps in the clean image, deterministic or stochastic."""

from __future__ import annotations

import math

from torch import Tensor

from isdiff.checks import check_flag
from isdiff.diffusion.grid import Grid
from isdiff.known.base import KnownRegion
from isdiff.samplers.base import Sampler, Steps, steps_down
from isdiff.trajectory import Trajectory


class DPMPP2M(Sampler):
    """DPM-Solver++(2M), or its SDE form: one network call a step, the last prediction serves the next step too.

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
            x0 = known.project(tr, tr.x0)
            ahead = extrapolated(x0, before, grid.log_snr(t), grid.log_snr(s))
            before = x0, grid.log_snr(t)
            h = grid.log_snr(s) - grid.log_snr(t)
            shrink = math.exp(-h)
            if fresh is None:
                # expm1 keeps the digits of small steps; at the clean image (h infinite) it is -1, and x is x0.
                tr.x = grid.sigma(s) / grid.sigma(t) * tr.x - grid.alpha(s) * math.expm1(-h) * ahead
            else:
                noise = grid.sigma(s) * math.sqrt(-math.expm1(-2 * h))
                kept = grid.sigma(s) / grid.sigma(t) * shrink
                tr.x = kept * tr.x - grid.alpha(s) * math.expm1(-2 * h) * ahead + noise * fresh


def extrapolated(x0: Tensor, before: tuple[Tensor, float] | None, now: float, then: float) -> Tensor:
    """The clean image half a step ahead, on the line through the last two predictions.

    First order where there is no last one, or the step is infinitely long.
    """
    if before is None or math.isinf(then) or math.isinf(before[1]) or math.isinf(now):
        return x0
    ratio = (now - before[1]) / (then - now)
    return x0 + (x0 - before[0]) / (2 * ratio)
