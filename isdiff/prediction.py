"""What a model answers for one image."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from isdiff.diffusion.grid import Grid

Level = float | Tensor  # of one image, or of each of a batch, broadcasting


@dataclass(frozen=True)
class Prediction:
    """What a model says of one noisy image."""

    noise: Tensor  # (C, H, W), the noise that the network sees in the image
    variance: Tensor | None = None  # (C, H, W) in [-1, 1], where the network learned it
    # (C, H, W), gradient of a log-likelihood by which the step is to be guided, e.g. a classifier's
    score: Tensor | None = None
    # (C, H, W), the clean image, where the model says it itself; else it follows from the noise. Flow models must: at
    # their noisiest level nothing of the image is left to divide by
    clean: Tensor | None = None

    @classmethod
    def of(cls, output: Tensor, kind: str, x: Tensor, alpha: Level, sigma: Level) -> "Prediction":
        """What a network says of ``x = alpha image + sigma noise``, whatever it predicts.

        Args:
            kind: ``noise``; ``velocity``, alpha noise - sigma image (Salimans & Ho 2022), where alpha^2 + sigma^2 = 1;
                ``clean``, the image; ``flow``, noise - image, where alpha + sigma = 1.
        """
        if kind == "noise":
            return cls(output)
        if kind == "velocity":
            return cls(alpha * output + sigma * x, clean=alpha * x - sigma * output)
        if kind == "flow":
            return cls(x + alpha * output, clean=x - sigma * output)
        if kind == "clean":
            return cls((x - alpha * output) / sigma, clean=output)
        raise ValueError(f"a network that predicts {kind!r}: noise, velocity, clean and flow are known")

    def detached(self) -> "Prediction":
        """Without the graph that gradients need."""
        parts = {key: value.detach() for key, value in vars(self).items() if value is not None}
        return replace(self, **parts)

    def guided_noise(self, sigma: float) -> Tensor:
        """``noise`` moved along ``score``, for deterministic steps (Dhariwal & Nichol 2021, Alg. 2)."""
        return self.noise if self.score is None else self.noise - sigma * self.score

    def x0(self, x: Tensor, grid: Grid, index: int, guided: bool = True) -> Tensor:
        """The clean image that the noisy ``x`` at ``index`` is of."""
        if self.clean is not None and not (guided and self.score is not None):
            return self.clean
        noise = self.guided_noise(grid.sigma(index)) if guided else self.noise
        return torch.sub(x, noise, alpha=grid.sigma(index)) / grid.alpha(index)
