"""Pictures as callers have them (Pillow images, numpy arrays, torch tensors), as a model sees them, and back.

What holds for all of them: a hole is filled in a copy of the same kind, size, mode or dtype; what is outside of the
hole is the caller's, to the bit; what was transparent in the hole becomes opaque.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from PIL import Image

from isdiff.data.images import eight_bits, has_transparency, over_white
from isdiff.errors import UserError

FORMS = (
    "a Pillow image, a numpy array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), "
    "or a torch tensor (1, H, W), (3, H, W) or (4, H, W)"
)
TOPS = {"uint8": 255, "uint16": 65535}  # of whole numbers; fractions go from 0 to 1
LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)  # as Pillow's mode L


class Picture(ABC):
    """One picture; ``name`` is for messages."""

    name: str

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int]:
        """Height and width."""

    @abstractmethod
    def rgb(self, hole: np.ndarray | None = None) -> np.ndarray:
        """(H, W, 3) uint8, transparency over white.

        Args:
            hole: (H, W) bool, where values may be out of range: they are not used.
        Raises:
            UserError: values out of their range.
        """

    @abstractmethod
    def opacity(self) -> np.ndarray | None:
        """(H, W) in 0..255; None for pictures without transparency."""

    def filled(self, values: np.ndarray, hole: np.ndarray) -> Any:
        """A copy with ``values`` (H, W, 3), 0..255, in the hole (H, W) bool; gray where all that is known is."""
        red, green, blue = np.moveaxis(self.rgb(hole), -1, 0)
        if not ((red != green) | (green != blue))[~hole].any():
            values = (values @ LUMINANCE)[..., None].repeat(3, 2)
        return self.with_values(values, hole)

    @abstractmethod
    def with_values(self, values: np.ndarray, hole: np.ndarray) -> Any:
        """A copy with ``values`` (H, W, 3), 0..255, in the hole (H, W) bool."""


def picture_of(image: Any, name: str = "image") -> Picture:
    """
    Raises:
        UserError: something else than :data:`FORMS`, or of another range.
    """
    if isinstance(image, Image.Image):
        return PillowPicture(image, name)
    if isinstance(image, torch.Tensor):
        return ArrayPicture(dense(image, name), name)
    if isinstance(image, np.ndarray):
        return ArrayPicture(np.asarray(image), name)  # subclasses, such as matrices, have rules of their own
    raise UserError(f"{name} is of type {type(image).__name__}; it must be {FORMS}")


def dense(tensor: torch.Tensor, name: str) -> torch.Tensor:
    """The tensor.

    Raises:
        UserError: numpy cannot have its values.
    """
    odd = {
        "nested": tensor.is_nested, "meta": tensor.is_meta, "quantized": tensor.is_quantized,
        "sparse": not tensor.is_nested and tensor.layout != torch.strided,
    }  # fmt: skip
    if kind := next((kind for kind, so in odd.items() if so), None):
        raise UserError(f"{name} is a {kind} tensor; give a dense one that has its values")
    return tensor


class PillowPicture(Picture):
    """A Pillow image of nearly any mode, as its pixels lie: files are turned where they are read."""

    PASTED = ("L", "LA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV")
    NUMBERS = ("I;16", "I;16L", "I;16B", "I", "F")

    def __init__(self, image: Image.Image, name: str = "image") -> None:
        self.image, self.name = image, name
        if image.mode not in (*self.PASTED, *self.NUMBERS, "1", "P") or 0 in image.size:
            raise UserError(f"{name} is {image.width}x{image.height} of mode {image.mode}; convert it to RGB or RGBA")

    @property
    def shape(self) -> tuple[int, int]:
        return self.image.height, self.image.width

    def rgb(self, hole: np.ndarray | None = None) -> np.ndarray:
        image = self.image
        if hole is not None and image.mode in self.NUMBERS:  # whose range is looked at: not that of what is hidden
            image = with_numbers(image, np.where(hole, 0, np.asarray(image)))
        try:
            return np.asarray(over_white(eight_bits(image)))
        except (ValueError, OSError) as error:
            raise UserError(f"{self.name} cannot be used: {error}") from None

    def opacity(self) -> np.ndarray | None:
        eight = eight_bits(self.image)
        return np.asarray(eight.convert("RGBA").getchannel("A")) if has_transparency(eight) else None

    def with_values(self, values: np.ndarray, hole: np.ndarray) -> Image.Image:
        mode, image = self.image.mode, self.image.copy()
        eight = Image.fromarray(np.rint(values).astype(np.uint8))
        if mode in self.PASTED:
            image.paste(eight.convert(mode), mask=Image.fromarray(hole.astype(np.uint8) * 255))
            return image
        if mode == "1":
            white = Image.fromarray(values @ LUMINANCE >= 127.5)
            image.paste(white, mask=Image.fromarray(hole))
            return image
        if mode == "P":
            numbers = np.array(image)
            numbers[hole] = nearest_colours(image, np.asarray(eight)[hole])
            image.paste(Image.fromarray(numbers))  # of mode L: the numbers themselves
            return image
        numbers = np.array(image)
        gray = (values @ LUMINANCE)[hole]
        if mode == "F":
            numbers[hole] = gray if numbers[~hole].max(initial=0) > 1 else gray / 255
        else:
            numbers[hole] = np.rint(gray * 257)
        return with_numbers(image, numbers)


def with_numbers(image: Image.Image, numbers: np.ndarray) -> Image.Image:
    """``image`` with these values, (H, W), of its own type."""
    made = Image.fromarray(numbers.astype(np.asarray(image).dtype))
    made.info = dict(image.info)
    return made


def nearest_colours(image: Image.Image, colours: np.ndarray) -> np.ndarray:
    """Numbers in the palette of a picture of mode P that are opaque and closest to ``colours`` (N, 3) uint8."""
    palette = np.asarray(image.getpalette("RGBA")).reshape(-1, 4).astype(np.int32)
    clear = image.info.get("transparency")
    opacity = palette[:, 3].copy()
    if isinstance(clear, int) and clear < len(opacity):
        opacity[clear] = 0
    elif isinstance(clear, bytes):
        opacity[: len(clear)] = list(clear[: len(opacity)])
    usable = np.flatnonzero(opacity == opacity.max())
    distinct, place = np.unique(colours, axis=0, return_inverse=True)
    nearest = [usable[((palette[usable, :3] - colour) ** 2).sum(1).argmin()] for colour in distinct.astype(np.int32)]
    return np.array(nearest, np.uint8)[place.reshape(-1)]


class ArrayPicture(Picture):
    """A numpy array, channels last, or a torch tensor, channels first: uint8, uint16, or fractions in 0..1."""

    def __init__(self, array: Any, name: str = "image") -> None:
        self.array, self.name, self.is_tensor = array, name, isinstance(array, torch.Tensor)
        self.dtype = str(array.dtype).removeprefix("torch.")
        shape = tuple(array.shape)
        channels = shape[0] if self.is_tensor and shape else shape[2] if len(shape) == 3 else 1
        if len(shape) != 3 and (self.is_tensor or len(shape) != 2):
            raise UserError(f"{name} has the shape {shape}; it must be {FORMS}")
        if channels not in (1, 3, 4) or 0 in shape:
            raise UserError(f"{name} has the shape {shape}; it must be {FORMS}")
        if self.dtype not in TOPS and not self.dtype.startswith(("float", "bfloat")):
            raise UserError(f"{name} is of dtype {self.dtype}; it must be uint8 or uint16, or fractions from 0 to 1")

    @property
    def shape(self) -> tuple[int, int]:
        shape = tuple(self.array.shape)
        return shape[1:] if self.is_tensor else shape[:2]

    def channels_last(self) -> np.ndarray:
        """(H, W, C), uint8, uint16 or float32."""
        array = self.array
        if self.is_tensor:
            array = array.detach().cpu()
            array = (array if self.dtype in TOPS else array.float()).numpy().transpose(1, 2, 0)
        array = array if array.ndim == 3 else array[..., None]
        return array if self.dtype in TOPS else array.astype(np.float32)

    def eight_bits(self, hole: np.ndarray | None) -> np.ndarray:
        """(H, W, C) uint8."""
        array = self.channels_last()
        if array.dtype == np.uint8:
            return array
        if array.dtype == np.uint16:
            return ((array.astype(np.uint32) + 128) // 257).astype(np.uint8)
        known = array if hole is None else array[~hole]
        if not (known.min(initial=0) >= 0 and known.max(initial=0) <= 1):  # so written that NaN is refused
            raise UserError(
                f"{self.name} has values from {known.min():g} to {known.max():g}; fractions must be from 0 to 1 "
                "(x / 2 + 0.5 makes them so from -1 to 1)"
            )
        return np.rint(np.nan_to_num(array, nan=0.0).clip(0, 1) * 255).astype(np.uint8)

    def rgb(self, hole: np.ndarray | None = None) -> np.ndarray:
        array = self.eight_bits(hole)
        if array.shape[2] == 1:
            return array.repeat(3, 2)
        return np.asarray(over_white(Image.fromarray(array)))

    def opacity(self) -> np.ndarray | None:
        array = self.channels_last()
        if array.shape[2] < 4:
            return None
        return array[..., 3] * (255 / TOPS.get(self.dtype, 1))

    def with_values(self, values: np.ndarray, hole: np.ndarray) -> Any:
        channels = 1 if len(self.array.shape) == 2 else self.array.shape[0 if self.is_tensor else 2]
        if channels == 1:
            values = (values @ LUMINANCE)[..., None]
        elif channels == 4:
            values = np.concatenate([values, np.full((*values.shape[:2], 1), 255, values.dtype)], 2)
        new = values[hole] * np.float32(TOPS.get(self.dtype, 1) / 255)
        new = np.rint(new).astype(self.dtype) if self.dtype in TOPS else new
        if self.is_tensor and self.dtype == "uint16":  # which torch cannot index
            numbers = self.array.detach().cpu().numpy().copy()
            numbers[:, hole] = new.T
            return torch.from_numpy(numbers).to(self.array.device)
        if self.is_tensor:
            made = self.array.detach().clone()
            made[:, torch.from_numpy(hole).to(made.device)] = torch.from_numpy(new.T.copy()).to(made)
            return made
        made = self.array.copy()
        made[hole] = new if made.ndim == 3 else new[:, 0]
        return made
