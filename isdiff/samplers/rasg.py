"""RASG, the sampler of HD-Painter (Manukyan et al. 2023, Sec. 3.4): DDIM with noise that improves attention."""

from __future__ import annotations

import math

from isdiff.checks import BadValue, check_choice, check_number
from isdiff.diffusion.grid import Grid
from isdiff.known.base import KnownRegion
from isdiff.samplers.base import Sampler, Steps, steps_down
from isdiff.trajectory import Trajectory


class RASG(Sampler):
    """DDIM with the standardised ``prediction.score`` in the place of fresh noise.

    Args:
        eta: weight of that direction; the published command line has 0.1, its evaluation 0.25.
        sigma: ``reference`` is what the published code computes, DDIM's formula with the alphas of single training
            steps: 10 to 25 times smaller than ``ddim``, the formula itself.
    """

    def __init__(self, eta: float = 0.1, sigma: str = "reference") -> None:
        check_number("eta", eta, high=1)
        check_choice("sigma", sigma, ("reference", "ddim"))
        self.eta, self.sigma = eta, sigma

    def check(self, grid: Grid) -> None:
        if self.sigma == "reference" and not grid.step_alphas:
            raise BadValue(
                "spacing puts steps between those of the model, for which sigma=reference has no formula; it must be "
                "leading, linspace or trailing, or set sigma=ddim"
            )

    def __call__(self, tr: Trajectory, grid: Grid, known: KnownRegion) -> Steps:
        for t, s in steps_down(tr, grid, known):
            tr.x = known.enter(tr, grid, t)
            prediction = yield tr.x, t
            tr.x0 = known.clean(prediction.x0(tr.x, grid, t, guided=False))
            x0, noise = known.project(tr, tr.x0), prediction.noise
            if prediction.score is None or s < 0:
                tr.x = grid.noised(x0, noise, s)
                continue
            sigma = self.eta * noise_level(grid, t, s, self.sigma)
            direction = prediction.score / prediction.score.std().clamp(min=1e-12)
            kept = max(0.0, grid.sigma(s) ** 2 - sigma**2) ** 0.5
            tr.x = grid.alpha(s) * x0 + kept * noise + sigma * direction


def noise_level(grid: Grid, index: int, next_index: int, kind: str) -> float:
    """DDIM's sigma at eta 1 for one step; ``reference`` uses single-step alphas instead of their products."""
    if kind == "ddim":
        return math.sqrt(grid.posterior_variance(index, next_index))
    t, s = grid.step_alphas[index], grid.step_alphas[next_index]
    return math.sqrt((1 - s) / (1 - t) * (1 - t / s))
