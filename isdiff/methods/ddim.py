"""Plain DDIM (Song et al. 2021): for models that see the known region themselves, as inpainting U-Nets do."""

from __future__ import annotations

import math

from torch import Tensor

from isdiff.diffusion.process import ddim_step, predict_x0
from isdiff.diffusion.timesteps import Grid
from isdiff.methods.base import Method, Prediction
from isdiff.trajectory import Trajectory


class DDIM(Method):
    """
    Args:
        eta: share of fresh noise, in [0, 1]; 0 is deterministic.
    Raises:
        ValueError: an eta outside [0, 1].
    """

    def __init__(self, eta: float = 0.0) -> None:
        if not 0 <= eta <= 1:
            raise ValueError(f"method.eta is {eta}; DDIM needs a share between 0 and 1")
        self.eta = eta

    def down(self, tr: Trajectory, grid: Grid, prediction: Prediction) -> Tensor:
        t, s = grid.abar(tr.index), grid.abar(tr.next_index)
        noise = prediction.guided_noise(t)
        tr.x0 = predict_x0(tr.x, noise, t)
        sigma = self.eta * math.sqrt((1 - s) / (1 - t) * (1 - t / s))
        return ddim_step(tr.x0, noise, s, sigma, tr.stream.normal(like=tr.x) if self.eta else None)

    def up(self, tr: Trajectory, grid: Grid) -> Tensor:
        """One step of the forward process on the respaced chain."""
        beta = grid.beta(tr.next_index)
        return math.sqrt(1 - beta) * tr.x + math.sqrt(beta) * tr.stream.normal(like=tr.x)
