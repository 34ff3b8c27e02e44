"""DDNM: Zero-Shot Image Restoration Using Denoising Diffusion Null-Space Model (Wang et al., ICLR 2023).

For inpainting the range-null-space correction of Eq. 13 is plain replacement of the known pixels in the predicted
clean image, before every step.
"""

from __future__ import annotations

import math

from torch import Tensor

from isdiff.diffusion.process import add_noise, predict_x0
from isdiff.diffusion.timesteps import Grid
from isdiff.methods.base import Method, Prediction
from isdiff.trajectory import Trajectory


class DDNM(Method):
    """
    Args:
        eta: share of fresh noise, in [0, 1]. Not DDIM's eta: the new noise is
            ``sqrt(1 - abar_s) (eta z + sqrt(1 - eta^2) eps)``, so 1 forgets the predicted noise altogether.
        version: ``svd`` (the published results), or ``simplified``, whose noise has the further factor
            ``sqrt(1 - abar_s^2)``.
    Raises:
        ValueError: a value outside these.
    """

    def __init__(self, eta: float = 0.85, version: str = "svd") -> None:
        if not 0 <= eta <= 1:
            raise ValueError(f"method.eta is {eta}; DDNM needs a share between 0 and 1")
        if version not in ("svd", "simplified"):
            raise ValueError(f"method.version is {version!r}; DDNM has 'svd' and 'simplified'")
        self.eta, self.version = eta, version

    def down(self, tr: Trajectory, grid: Grid, prediction: Prediction) -> Tensor:
        t, s = grid.abar(tr.index), grid.abar(tr.next_index)
        predicted = prediction.guided_noise(t)
        tr.x0 = predict_x0(tr.x, predicted, t)
        corrected = tr.task.compose(tr.x0)
        fresh = tr.stream.normal(like=tr.x)
        noise = self.eta * fresh + math.sqrt(1 - self.eta**2) * predicted
        scale = math.sqrt(1 - s) * (math.sqrt(1 - s * s) if self.version == "simplified" else 1.0)
        return math.sqrt(s) * corrected + scale * noise

    def up(self, tr: Trajectory, grid: Grid) -> Tensor:
        """Time travel: noise the last, uncorrected prediction to the higher level."""
        return add_noise(tr.x0, tr.stream.normal(like=tr.x), grid.abar(tr.next_index))
