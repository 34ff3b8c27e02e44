"""What a model answers for one image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from isdiff.diffusion.grid import Grid


@dataclass(frozen=True)
class Prediction:
    """
    Attributes:
        noise: (C, H, W), the noise that the network sees in the image.
        variance: (C, H, W) in [-1, 1], where the network learned it.
        score: (C, H, W), gradient of a log-likelihood by which the step is to be guided, e.g. a classifier's.
        clean: (C, H, W), the clean image, where the model says it itself; else it follows from the noise. Flow models
            must: at their noisiest level nothing of the image is left to divide by.
    """

    noise: Tensor
    variance: Tensor | None = None
    score: Tensor | None = None
    clean: Tensor | None = None

    def guided_noise(self, sigma: float) -> Tensor:
        """``noise`` moved along ``score``, for deterministic steps (Dhariwal & Nichol 2021, Alg. 2)."""
        return self.noise if self.score is None else self.noise - sigma * self.score

    def x0(self, x: Tensor, grid: Grid, index: int, guided: bool = True) -> Tensor:
        """The clean image that the noisy ``x`` at ``index`` is of."""
        if self.clean is not None and not (guided and self.score is not None):
            return self.clean
        noise = self.guided_noise(grid.sigma(index)) if guided else self.noise
        return torch.sub(x, noise, alpha=grid.sigma(index)) / grid.alpha(index)
