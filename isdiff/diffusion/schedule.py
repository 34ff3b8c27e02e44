"""The process that a model was trained on, and the way of a sampler through its noise levels.

A *plan* is the list of indices of a grid that one image walks along, with -1 for the clean image; a rise in it is a
re-noising jump.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Annotated, Any, Protocol

import torch
from torch import Tensor

from isdiff.checks import BadValue, Whole, one_of
from isdiff.component import Component
from isdiff.diffusion.grid import Grid


def named_betas(name: str, num_timesteps: int = 1000) -> Tensor:
    """Noise schedule of ``num_timesteps`` betas, float64.

    ``linear``: Ho et al. 2020, 1e-4 .. 0.02 at 1000 steps and scaled so that other lengths end at the same noise.
    ``scaled_linear``: Rombach et al. 2022, linear between the roots of 0.00085 and 0.012.
    ``cosine``: Nichol & Dhariwal 2021, Eq. 17, betas capped at 0.999.
    """
    if name == "linear":
        if num_timesteps <= 20:
            raise ValueError(f"the linear schedule needs more than 20 timesteps, not {num_timesteps}")
        scale = 1000 / num_timesteps
        return torch.linspace(scale * 1e-4, scale * 0.02, num_timesteps, dtype=torch.float64)
    if name == "scaled_linear":
        return torch.linspace(0.00085**0.5, 0.012**0.5, num_timesteps, dtype=torch.float64) ** 2
    if name == "cosine":
        edge = torch.arange(num_timesteps + 1, dtype=torch.float64) / num_timesteps
        alphas_cumprod = torch.cos((edge + 0.008) / 1.008 * math.pi / 2) ** 2
        return (1 - alphas_cumprod[1:] / alphas_cumprod[:-1]).clamp(max=0.999)
    raise ValueError(f"unknown noise schedule {name!r}: use 'linear', 'scaled_linear' or 'cosine'")


def add_noise(x0: Tensor, noise: Tensor, alphas_cumprod: Tensor | float) -> Tensor:
    """Sample of q(x_t | x0), paper Eq. 1; a tensor of levels broadcasts against the images."""
    return alphas_cumprod**0.5 * x0 + (1 - alphas_cumprod) ** 0.5 * noise


def alphas_cumprod_at(alphas_cumprod: Tensor, timesteps: Tensor) -> Tensor:
    """``alphas_cumprod`` (T,) at ``timesteps`` (B,).

    Between two of the process ``sigma / alpha`` is on the line between theirs, as in ``Grid.between``.
    """
    if not timesteps.is_floating_point():
        return alphas_cumprod[timesteps]
    low = timesteps.long().clamp(max=len(alphas_cumprod) - 2)
    part = (timesteps - low).to(alphas_cumprod)
    ratios = ((1 - alphas_cumprod) / alphas_cumprod).sqrt()
    between = 1 / (1 + torch.lerp(ratios[low], ratios[low + 1], part) ** 2)
    return torch.where(part == 0, alphas_cumprod[low], between)


class Schedule(Protocol):
    """A process of ``num_timesteps`` timesteps, noisier the later."""

    @property
    def num_timesteps(self) -> int: ...

    def levels(self, timestep: float) -> tuple[float, float]:
        """Signal and noise level, (alpha, sigma), at a timestep, which may be fractional."""

    def grid(self, steps: int, spacing: str) -> Grid:
        """The levels of a sampler with so many steps."""


@dataclass(frozen=True, eq=False)
class VariancePreserving:
    """``alpha^2 + sigma^2 = 1`` (Ho et al. 2020), by its betas, (T,) float64."""

    betas: Tensor

    @property
    def num_timesteps(self) -> int:
        return len(self.betas)

    @cached_property
    def alphas_cumprod(self) -> Tensor:
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
    """Rectified flow (Liu et al. 2023): ``alpha = 1 - sigma``, and a timestep is ``sigma`` times their number."""

    # moves steps towards the noise, ``shift s / (1 + (shift - 1) s)`` (Esser et al. 2024, Eq. 23); 1: evenly
    shift: float = 1.0
    num_timesteps: int = 1000

    def levels(self, timestep: float) -> tuple[float, float]:
        sigma = timestep / self.num_timesteps
        return 1 - sigma, sigma

    def grid(self, steps: int, spacing: str) -> Grid:
        """Evenly from ``1 / steps`` to 1 before the shift; flows have this spacing alone."""
        even = ((number + 1) / steps for number in range(steps))
        return Grid.flow([self.shift * s / (1 + (self.shift - 1) * s) for s in even], self.num_timesteps)


def leading_timesteps(num_timesteps: int, count: int) -> tuple[int, ...]:
    """Multiples of ``num_timesteps // count``, the grid of DDIM and DDNM: 0, 10, .., 990 for 100 of 1000."""
    return tuple(i * (num_timesteps // count) for i in range(count))


def trailing_timesteps(num_timesteps: int, count: int) -> tuple[int, ...]:
    """Ends at the noisiest timestep (Lin et al. 2024, Table 2): 19, 39, .., 999 for 50 of 1000."""
    return tuple(sorted(round(num_timesteps * (1 - i / count)) - 1 for i in range(count)))


def even_timesteps(num_timesteps: int, count: int) -> tuple[float, ...]:
    """From the first to the last timestep at equal distances: 0, 111, .., 999 for 10 of 1000; not all are whole."""
    return tuple(i * (num_timesteps - 1) / (count - 1) for i in range(count))


def spaced_timesteps(num_timesteps: int, count: int) -> tuple[int, ...]:
    """The same, rounded half to even (guided-diffusion's ``"250"``)."""
    spacing = (num_timesteps - 1) / (count - 1) if count > 1 else 1.0
    return tuple(round(place) for place in accumulate([spacing] * (count - 1), initial=0.0))


SPACINGS: dict[str, Callable[[int, int], Sequence[float]]] = {
    "leading": leading_timesteps,
    "trailing": trailing_timesteps,
    "linspace": spaced_timesteps,
    "even": even_timesteps,
}


def resampling_plan(steps: int, jump: int = 1, repeat: int = 1) -> tuple[int, ...]:
    """Indices from ``steps - 1`` down to -1 with jumps back up (RePaint, Sec. 4.2; DDNM's time travel).

    From every multiple of ``jump`` below ``steps - jump`` the plan climbs ``jump`` indices and comes down again,
    ``repeat - 1`` times. Network calls are the falls of the plan: ``resampling_plan(100, 10, 10)`` has 910.
    """
    plan: list[int] = []
    for t in range(steps - 1, -1, -1):
        plan.append(t)
        if t % jump == 0 and t < steps - jump:
            plan += [*range(t + 1, t + jump + 1), *range(t + jump - 1, t - 1, -1)] * (repeat - 1)
    return (*plan, -1)


@dataclass(eq=False)
class TimestepPlan(Component):
    """The timesteps of a sampler and the order in which it visits them."""

    steps: Whole = 100  # how many timesteps
    spacing: Annotated[str, one_of(*SPACINGS)] = "leading"
    jump: Whole = 10  # resampling climbs so many of them ...
    repeat: Whole = 1  # ... so often; 1: no resampling

    def fingerprint(self) -> dict[str, Any]:
        found = super().fingerprint()
        return found if self.repeat > 1 else {key: value for key, value in found.items() if key != "jump"}

    def grid(self, schedule: Schedule) -> Grid:
        if self.steps > schedule.num_timesteps:
            raise BadValue(f"steps is {self.steps}; the model has only {schedule.num_timesteps} timesteps")
        return schedule.grid(self.steps, self.spacing)

    def plan(self, steps: int) -> tuple[int, ...]:
        """Indices of the grid from ``steps - 1`` down to -1, climbs included."""
        return resampling_plan(steps, self.jump, self.repeat)

    @property
    def name(self) -> str:
        """For folders: ``100x10`` are 100 steps, resampled ten times."""
        return f"{self.steps}x{self.repeat}"

    def __str__(self) -> str:
        """For people: ``100 steps, resampling (10, 10)``."""
        loops = f", resampling ({self.jump}, {self.repeat})" if self.repeat > 1 else ""
        return f"{self.steps} step{'s' * (self.steps > 1)}{loops}"
