"""Image files as models need them: decoded like a viewer would show them, cropped and resized in one named way."""

from __future__ import annotations

import hashlib
import io
import os
import warnings
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from isdiff.data.base import shown
from isdiff.data.metadata import LOST, bare, upright
from isdiff.errors import UserError

if TYPE_CHECKING:
    import torch

ALPHA_MODES = ("RGBA", "LA", "PA", "RGBa", "La")
FORMATS = (  # that files may have, whatever their names: Pillow decodes them without another program
    "PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "DDS", "DIB", "ICNS", "ICO", "JPEG2000", "PCX", "PPM", "PSD",
    "QOI", "SGI", "TGA", "XBM",
)  # fmt: skip


@lru_cache
def image_suffixes() -> frozenset[str]:
    """The suffixes, in lower case and with their dots, of :data:`FORMATS`."""
    found = Image.registered_extensions().items()
    return frozenset(suffix for suffix, name in found if name in (*FORMATS, "MPO"))  # which is opened as JPEG


def suffix_of(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def load_rgb(path: str | Path) -> Image.Image:
    """An image file as 8-bit RGB: EXIF rotation applied, the first of several frames, gray repeated, transparency over
    white, other ranges of values as :func:`eight_bits` says.

    Raises:
        UserError: the file is missing, damaged, too large, no image, or has values outside of their range.
    """
    image = decoded(path)
    try:
        return over_white(eight_bits(image))
    except ValueError as error:
        raise UserError(f"image {shown(path)} cannot be used: {error}") from None


def decoded(path: str | Path, what: str = "image") -> Image.Image:
    """An image file in its own mode, its first frame, turned as its EXIF data say.

    Raises:
        UserError: the file is missing, damaged, too large or no image; ``what`` names its role.
    """
    file = f"{what} {shown(path)}"
    if os.path.exists(path) and not os.path.isfile(path):  # reading a pipe could wait for ever
        kind = "a folder" if os.path.isdir(path) else "a pipe or device"
        raise UserError(f"{file} is {kind}; give an image file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = first_frame(path)
    except FileNotFoundError:
        raise UserError(f"{file} is missing") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        limit = f"has more than {Image.MAX_IMAGE_PIXELS or 0:,} pixels"
        raise UserError(f"{file} {limit}; save it smaller (isdiff inpaint also has --megapixels)") from None
    except UnidentifiedImageError:
        raise UserError(f"{file} cannot be read as an image (damaged, or no PNG, JPEG, WebP, TIFF or such)") from None
    except Exception as error:  # decoders of damaged files raise nearly anything
        reason = " ".join(str(getattr(error, "strerror", None) or error).split()) or type(error).__name__
        raise UserError(f"{file} cannot be read as an image ({reason})") from None
    if 0 in image.size:
        raise UserError(f"{file} has no pixels: it is {image.width}x{image.height}")
    return image


def first_frame(path: str | Path) -> Image.Image:
    """An image file upright; where what it says about its picture cannot be read, without that."""
    try:
        with Image.open(path, formats=FORMATS) as opened:
            opened.load()
            return upright(opened)
    except (FileNotFoundError, Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise
    except Exception:  # decoders of damaged files raise nearly anything
        if (plain := bare(path)) is None:
            raise
        with Image.open(io.BytesIO(plain), formats=FORMATS) as opened:
            opened.load()
            opened.info[LOST] = "data about the picture"
            return opened


def eight_bits(image: Image.Image) -> Image.Image:
    """Modes of more than 8 bits a channel scaled to 0..255 as L (LA with transparency); other modes as they are.

    Whole numbers have the range 0..65535, whatever values occur: a dark 16-bit picture stays dark. Fractions have the
    range 0..1, or 0..255 if one is above 1.

    Raises:
        ValueError: values outside of that range, or that are no numbers.
    """
    if not image.mode.startswith("I") and image.mode != "F":
        return image
    values = np.asarray(image)
    low, high = values.min(), values.max()
    top = 255 if image.mode == "F" else 65535
    if not (low >= 0 and high <= top):  # so written that NaN is refused
        raise ValueError(f"its values go from {low:g} to {high:g}; they must be within 0 and {top}")
    if image.mode == "F":
        gray = np.rint(values * (255 if high <= 1 else 1)).astype(np.uint8)
    else:
        gray = ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
    transparent = image.info.get("transparency")
    if not isinstance(transparent, int):
        return Image.fromarray(gray)
    return Image.merge("LA", [Image.fromarray(gray), Image.fromarray(np.uint8(255) * (values != transparent))])


def has_transparency(image: Image.Image) -> bool:
    return image.mode in ALPHA_MODES or "transparency" in image.info


def as_rgba(image: Image.Image) -> Image.Image:
    return (image.convert("LA") if image.mode == "La" else image).convert("RGBA")


def over_white(image: Image.Image) -> Image.Image:
    """As RGB, transparency over white."""
    if has_transparency(image):
        image = as_rgba(image)
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def center_crop_long_edge(image: Image.Image, size: int) -> Image.Image:
    """The default: the central square of the full shorter side, resized once by Pillow's antialiased bicubic filter."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side)).resize((size, size), Image.Resampling.BICUBIC)


def guided_diffusion(image: Image.Image, size: int) -> Image.Image:
    """What guided-diffusion and RePaint do: halve by 2x2 means while the shorter side is at least twice ``size``,
    resize it to ``size`` by bicubic, crop the centre.

    Raises:
        ValueError: a sliver, which would first become larger than an image may be.
    """
    while min(image.size) >= 2 * size:
        image = image.resize((image.width // 2, image.height // 2), Image.Resampling.BOX)
    scale = size / min(image.size)
    width, height = round(image.width * scale), round(image.height * scale)
    if Image.MAX_IMAGE_PIXELS and width * height > max(Image.MAX_IMAGE_PIXELS, image.width * image.height):
        raise ValueError(f"{image.width}x{image.height} is too long and thin to enlarge; crop it first")
    image = image.resize((width, height), Image.Resampling.BICUBIC)
    left, top = (image.width - size) // 2, (image.height - size) // 2
    return image.crop((left, top, left + size, top + size))


PREPROCESSING: dict[str, Callable[[Image.Image, int], Image.Image]] = {
    "center_crop_long_edge": center_crop_long_edge,
    "guided_diffusion": guided_diffusion,
}


def pixels_hash(pixels: np.ndarray) -> str:
    """16 hex digits of the sha256 of an array's bytes: decoded pixels, packed masks."""
    return hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()[:16]


def to_tensor(image: np.ndarray) -> torch.Tensor:
    """(H, W, 3) uint8 to (3, H, W) float32 in [-1, 1]."""
    import torch  # here: a finished run answers without it

    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 127.5 - 1


def to_uint8(x: torch.Tensor) -> np.ndarray:
    """(3, H, W) in [-1, 1] to (H, W, 3) uint8, clamped and rounded."""
    return ((x.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).cpu().numpy()


def paste(result: np.ndarray, image: np.ndarray, hole: np.ndarray, seam: float = 0.0) -> np.ndarray:
    """``result`` in the hole and ``image`` elsewhere, all (H, W, 3) uint8, ``hole`` (H, W) bool.

    Within ``seam`` pixels of the hole, known pixels fade linearly from the result into the image; nothing of the image
    gets into the hole.
    """
    if seam <= 0:
        return np.where(hole[..., None], result, image)
    distance = cv2.distanceTransform((~hole).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    share = np.clip(1 - distance / (seam + 1), 0, 1)[..., None]
    return np.round(share * result + (1 - share) * image).astype(np.uint8)
