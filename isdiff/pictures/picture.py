"""Pictures as callers have them (Pillow images, numpy arrays, torch tensors), as a model sees them, and back.

A hole is filled in a copy of the same kind, size and dtype. What is outside of the hole is the caller's, to the bit;
what was transparent in the hole becomes opaque.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from isdiff.data.images import over_white, scale_to_eight
from isdiff.errors import UserError

FORMS = (
    "a Pillow image, a numpy array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), "
    "or a torch tensor (1, H, W), (3, H, W) or (4, H, W)"
)
TOPS = {"uint8": 255, "uint16": 65535}  # of whole numbers; fractions go from 0 to 1
LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)  # as Pillow's mode L
MODES = ("L", "LA", "RGB", "RGBA", "I;16", "I;16L", "I;16B")  # of Pillow images that are filled as they are
SHOWN_AS = {"1": "L", "P": "RGB"}  # of others: what they become


@dataclass(eq=False)
class Picture:
    """One picture.

    Attributes:
        name: for messages.
        samples: (H, W, C); gray or RGB, the last of 2 or 4 channels is opacity; uint8, uint16, or fractions in 0..1.
        back: makes what the caller gave of such samples.
        lost: what the result has not that was given, in words.
    """

    name: str
    samples: np.ndarray
    back: Callable[[np.ndarray], Any]
    lost: str = ""

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        height, width = self.samples.shape[:2]
        return height, width

    @property
    def top(self) -> int:
        """The value of white."""
        return TOPS.get(str(self.samples.dtype), 1)

    @property
    def has_opacity(self) -> bool:
        return self.samples.shape[2] in (2, 4)

    def rgb(self, hole: np.ndarray | None = None) -> np.ndarray:
        """Show it as (H, W, 3) uint8, transparency over white.

        Args:
            hole: (H, W) bool, where values may be out of range: they are not used.
        """
        array = self.samples
        if array.dtype == np.uint16:
            array = scale_to_eight(array)
        elif array.dtype != np.uint8:
            known = array if hole is None else array[~hole]
            if not (known.min(initial=0) >= 0 and known.max(initial=0) <= 1):  # so written that NaN is refused
                raise UserError(
                    f"{self.name} has values from {known.min():g} to {known.max():g}; fractions must be from 0 to 1 "
                    "(x / 2 + 0.5 makes them so from -1 to 1)"
                )
            array = np.rint(np.nan_to_num(array.astype(np.float32), nan=0.0).clip(0, 1) * 255).astype(np.uint8)
        return np.asarray(over_white(to_pillow(array)))

    def opacity(self) -> np.ndarray | None:
        """Give (H, W) in 0..255; None for pictures without transparency."""
        return self.samples[..., -1] * (255 / self.top) if self.has_opacity else None

    def filled(self, values: np.ndarray, hole: np.ndarray, opacity: np.ndarray | None = None) -> Any:
        """Copy it with ``values`` (H, W, 3), 0..255, in the hole (H, W) bool; gray where all that is known is.

        Args:
            opacity: (H, W), how much of the values shows, 0..1; default: all.
        """
        red, green, blue = np.moveaxis(self.rgb(hole), -1, 0)
        gray = self.samples.shape[2] < 3 or not ((red != green) | (green != blue))[~hole].any()
        new = values[hole]
        if gray:
            new = (new @ LUMINANCE)[:, None].repeat(1 if self.samples.shape[2] < 3 else 3, 1)
        if self.has_opacity:
            new = np.concatenate([new, np.full((len(new), 1), 255, new.dtype)], 1)
        new = new * np.float32(self.top / 255)
        samples = self.samples.copy()
        if opacity is not None:
            share, old = opacity[hole][:, None], samples[hole].astype(np.float32)
            new = np.where(share < 1, old + share * (new - old), new)
        samples[hole] = np.rint(new) if self.top > 1 else new
        return self.back(samples)


def to_pillow(samples: np.ndarray) -> Image.Image:
    """Make an image of (H, W, C), of uint8 or uint16 gray."""
    return Image.fromarray(samples[..., 0] if samples.shape[2] == 1 else samples)


def picture_of(image: Any, name: str = "image") -> Picture:
    """Take something of :data:`FORMS` as a picture."""
    if isinstance(image, Image.Image):
        return pillow_picture(image, name)
    if isinstance(image, torch.Tensor):
        array, dtype, device = values_of(image, name), image.dtype, image.device
        check_samples(array.shape[1:] + array.shape[:1], array, name)
        back = lambda samples: torch.from_numpy(samples.transpose(2, 0, 1).copy()).to(device, dtype)  # noqa: E731
        return Picture(name, array.transpose(1, 2, 0), back)
    if not isinstance(image, np.ndarray):
        raise UserError(f"{name} is of type {type(image).__name__}; it must be {FORMS}")
    array = np.asarray(image)  # subclasses, such as matrices, have rules of their own
    check_samples(array.shape if array.ndim != 2 else (*array.shape, 1), array, name)
    flat = array.ndim == 2
    return Picture(name, array[..., None] if flat else array, lambda samples: samples[..., 0] if flat else samples)


def pillow_picture(image: Image.Image, name: str) -> Picture:
    """Take an image as its pixels lie: files are turned where they are read."""
    mode, clear = image.mode, image.has_transparency_data
    becomes = SHOWN_AS.get(mode, mode)
    if clear and becomes in ("L", "RGB"):
        becomes += "A"
    if 0 in image.size or becomes not in MODES or (clear and mode.startswith("I")):
        raise UserError(f"{name} is {image.width}x{image.height} of mode {mode}; convert it to RGB or RGBA")
    array = np.asarray(image if mode == becomes else image.convert(becomes))
    if mode.startswith("I"):
        array = array.astype(np.uint16)  # in the order of bytes of this machine

    def back(samples: np.ndarray) -> Image.Image:
        made = to_pillow(samples)
        made.info = {key: value for key, value in image.info.items() if key != "transparency"}
        return made

    lost = f"mode {mode} (it is {becomes})" if mode != becomes else ""
    return Picture(name, array if array.ndim == 3 else array[..., None], back, lost)


def values_of(tensor: torch.Tensor, name: str) -> np.ndarray:
    """The values of a tensor, of whatever dtype and device; fractions of 16 bits that numpy lacks become float32."""
    try:
        return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).detach().cpu().numpy()
    except (RuntimeError, TypeError) as error:
        raise UserError(f"{name} is no dense tensor with values ({' '.join(str(error).split())})") from None


def check_samples(shape: tuple[int, ...], array: np.ndarray, name: str) -> None:
    """Refuse other shapes than (H, W, C), as which ``array`` is to be taken, and other numbers."""
    if len(shape) != 3 or shape[2] not in (1, 3, 4) or 0 in shape:
        raise UserError(f"{name} has the shape {array.shape}; it must be {FORMS}")
    if str(array.dtype) not in TOPS and array.dtype.kind != "f":
        raise UserError(f"{name} is of dtype {array.dtype}; it must be uint8 or uint16, or fractions from 0 to 1")
