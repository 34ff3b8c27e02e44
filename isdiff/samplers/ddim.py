"""DDIM (Song et al. 2021)."""

from __future__ import annotations

import math

import torch

from isdiff.checks import check_number
from isdiff.diffusion.grid import Grid
from isdiff.known.base import KnownRegion
from isdiff.samplers.base import Sampler, Steps, steps_down
from isdiff.trajectory import Trajectory


class DDIM(Sampler):
    """DDIM (Song et al. 2021).

    Args:
        eta: share of fresh noise, in [0, 1]; 0 is deterministic, 1 has the variance of the posterior.
    """

    def __init__(self, eta: float = 0.0) -> None:
        check_number("eta", eta, high=1)
        self.eta = eta

    def __call__(self, tr: Trajectory, grid: Grid, known: KnownRegion) -> Steps:
        for t, s in steps_down(tr, grid, known):
            fresh = tr.noise()
            tr.x = known.enter(tr, grid, t)
            prediction = yield tr.x, t
            noise = prediction.guided_noise(grid.sigma(t))
            x0 = prediction.x0(tr.x, grid, t)
            tr.x0 = known.clean(x0)
            if tr.x0 is not x0:  # the noise that belongs to it
                noise = (tr.x - grid.alpha(t) * tr.x0) / grid.sigma(t)
            sigma = self.eta * math.sqrt(grid.posterior_variance(t, s))
            kept = max(0.0, grid.sigma(s) ** 2 - sigma**2) ** 0.5
            moved = torch.add(grid.alpha(s) * known.project(tr, tr.x0), noise, alpha=kept)
            tr.x = torch.add(moved, fresh, alpha=sigma)
