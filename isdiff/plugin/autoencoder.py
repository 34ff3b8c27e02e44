"""A pipeline's autoencoder: pictures as the latents that its network has, and latents as pictures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


@contextmanager
def wide_enough(vae: Any) -> Iterator[Any]:
    """The autoencoder; one in float16 whose configuration says that it overflows is in float32 meanwhile."""
    moved = vae.dtype == torch.float16 and vae.config.get("force_upcast", False)
    if moved:
        vae.to(torch.float32)
    try:
        yield vae
    finally:
        if moved:
            vae.to(torch.float16)


def scale_of(vae: Any, like: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of what the autoencoder gives; the network's latents have about 0 and 1."""
    mean, std = (vae.config.get(key) for key in ("latents_mean", "latents_std"))
    values = (mean, std) if mean is not None and std is not None else ([shift_of(vae)], [1.0])
    mean, std = (torch.tensor(v).view(-1, 1, 1).to(like) for v in values)
    return mean, std / vae.config.scaling_factor


def shift_of(vae: Any) -> float:
    return vae.config.get("shift_factor") or 0.0


def means(vae: Any, images: Tensor) -> Tensor:
    """(B, C, h, w), the posteriors' means, of (B, 3, H, W) in [-1, 1]; one by one, so that none depends on others."""
    with wide_enough(vae):
        return torch.cat([vae.encode(image[None].to(vae.dtype)).latent_dist.mean for image in images])


def encoded(vae: Any, images: Tensor) -> Tensor:
    """(B, C, h, w) float32, the network's latents, of (B, 3, H, W) in [-1, 1]."""
    latents = means(vae, images).float() - shift_of(vae)
    return latents * vae.config.scaling_factor  # as the pipelines encode, who know no ``latents_mean`` here


def decoded(vae: Any, latents: Tensor) -> Tensor:
    """(B, 3, H, W) float32 in [-1, 1]."""
    mean, std = scale_of(vae, latents)
    with wide_enough(vae):
        pictures = vae.decode((latents * std + mean).to(vae.dtype), return_dict=False)[0]
    return pictures.float().clamp(-1, 1)
