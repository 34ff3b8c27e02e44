"""The steps of DDNM's public code (Wang et al. 2023): DDIM with a noise share of its own."""

from __future__ import annotations

import math

import torch

from isdiff.checks import check_choice, check_number
from isdiff.diffusion.grid import Grid
from isdiff.known.base import KnownRegion
from isdiff.samplers.base import Sampler, Steps, steps_down
from isdiff.trajectory import Trajectory


class DDNMSteps(Sampler):
    """The steps of DDNM's public code.

    Args:
        eta: share of fresh noise, in [0, 1]. Not DDIM's eta: the noise of level sigma is
            ``sigma (eta z + sqrt(1 - eta^2) eps)``, so 1 forgets the predicted noise altogether.
        version: ``svd`` (the published results), or ``simplified``, whose noise has the further factor
            ``sqrt(1 - abar_s^2)``.
    """

    def __init__(self, eta: float = 0.85, version: str = "svd") -> None:
        check_number("eta", eta, high=1)
        check_choice("version", version, ("svd", "simplified"))
        self.eta, self.version = eta, version

    def __call__(self, tr: Trajectory, grid: Grid, known: KnownRegion) -> Steps:
        for t, s in steps_down(tr, grid, known):
            fresh = tr.noise()
            tr.x = known.enter(tr, grid, t)
            prediction = yield tr.x, t
            tr.x0 = known.clean(prediction.x0(tr.x, grid, t))
            predicted = prediction.guided_noise(grid.sigma(t))
            noise = torch.add(self.eta * fresh, predicted, alpha=math.sqrt(1 - self.eta**2))
            sigma = grid.sigma(s)
            if self.version == "simplified":
                sigma *= math.sqrt(1 - grid.alpha(s) ** 4)
            tr.x = torch.add(grid.alpha(s) * known.project(tr, tr.x0), noise, alpha=sigma)
