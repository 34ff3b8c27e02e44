"""Ancestral sampling of the learned reverse process (Ho et al. 2020; Nichol & Dhariwal 2021), as RePaint uses it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from isdiff.diffusion.grid import Grid
from isdiff.known import KnownRegion
from isdiff.prediction import Prediction
from isdiff.samplers.base import Sampler, Steps, steps_down
from isdiff.trajectory import Trajectory


class Ancestral(Sampler):
    """Samples ``p(x_s | x_t)`` on the respaced chain, with the learned variance where the network gives one."""

    def __call__(self, tr: Trajectory, grid: Grid, known: KnownRegion) -> Steps:
        for t, s in steps_down(tr, grid, known):
            fresh = tr.noise()
            tr.x = known.enter(tr, grid, t)
            prediction = yield tr.x, t
            # Guidance moves this step's mean, not the predicted image.
            tr.x0 = known.clean(prediction.x0(tr.x, grid, t, guided=False))
            mean = posterior_mean(grid, t, s, known.project(tr, tr.x0), tr.x)
            log_variance = learned_log_variance(grid, t, s, prediction)
            if prediction.score is not None:  # Dhariwal & Nichol 2021, Alg. 1
                mean = mean + log_variance.exp() * prediction.score
            tr.x = mean + (0.5 * log_variance).exp() * fresh if grid.sigma(s) > 0 else mean


def posterior_mean(grid: Grid, t: int, s: int, x0: Tensor, x: Tensor) -> Tensor:
    """Mean of ``q(x_s | x_t, x0)`` (Ho et al. 2020, Eq. 7)."""
    variance, added = grid.sigma(t) ** 2, grid.noise_between(s, t)
    ratio = grid.alpha(t) / grid.alpha(s)
    return grid.alpha(s) * added / variance * x0 + ratio * grid.sigma(s) ** 2 / variance * x


def learned_log_variance(grid: Grid, t: int, s: int, prediction: Prediction) -> Tensor:
    """Between log beta and the posterior's, as learned (Nichol & Dhariwal 2021, Eq. 15).

    The posterior's ("fixed small") if it is not learned.
    """
    # The posterior variance of the last step is 0: its logarithm is taken one step earlier, where there is one.
    high, low = (t, s) if s >= 0 else (max(t, 1), max(t, 1) - 1)
    posterior = math.log(grid.posterior_variance(high, low) if len(grid) > 1 else grid.noise_between(s, t))
    if prediction.variance is None:
        return torch.tensor(posterior, device=prediction.noise.device)
    part = (prediction.variance + 1) / 2
    return part * math.log(grid.noise_between(s, t)) + (1 - part) * posterior
