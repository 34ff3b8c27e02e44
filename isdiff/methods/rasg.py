"""RASG, the sampler of HD-Painter (Manukyan et al. 2023, Sec. 3.4): DDIM with noise that improves attention."""

from __future__ import annotations

import math

from torch import Tensor

from isdiff.diffusion.process import ddim_step, predict_x0
from isdiff.diffusion.timesteps import Grid
from isdiff.methods.base import Prediction
from isdiff.methods.ddim import DDIM
from isdiff.trajectory import Trajectory


class RASG(DDIM):
    """DDIM with the standardised ``prediction.score`` in the place of fresh noise.

    Args:
        eta: weight of that direction; the published command line has 0.1, its evaluation 0.25.
        sigma: ``reference`` is what the published code computes, DDIM's formula with the alphas of single training
            steps: 10 to 25 times smaller than ``ddim``, the formula itself.
    Raises:
        ValueError: an unknown sigma, or an eta outside [0, 1].
    """

    def __init__(self, eta: float = 0.1, sigma: str = "reference") -> None:
        super().__init__(eta)
        if sigma not in ("reference", "ddim"):
            raise ValueError(f"method.sigma is {sigma!r}; RASG has 'reference' and 'ddim'")
        self.sigma = sigma

    def down(self, tr: Trajectory, grid: Grid, prediction: Prediction) -> Tensor:
        t, s = grid.abar(tr.index), grid.abar(tr.next_index)
        tr.x0 = predict_x0(tr.x, prediction.noise, t)
        if prediction.score is None or tr.next_index < 0:
            return ddim_step(tr.x0, prediction.noise, s)
        sigma = self.eta * noise_level(grid, tr.index, tr.next_index, self.sigma)
        direction = prediction.score / prediction.score.std().clamp(min=1e-12)
        return ddim_step(tr.x0, prediction.noise, s, sigma, direction)


def noise_level(grid: Grid, index: int, next_index: int, kind: str) -> float:
    """DDIM's sigma at eta 1 for one step; ``reference`` uses single-step alphas instead of their products."""
    if kind == "ddim":
        t, s = grid.abar(index), grid.abar(next_index)
    else:
        t, s = grid.alphas[index], grid.alphas[next_index]
    return math.sqrt((1 - s) / (1 - t) * (1 - t / s))
