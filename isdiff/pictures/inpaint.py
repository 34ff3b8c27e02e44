"""``isdiff.inpaint``: holes in anyone's pictures, from Python."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from isdiff.checks import check_flag, check_whole
from isdiff.config.build import build
from isdiff.config.composing import compose_run
from isdiff.data.images import decode, eight_bits, pixels_hash
from isdiff.errors import SomeFailed, UserError, summed_up
from isdiff.masks.base import MaskSource
from isdiff.masks.files import gray_values, hole_in
from isdiff.method import Method
from isdiff.models.base import Model
from isdiff.pictures.auto import inpainter_of
from isdiff.pictures.edges import FEATHER, PASTED, Edge, fading
from isdiff.pictures.files import read_picture
from isdiff.pictures.jobs import Job, WindowTrace
from isdiff.pictures.picture import TOPS, Picture, picture_of, values_of
from isdiff.pictures.shapes import reshape
from isdiff.process_state import with_own_defaults
from isdiff.progress import Reporter

DRAWN = ("half", "expand", "wide", "center")
ALPHA = "alpha"
NAMED = (*DRAWN, ALPHA)  # masks that need no file


@dataclass
class Inpainted:
    """What :func:`inpaint` gives: images, IS-Diff's seeds, and how each was filled.

    Attributes:
        images: in the order and of the kind that were given; files give Pillow images (of 16 bits a colour arrays,
            uint16), a batch (4 dimensions) a batch.
        seed_images: the same with IS-Diff's seed in the hole; None for methods without one.
        trace: for each image, how each of its windows was filled (nearly always one).
        methods: for each image, the method and the model that filled it.
    """

    images: Any = field(repr=False)
    seed_images: Any | None = field(repr=False)
    trace: list[list[WindowTrace]]
    methods: list[str] = field(default_factory=list)

    @property
    def image(self) -> Any:
        """The only image."""
        if len(self.images) != 1:
            raise UserError(f"there are {len(self.images)} images; take them from result.images")
        return self.images[0]


class PartlyFilled(SomeFailed):
    """Some pictures could not be filled.

    Attributes:
        finished: the results in the order of the images, None for those.
    """

    def __init__(self, message: str, finished: list[Any]) -> None:
        super().__init__(message)
        self.finished = finished


@with_own_defaults
def inpaint(
    image: Any,
    hole: Any = None,
    method: str | Method = "ddnm+isdiff",
    model: str | Model | None = None,
    *,
    seed: int = 0,
    prompt: str | Sequence[str] = "",
    negative_prompt: str = "",
    invert: bool = False,
    grow: int = 0,
    extend: str = "",
    soft: bool = False,
    feather: int = 0,
    edge: str = "paste",
    band: int = 8,
    match_color: bool = False,
    steps: int | None = None,
    size: int | None = None,
    ids: Sequence[str] | str | None = None,
    reduction: float = 4.0,
    context: float = 0.5,
    progress: bool = False,
    overrides: Sequence[str] = (),
) -> Inpainted:
    """Fill holes. Known pixels of every result are the input's, bit for bit; its size, dtype and device too.

    With ``extend`` the result is larger; ``feather`` and ``edge="feather"`` change known pixels near the hole.

    Args:
        image: a Pillow image, a numpy array (H, W[, C]), a torch tensor (C, H, W) or a file's path; a list of them, or
            a batch (N, H, W, C) or (N, C, H, W). uint8, uint16, or fractions from 0 to 1; 1, 3 or 4 channels. Files are
            turned as their EXIF data say, of several frames the first is taken; Pillow images are taken as their pixels
            lie. Palettes and single bits come back as RGB (RGBA) and gray.
        hole: of the same height and width: a Pillow image or file (white = hole), or an array of bools or of 0 and
            1 (or 255) (True = hole); one for all images or a list. Or ``half``, ``expand``, ``wide``, ``center`` or
            ``alpha`` (what is transparent). None with ``extend``: only the borders are filled.
        method, model, steps, size, reduction, context, overrides: see :class:`isdiff.pictures.jobs.Inpainter`. Method
            ``auto`` chooses for each picture: see :mod:`isdiff.pictures.auto`.
        seed: with what is known of the image it fixes all random numbers.
        prompt: for latent models; a list has one for each image.
        invert: the hole is what else would be known.
        grow, extend: the hole grows by so many pixels, and borders are added (``left=200,top=10%``): see
            :func:`isdiff.pictures.shapes.reshape`.
        soft: gray in the mask is strength: the pixel is known until so much noise is left (Levin & Fried 2023). Masks
            then are images, or arrays of 0..255 or of fractions 0..1. For methods on pixels with a model.
        feather: the hole gets a soft rim of so many pixels outside of it, of falling strength.
        edge, band, match_color: see :class:`isdiff.pictures.edges.Edge`.
        ids: names, from which the noise follows in the place of the image's content: a run's image id gives the run's
            result (but of latent models where the hole cuts through cells of latents, which are hole here).
        progress: whether to show a bar with the time left.
    Raises:
        PartlyFilled: some images could not be filled; it has the others.
    Warns:
        UserWarning: images are unlike those that the model was trained on, or results are of another mode.
    """
    check_flag("invert", invert)
    images, batch = unpack(image, "image")
    names = name_images(images, ids)
    pictures = [
        read_picture(Path(item), name).picture if isinstance(item, (str, os.PathLike)) else picture_of(item, name)
        for item, name in zip(images, names, strict=True)
    ]
    if hole is None and not extend:
        raise UserError("no hole is given; give a mask, or extend")
    holes, prompts = each(hole, len(images), "hole"), each(prompt, len(images), "prompt")
    if not all(isinstance(text, str) for text in prompts):
        raise UserError(f"prompt is {prompt!r:.60}; it must be a text, or a list with one for each image")
    keys = [None] * len(images) if ids is None else names
    jobs = []
    for n, (mask, key, text) in enumerate(zip(holes, keys, prompts, strict=True)):
        found = None if mask is None else hole_of(mask, pictures[n], invert, key, soft)
        pictures[n], found = reshape(pictures[n], found, grow, extend)
        jobs.append(job_of(pictures[n], found, seed, key, text, feather, Edge(edge, band, match_color)))
    inpainter = inpainter_of(
        method, model, prompt=prompt if isinstance(prompt, str) else "caption", negative_prompt=negative_prompt,
        steps=steps, size=size, reduction=reduction, context=context, overrides=overrides,
    )  # fmt: skip
    if unlike := [job.name for job in jobs if inpainter.unlike(job)]:
        warnings.warn(inpainter.unlike_said(unlike), stacklevel=3)
    if changed := {picture.name: f"the result has not its {picture.lost}" for picture in pictures if picture.lost}:
        warnings.warn("; ".join(summed_up(changed)), stacklevel=3)
    made: list[Any] = [None] * len(jobs)
    seeds: list[Any] = [None] * len(jobs)
    trace: list[list[WindowTrace]] = [[]] * len(jobs)
    failed: dict[str, str] = {}
    with Reporter(f"{inpainter.label}, {inpainter.model}", len(jobs)) if progress else nullcontext() as bar:
        heard: dict[str, Any] = {"progress": bar.work, "expected": bar.expect} if bar else {}
        for filled in inpainter.stream(jobs, seeds=True, **heard):
            n, job = jobs.index(filled.job), filled.job
            if bar:
                bar.finish(sum(part.network_calls for part in filled.trace))
            if filled.failure:
                failed[job.name] = filled.failure
                continue
            made[n], trace[n] = filled.into(pictures[n]), filled.trace
            if filled.seed_values is not None:
                seeds[n] = filled.into(pictures[n], filled.seed_values)
    methods = [inpainter.name_of(job) for job in jobs]
    if failed:
        raise PartlyFilled("; ".join(summed_up(failed)), made)
    return Inpainted(pack(made, batch), None if seeds[0] is None else pack(seeds, batch), trace, methods)


def job_of(
    picture: Picture, mask: np.ndarray, seed: int = 0, key: str | None = None, prompt: str = "", feather: int = 0,
    edge: Edge = PASTED,
) -> Job:  # fmt: skip
    """Ask for a hole in a picture to be filled.

    Args:
        mask: (H, W) bool, or float32 of a soft one, 0..1.
        feather: pixels of a soft rim.
    """
    check_whole("feather", feather, low=0)
    strength = None if mask.dtype == bool and not feather else mask.astype(np.float32)
    if strength is not None and feather:
        strength = np.maximum(strength, fading(strength >= 1, feather))
    hole, opacity = mask > 0 if strength is None else strength > 0, None
    if edge.kind == FEATHER:
        core, opacity = hole, fading(hole, edge.band)
        hole = opacity > 0
        strength = None if strength is None else np.where(core, strength, hole).astype(np.float32)
    hidden = hole if strength is None else strength >= 1
    return Job(picture.name, picture.rgb(hidden), hole, seed, key, prompt, strength, edge, opacity)


def unpack(given: Any, what: str) -> tuple[list[Any], type | None]:
    """The items of a list or a batch, and the batch's type."""
    batch = isinstance(given, (np.ndarray, torch.Tensor)) and given.ndim == 4
    found = list(given) if batch or isinstance(given, (list, tuple)) else [given]
    if not found:
        raise UserError(f"no {what} is given")
    return found, type(given) if batch else None


