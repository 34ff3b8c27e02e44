"""An autoencoder of diffusers: pictures as the latents that its network has, and latents as pictures."""

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


def means(vae: Any, images: Tensor) -> Tensor:
    """(B, C, h, w), the posteriors' means, of (B, 3, H, W) in [-1, 1]; one by one, so that none depends on others."""
    with wide_enough(vae):
        return torch.cat([vae.encode(image[None].to(vae.dtype)).latent_dist.mean for image in images])


def encode(vae: Any, images: Tensor) -> Tensor:
    """(B, C, h, w) float32, the network's latents, of (B, 3, H, W) in [-1, 1].

    As diffusers' inpainting pipelines encode: without ``latents_mean``, which only their decoding heeds.
    """
    return (means(vae, images).float() - (vae.config.get("shift_factor") or 0.0)) * vae.config.scaling_factor


def decode(vae: Any, latents: Tensor) -> Tensor:
    """(B, 3, H, W) float32 in [-1, 1], of the network's latents."""
    latents = latents / vae.config.scaling_factor
    scales = (vae.config.get("latents_mean"), vae.config.get("latents_std"))
    if None in scales:
        latents = latents + (vae.config.get("shift_factor") or 0.0)
    else:
        mean, std = (torch.tensor(values).view(-1, 1, 1).to(latents) for values in scales)
        latents = latents * std + mean
    with wide_enough(vae):
        return vae.decode(latents.to(vae.dtype), return_dict=False)[0].float().clamp(-1, 1)
