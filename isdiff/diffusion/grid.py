"""The levels of noise that a sampler visits: one signal level and one noise level for each of its timesteps."""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Grid:
    """Levels ``x = alpha x0 + sigma noise``, ascending in noise; index -1 is what is left after the last step.

    Attributes:
        timesteps: ascending, in units of the training process, maybe fractional: what the network is told.
        alphas, sigmas: signal and noise level at each of them.
        num_timesteps: length of the training process.
        last: both levels after the last step; (1, 0) is the clean image.
        step_alphas: ``1 - beta`` of single steps of the training process, where it has them.
    """

    timesteps: tuple[float, ...]
    alphas: tuple[float, ...]
    sigmas: tuple[float, ...]
    num_timesteps: int
    last: tuple[float, float] = (1.0, 0.0)
    step_alphas: tuple[float, ...] = ()

    @classmethod
    def of(cls, betas: Tensor, timesteps: Sequence[int], last: float = 1.0) -> "Grid":
        """Timesteps of the variance-preserving process with these ``betas``, (T,) float64.

        ``last`` is ``alphas_cumprod`` after the last step.
        """
        step_alphas, chosen = 1 - betas, list(timesteps)
        alphas_cumprod = torch.cumprod(step_alphas, 0)[chosen].tolist()
        levels = [(a**0.5, (1 - a) ** 0.5) for a in (*alphas_cumprod, last)]
        alphas, sigmas = zip(*levels[:-1], strict=True)
        return cls(tuple(chosen), alphas, sigmas, len(betas), levels[-1], tuple(step_alphas[chosen].tolist()))

    @classmethod
    def between(cls, betas: Tensor, timesteps: Sequence[float], last: float = 1.0) -> "Grid":
        """As ``of``, for timesteps that may lie between those of the process.

        There ``sigma / alpha`` is on the line between its neighbours, as in diffusers' Euler scheduler.
        """
        if all(float(t).is_integer() for t in timesteps):
            return cls.of(betas, [int(t) for t in timesteps], last)
        alphas_cumprod = torch.cumprod(1 - betas, 0)
        ratios = ((1 - alphas_cumprod) / alphas_cumprod).sqrt().tolist()
        found = []
        for t in timesteps:
            low = min(int(t), len(ratios) - 2)
            found.append(ratios[low] + (t - low) * (ratios[low + 1] - ratios[low]))
        alphas = tuple((1 + ratio**2) ** -0.5 for ratio in found)
        sigmas = tuple(ratio * alpha for ratio, alpha in zip(found, alphas, strict=True))
        return cls(tuple(map(float, timesteps)), alphas, sigmas, len(betas), (last**0.5, (1 - last) ** 0.5))

    @classmethod
    def flow(cls, sigmas: Sequence[float], num_timesteps: int = 1000) -> "Grid":
        """Levels of rectified flow (Liu et al. 2023), ``alpha = 1 - sigma``, ascending in (0, 1]."""
        timesteps = tuple(sigma * num_timesteps for sigma in sigmas)
        return cls(timesteps, tuple(1 - sigma for sigma in sigmas), tuple(sigmas), num_timesteps)

    def __len__(self) -> int:
        return len(self.timesteps)

    def alpha(self, index: int) -> float:
        """Signal level; at -1 that of the result."""
        return self.alphas[index] if index >= 0 else self.last[0]

    def sigma(self, index: int) -> float:
        """Noise level, likewise."""
        return self.sigmas[index] if index >= 0 else self.last[1]

    def noise_between(self, low: int, high: int) -> float:
        """Variance of the noise that the forward process adds on the way from ``low`` up to ``high``.

        It scales the image by ``alpha(high) / alpha(low)``. Between neighbours this is beta of the respaced chain.
        """
        ratio = self.alpha(high) / self.alpha(low)
        return self.sigma(high) ** 2 - (ratio * self.sigma(low)) ** 2

    def beta(self, index: int) -> float:
        """``beta`` of the respaced chain: the noise added from ``index - 1`` to ``index``."""
        return self.noise_between(index - 1, index)

    def posterior_variance(self, high: int, low: int) -> float:
        """Variance of ``q(x_low | x_high, x0)`` (Ho et al. 2020, Eq. 7); DDIM's sigma squared at eta 1."""
        return self.noise_between(low, high) * self.sigma(low) ** 2 / self.sigma(high) ** 2

    def log_snr(self, index: int) -> float:
        """``log(alpha / sigma)``, half the logarithm of the signal-to-noise ratio; infinite for the clean image."""
        alpha, sigma = self.alpha(index), self.sigma(index)
        if sigma == 0:
            return math.inf
        return math.log(alpha / sigma) if alpha > 0 else -math.inf

    def noised(self, x0: Tensor, noise: Tensor, index: int) -> Tensor:
        """``x0`` at the level ``index`` (paper Eqs. 1 and 7)."""
        return self.alpha(index) * x0 + self.sigma(index) * noise

    def noise_in(self, x: Tensor, x0: Tensor, index: int) -> Tensor:
        """The noise in ``x`` at the level ``index`` where ``x0`` is its clean image."""
        return (x - self.alpha(index) * x0) / self.sigma(index)

    def index_at(self, fraction: float) -> int:
        """The index nearest to ``fraction`` of the process, where 1 is the noisiest step.

        Of two that are equally near, the noisier.
        """
        target = fraction * self.num_timesteps
        above = bisect_right(self.timesteps, target)  # asked in every step, so not by looking at all of them
        near = [above - 1] if above else []
        if above < len(self):
            near.append(bisect_right(self.timesteps, self.timesteps[above]) - 1)
        return min(near, key=lambda i: (abs(self.timesteps[i] - target), -i))