def pack(items: list[Any], batch: type | None) -> Any:
    """The items, as a batch of that type where one was given."""
    if batch is None:
        return items
    return torch.stack(items) if issubclass(batch, torch.Tensor) else np.stack(items)


def name_images(images: list[Any], ids: Sequence[str] | str | None) -> list[str]:
    """A name for each image."""
    if ids is None:
        return [f"image {i}" if len(images) > 1 else "image" for i in range(len(images))]
    found: list[Any] = list(ids) if isinstance(ids, (list, tuple)) else [ids]
    if len(found) != len(images) or not all(isinstance(name, str) and name for name in found):
        raise UserError(f"ids is {ids!r}; it must have a text for each of {len(images)} images")
    return found


def each(given: Any, count: int, what: str) -> list[Any]:
    """Give one for each image, of one for all or as many."""
    items, _ = unpack(given, what)
    items = items * count if len(items) == 1 else items
    if len(items) != count:
        raise UserError(f"there are {len(items)} {what}s for {count} images; give one for all, or one for each")
    return items


def hole_of(
    hole: Any, picture: Picture, invert: bool = False, key: str | None = None, soft: bool = False
) -> np.ndarray:
    """Take the hole (H, W) bool of a picture, as :func:`inpaint` takes holes; float32 from 0 to 1 of a soft mask."""
    if isinstance(hole, (str, Path)) and str(hole) in NAMED:
        return named_hole(str(hole), picture, key) ^ invert
    name = f"the mask of {picture.name}"
    if isinstance(hole, (str, os.PathLike)):
        name = f"mask {hole}"
        hole = decode(os.fspath(hole), "mask")
    if soft:
        found = soft_mask(hole, name, invert)
    else:
        found = hole_in(hole, name) if isinstance(hole, Image.Image) else array_hole(hole, name)
    if found.shape != picture.shape:
        sizes = [f"{width}x{height}" for height, width in (found.shape, picture.shape)]
        turned = " (files are turned as their EXIF data say)" if found.shape == picture.shape[::-1] else ""
        raise UserError(f"{name} is {sizes[0]}, but {picture.name} is {sizes[1]}{turned}; make them the same size")
    return found if soft else found ^ invert


