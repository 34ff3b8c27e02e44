"""The process that a model was trained on: how much signal and how much noise there is at a timestep."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from isdiff.checks import BadValue
from isdiff.diffusion.grid import Grid
from isdiff.diffusion.process import alphas_cumprod_at
from isdiff.diffusion.timesteps import even_timesteps, leading_timesteps, spaced_timesteps, trailing_timesteps

SPACINGS: dict[str, Callable[[int, int], Sequence[float]]] = {
    "leading": leading_timesteps,
    "trailing": trailing_timesteps,
    "linspace": spaced_timesteps,
    "even": even_timesteps,
}


class Schedule(Protocol):
    """A process of ``num_timesteps`` timesteps, noisier the later."""

    @property
    def num_timesteps(self) -> int: ...

    def levels(self, timestep: float) -> tuple[float, float]:
        """Signal and noise level, (alpha, sigma), at a timestep, which may be fractional."""
        ...

    def grid(self, steps: int, spacing: str) -> Grid:
        """The levels of a sampler with so many steps.

        Raises:
            BadValue: the process has not so many, or no such spacing.
        """
        ...


@dataclass(frozen=True, eq=False)
class VariancePreserving:
    """``alpha^2 + sigma^2 = 1`` (Ho et al. 2020), by its betas, (T,) float64."""

    betas: Tensor

    @property
    def num_timesteps(self) -> int:
        return len(self.betas)

    @cached_property
    def alphas_cumprod(self) -> Tensor:
        """(T,) float64."""
        return torch.cumprod(1 - self.betas, 0)

    def levels(self, timestep: float) -> tuple[float, float]:
        alphas_cumprod = float(alphas_cumprod_at(self.alphas_cumprod, torch.tensor(timestep)))
        return alphas_cumprod**0.5, (1 - alphas_cumprod) ** 0.5

    def grid(self, steps: int, spacing: str) -> Grid:
        if spacing == "even" and steps < 2:
            raise BadValue("steps is 1; spacing=even needs at least 2")
        return Grid.between(self.betas, SPACINGS[spacing](len(self.betas), steps))


@dataclass(frozen=True)
class Flow:
    """Rectified flow (Liu et al. 2023): ``alpha = 1 - sigma``, and a timestep is ``sigma`` times their number.

    Attributes:
        shift: moves steps towards the noise, ``shift s / (1 + (shift - 1) s)`` (Esser et al. 2024, Eq. 23); 1: evenly.
    """

    shift: float = 1.0
    num_timesteps: int = 1000

    def levels(self, timestep: float) -> tuple[float, float]:
        sigma = timestep / self.num_timesteps
        return 1 - sigma, sigma

    def grid(self, steps: int, spacing: str) -> Grid:
        """Evenly from ``1 / steps`` to 1 before the shift; flows have this spacing alone."""
        even = ((number + 1) / steps for number in range(steps))
        return Grid.flow([self.shift * s / (1 + (self.shift - 1) * s) for s in even], self.num_timesteps)
