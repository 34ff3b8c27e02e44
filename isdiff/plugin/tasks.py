"""A pipeline's pictures as tasks in its latent space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from isdiff.errors import UserError
from isdiff.plugin.pipelines import Kind
from isdiff.priors.autoencoder import encode
from isdiff.priors.latent import sure_cells
from isdiff.priors.latent_task import LatentTask


def pixels_of(kind: Kind, device: torch.device) -> tuple[Tensor, Tensor]:
    """Images (A, 3, H, W) float32 in [-1, 1] and holes (B, 1, H, W) bool, as the pipeline itself will see them."""
    pipe, given = kind.pipe, kind.given
    if given.get("image") is None or given.get("mask_image") is None:
        raise UserError("the pipeline was given no image or no mask_image; give both")
    height, width = kind.sides()
    how: dict[str, Any] = {"height": height, "width": width}
    if (margin := given.get("padding_mask_crop")) is not None:
        if not all(isinstance(given[key], Image.Image) for key in ("image", "mask_image")):
            raise UserError("padding_mask_crop needs one Pillow image and one Pillow mask_image, no lists or arrays")
        region = pipe.mask_processor.get_crop_region(given["mask_image"], width, height, pad=margin)
        how |= {"crops_coords": region, "resize_mode": "fill"}
    images = pipe.image_processor.preprocess(given["image"], **how).to(device, torch.float32)
    return images, pipe.mask_processor.preprocess(given["mask_image"], **how).to(device) >= 0.5


def known_latents(vae: Any, images: Tensor) -> Tensor:
    """Latents of whole images, which may be latents already, as diffusers allows here."""
    return images if images.shape[1] == vae.config.latent_channels else encode(vae, images)


def masked_latents(kind: Kind, images: Tensor, holes: Tensor) -> Tensor:
    """Latents of what is known: those that were given, or of the images with grey holes."""
    if (given := kind.given.get("masked_image_latents")) is not None:
        return given
    if images.shape[1] != 3:
        other = ", or masked_image_latents" if kind.takes_masked else ""
        raise UserError(f"the image has {images.shape[1]} channels; give pictures of 3{other}")
    count = max(len(images), len(holes))
    images, holes = (x.repeat(count // len(x), 1, 1, 1) for x in (images, holes))
    return encode(kind.pipe.vae, images.masked_fill(holes, 0.0))


def tasks_of(
    kind: Kind, rows: int, device: torch.device, enough: int, truth: bool
) -> tuple[list[LatentTask], dict[str, int]]:
    """One task for each of ``rows`` images of a batch, shared where picture and mask are.

    Returns also how many pictures, masks and masked latents were given.

    Args:
        enough: known cells that must remain for the cautious choice of what seeds are fitted to.
        truth: whether tasks must know the whole image.
    """
    images, holes = pixels_of(kind, device)
    counts = {"image": len(images), "mask_image": len(holes)}
    pairs = max(counts.values())
    if pairs % len(images) or pairs % len(holes) or rows % pairs:
        raise UserError(
            f"there are {len(images)} of image and {len(holes)} of mask_image for {rows} pictures; give one of each, "
            "or one for each prompt"
        )
    wholes = known_latents(kind.pipe.vae, images) if truth or kind.plain else None
    latents = masked_latents(kind, images, holes) if wholes is None or not kind.plain else wholes
    counts["masked_image_latents"] = len(latents)
    if rows % len(latents):
        raise UserError(f"there are {len(latents)} masked_image_latents for {rows} pictures; give one for each")
    factor, made = kind.pipe.vae_scale_factor, dict[tuple[int, ...], LatentTask]()
    places = [tuple(row % count for count in counts.values()) for row in range(rows)]
    for picture, mask, place in dict.fromkeys(places):
        hole = holes[mask]
        sure = sure_cells(hole[0].cpu().numpy(), factor, enough)
        if not sure.any():
            raise UserError("the mask_image hides everything (white is the hole); leave some pixels to fit a seed to")
        made[picture, mask, place] = LatentTask(
            f"{picture}", latents[place].to(device, torch.float32), hole[:, ::factor, ::factor],
            truth=wholes[picture] if truth and wholes is not None else None,
            sure=torch.from_numpy(sure)[None].to(device), hidden=hole,
        )  # fmt: skip
    return [made[place] for place in places], counts


def stack_latents(tasks: Sequence[LatentTask]) -> Tensor:
    """The latents of what is known, (B, C, h, w)."""
    return torch.stack([task.image for task in tasks])