def soft_mask(mask: Any, name: str, invert: bool = False) -> np.ndarray:
    """Take an image, or an array of 0..255 or of fractions 0..1, as strengths (H, W) float32 from 0 to 1."""
    if isinstance(mask, Image.Image):
        mask = gray_values(eight_bits(mask))
    found = np.squeeze(values_of(mask, name) if isinstance(mask, torch.Tensor) else np.asarray(mask))
    top = TOPS.get(str(found.dtype), 1)
    if found.ndim != 2 or found.dtype.kind not in "bfu" or not ((found >= 0) & (found <= top)).all():
        raise UserError(f"{name} is no soft mask; it must be an image, or an array (H, W) of uint8 or fractions 0..1")
    return ((top - found if invert else found) / top).astype(np.float32)


def named_hole(name: str, picture: Picture, key: str | None = None) -> np.ndarray:
    """Draw one of :data:`DRAWN`, or find what is transparent."""
    if name == ALPHA:
        opacity = picture.opacity()
        if opacity is None:
            raise UserError(f"{picture.name} has no transparency to take the hole from; give a mask")
        return opacity < 128
    source = build(compose_run([f"mask={name}"]).mask, MaskSource)
    return source.hole(key or pixels_hash(picture.rgb()), *picture.shape)


def array_hole(hole: Any, name: str) -> np.ndarray:
    """Take an array (H, W), (1, H, W) or (H, W, 1) of bools, or of 0 and 1 or 255, as a hole."""
    found = values_of(hole, name) if isinstance(hole, torch.Tensor) else hole
    if isinstance(found, np.ndarray):
        found = np.asarray(found)  # a matrix, say, has rules of its own
        if found.ndim == 3 and 1 in (found.shape[0], found.shape[2]):
            found = found[0] if found.shape[0] == 1 else found[..., 0]
        if found.ndim == 2 and any(np.isin(found, (0, top)).all() for top in (1, 255)):
            return found.astype(bool)
    what = f"an array {hole.shape}" if isinstance(hole, (np.ndarray, torch.Tensor)) else f"{hole!r:.60}"
    form = "a Pillow image, a path, or an array (H, W) of bools, or of 0 and 1 (or 255)"
    raise UserError(f"{name} is {what}; it must be {form}, or one of {', '.join(NAMED)}")
