"""The forward process ``x_t = sqrt(abar_t) x0 + sqrt(1 - abar_t) noise`` (paper Eq. 1) and its inverses.

Tables are float64 on the CPU; a level ``abar`` handed to these functions is a tensor that broadcasts against the
images, so every image of a batch may sit at its own timestep, or a plain number for a single image.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


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
    """Sample of q(x_t | x0), Eq. 1 (and Eq. 7 for a composed seed)."""
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
