"""What a pipeline is given: its pictures as tasks in its latent space, and its batch row by row."""

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from isdiff.checks import check_choice, check_whole
from isdiff.errors import UserError
from isdiff.plugin.pipelines import Kind
from isdiff.priors.base import LatentTask
from isdiff.priors.latent import sure_cells

TEXTS = tuple(f"{sign}prompt{which}" for sign in ("", "negative_") for which in ("", "_2", "_3"))
EMBEDDED = tuple(
    f"{sign}{kind}"
    for sign in ("", "negative_")
    for kind in ("prompt_embeds", "pooled_prompt_embeds", "prompt_embeds_mask", "prompt_attention_mask")
)


def pixels_of(kind: Kind, device: torch.device) -> tuple[Tensor, Tensor]:
    """Images (A, 3, H, W) float32 in [-1, 1] and holes (B, 1, H, W) bool, as the pipeline itself will see them."""
    pipe, given = kind.pipe, kind.given
    if given.get("image") is None or given.get("mask_image") is None:
        raise UserError("the pipeline was given no image or no mask_image; give both")
    height, width = kind.sides()
    how: dict[str, Any] = {"height": height, "width": width}
    if (margin := given.get("padding_mask_crop")) is not None:
        check_whole("padding_mask_crop", margin, low=0)
        if not all(isinstance(given[key], Image.Image) for key in ("image", "mask_image")):
            raise UserError("padding_mask_crop needs one Pillow image and one Pillow mask_image, no lists or arrays")
        check_choice("output_type", given["output_type"], ["pil"], "with padding_mask_crop it must be")
        region = pipe.mask_processor.get_crop_region(given["mask_image"], width, height, pad=margin)
        how |= {"crops_coords": region, "resize_mode": "fill"}
    images = pipe.image_processor.preprocess(given["image"], **how).to(device, torch.float32)
    return images, pipe.mask_processor.preprocess(given["mask_image"], **how).to(device) >= 0.5


def masked_latents(kind: Kind, images: Tensor, holes: Tensor) -> Tensor:
    """Latents of what is known: those that were given, or of the images with grey holes."""
    if (given := kind.given.get("masked_image_latents")) is not None:
        return given
    if images.shape[1] != 3:
        other = ", or masked_image_latents" if kind.takes_masked else ""
        raise UserError(f"the image has {images.shape[1]} channels; give pictures of 3{other}")
    count = max(len(images), len(holes))
    images, holes = (x.repeat(count // len(x), 1, 1, 1) for x in (images, holes))
    return kind.autoencoder.encode(images.masked_fill(holes, 0.0))


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
    wholes = None
    if truth or kind.plain:  # pictures may be latents already, as diffusers allows
        wholes = kind.autoencoder.encode(images) if images.shape[1] == 3 else images
    latents = masked_latents(kind, images, holes) if wholes is None or not kind.plain else wholes
    counts["masked_image_latents"] = len(latents)
    if rows % len(latents):
        raise UserError(f"there are {len(latents)} masked_image_latents for {rows} pictures; give one for each")
    factor, made = kind.autoencoder.factor, dict[tuple[int, ...], LatentTask]()
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
    return torch.stack([task.image for task in tasks])


def named_arguments(stock: Callable, pipe: Any, args: tuple, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """What a pipeline was called with, by name, defaults included."""
    bound = inspect.signature(stock).bind(pipe, *args, **kwargs)
    bound.apply_defaults()
    del bound.arguments[next(iter(bound.arguments))]  # self
    return {**bound.arguments, **bound.arguments.pop("kwargs", {})}


def prompts(given: Mapping[str, Any]) -> int:
    prompt, embedded = given.get("prompt"), given.get("prompt_embeds")
    if embedded is None and (prompt is None or (isinstance(prompt, list) and not prompt)):
        raise UserError("the pipeline was given no prompt; give prompt (it may be empty) or prompt_embeds")
    return 1 if isinstance(prompt, str) else len(prompt or embedded)  # type: ignore[arg-type]


def texts_of(given: Mapping[str, Any], rows: Sequence[int]) -> dict[str, Any]:
    """What is said about these rows, one entry each; as in diffusers, the images of a prompt lie together."""
    own = [row // given["num_images_per_prompt"] for row in rows]
    chosen: dict[str, Any] = {}
    for key in TEXTS:
        if (value := given.get(key)) is not None:
            chosen[key] = [value if isinstance(value, str) else value[place] for place in own]
    embedded = {key: value for key in EMBEDDED if (value := given.get(key)) is not None}
    return chosen | {key: [v[i] for i in own] if isinstance(v, list) else v[own] for key, v in embedded.items()}


def pick(value: Any, count: int, rows: Sequence[int]) -> Any:
    """Those of these rows, of ``count`` pictures, masks or latents in any form that diffusers takes.

    As in diffusers, fewer than there are rows are repeated as a whole. A single one stands for all.
    """
    if value is None or count == 1:
        return value
    if isinstance(value, (list, tuple)) and len(value) != count:  # of batches
        value = torch.cat(list(value)) if isinstance(value[0], Tensor) else np.concatenate(list(value))
    chosen = [row % count for row in rows]
    return [value[i] for i in chosen] if isinstance(value, (list, tuple)) else value[chosen]


def merge(parts: Mapping[int, tuple[Any, int]], return_dict: bool) -> Any:
    """One output of a pipeline from, for each row, an output and the place in it."""
    outputs = [parts[row] for row in sorted(parts)]
    kind = type(outputs[0][0])
    fields = {}
    for name in (field.name for field in dataclasses.fields(kind)):
        values = [(getattr(output, name), place) for output, place in outputs]
        fields[name] = None if values[0][0] is None else join([value[place] for value, place in values])
    return kind(**fields) if return_dict else tuple(fields.values())


def join(values: list[Any]) -> Any:
    if isinstance(values[0], Tensor):
        return torch.stack(values)
    return np.stack(values) if isinstance(values[0], np.ndarray) else values
