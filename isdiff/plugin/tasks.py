"""A pipeline's pictures as tasks in its latent space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from isdiff.errors import UserError
from isdiff.plugin.autoencoder import encoded
from isdiff.plugin.pipelines import Kind
from isdiff.plugin.rows import pick
from isdiff.priors.latent import sure_cells
from isdiff.priors.latent_task import LatentTask


def pixels_of(kind: Kind, device: torch.device) -> tuple[Tensor, Tensor]:
    """Images (A, 3, H, W) float32 in [-1, 1] and holes (B, 1, H, W) bool, as the pipeline itself will see them.

    Raises:
        UserError: one of them is missing.
    """
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
    """Of whole images, which may be latents already, as diffusers allows here."""
    return images if images.shape[1] == vae.config.latent_channels else encoded(vae, images)


def tasks_of(
    kind: Kind, rows: int, device: torch.device, enough: int, truth: bool
) -> tuple[list[LatentTask], dict[str, int]]:
    """One task for each of ``rows`` images of a batch, shared where picture and mask are, and how many pictures, masks
    and latents were given.

    Args:
        enough: known cells that must remain for the cautious choice of what seeds are fitted to.
        truth: whether tasks must know the whole image.
    Raises:
        UserError: sizes or numbers that do not go together, or a mask that leaves nothing.
    """
    images, holes = pixels_of(kind, device)
    vae = kind.pipe.vae
    latents = known_latents(vae, images) if kind.plain else kind.given.get("masked_image_latents")
    counts = {"image": len(images), "mask_image": len(holes)}
    pairs = max(counts.values())
    if pairs % len(images) or pairs % len(holes) or rows % pairs:
        raise UserError(
            f"there are {len(images)} of image and {len(holes)} of mask_image for {rows} pictures; give one of each, "
            "or one for each prompt"
        )
    if latents is None:
        if images.shape[1] != 3:
            other = ", or masked_image_latents" if kind.takes_masked else ""
            raise UserError(f"the image has {images.shape[1]} channels; give pictures of 3{other}")
        whole = [pick(images, len(images), [i]) for i in range(pairs)]
        masked = [x.masked_fill(pick(holes, len(holes), [i]), 0.0) for i, x in enumerate(whole)]
        latents = encoded(vae, torch.cat(masked))
    counts["masked_image_latents"] = len(latents)
    if rows % len(latents):
        raise UserError(f"there are {len(latents)} masked_image_latents for {rows} pictures; give one for each")
    wholes = known_latents(vae, images) if truth else None
    factor, made = kind.pipe.vae_scale_factor, {}
    for key in [place_of(row, counts) for row in range(rows)]:
        if key in made:
            continue
        picture, mask, place = key
        hole = holes[mask]
        sure = sure_cells(hole[0].cpu().numpy(), factor, enough)
        if not sure.any():
            raise UserError("the mask_image hides everything (white is the hole); leave some pixels to fit a seed to")
        made[key] = LatentTask(
            f"{picture}", latents[place].to(device, torch.float32), hole[:, ::factor, ::factor],
            truth=None if wholes is None else wholes[picture],
            sure=torch.from_numpy(sure)[None].to(device), hidden=hole,
        )  # fmt: skip
    return [made[place_of(row, counts)] for row in range(rows)], counts | {"latents": len(latents)}


def place_of(row: int, counts: Mapping[str, int]) -> tuple[int, int, int]:
    return row % counts["image"], row % counts["mask_image"], row % counts["masked_image_latents"]


def stacked(tasks: Sequence[LatentTask]) -> Tensor:
    return torch.stack([task.image for task in tasks])
