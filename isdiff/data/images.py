"""Image files as models need them: decoded like a viewer would show them, cropped and resized in one named way."""

import hashlib
import io
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from isdiff.data.base import quote
from isdiff.data.metadata import LOST, bare, upright
from isdiff.errors import UserError

if TYPE_CHECKING:
    import torch

SUFFIXES = {
    ".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".jpe": "JPEG", ".jfif": "JPEG", ".webp": "WEBP", ".tif": "TIFF",
    ".tiff": "TIFF", ".bmp": "BMP", ".gif": "GIF",
}  # fmt: skip
FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF")  # that files may have, whatever their names


def suffix_of(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def load_rgb(path: str | Path) -> Image.Image:
    """Read an image file as 8-bit RGB: turned as its EXIF data say, its first frame, transparency over white."""
    image = decode(path)
    try:
        return over_white(eight_bits(image))
    except ValueError as error:
        raise UserError(f"image {quote(path)} cannot be used: {error}") from None


def decode(path: str | Path, what: str = "image") -> Image.Image:
    """Read an image file in its own mode, its first frame, turned as its EXIF data say; ``what`` names its role."""
    file = f"{what} {quote(path)}"
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
        known = "damaged, or no PNG, JPEG, WebP, TIFF, BMP or GIF"
        raise UserError(f"{file} cannot be read as an image ({known})") from None
    except Exception as error:  # decoders of damaged files raise nearly anything
        reason = " ".join(str(getattr(error, "strerror", None) or error).split()) or type(error).__name__
        raise UserError(f"{file} cannot be read as an image ({reason})") from None
    if 0 in image.size:
        raise UserError(f"{file} has no pixels")
    return image


def first_frame(path: str | Path) -> Image.Image:
    """Open an image file upright; where what it says about its picture cannot be read, without that."""
    try:
        with Image.open(path, formats=FORMATS) as opened:
            opened.load()
            return upright(opened)
    except (FileNotFoundError, Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise
    except Exception:  # decoders of damaged files raise nearly anything
        with Image.open(io.BytesIO(bare(path)), formats=FORMATS) as opened:
            opened.load()
            opened.info[LOST] = ["data about the picture"]
            return opened


def eight_bits(image: Image.Image) -> Image.Image:
    """Scale 16-bit gray to 0..255, whatever values occur: a dark picture stays dark. Other modes stay as they are."""
    if image.mode in ("I", "F") or (image.mode.startswith("I;") and "transparency" in image.info):
        raise ValueError(f"it is of mode {image.mode}; save it with 8 or 16 bits, without transparency")
    return Image.fromarray(scale_to_eight(np.asarray(image))) if image.mode.startswith("I;") else image


def scale_to_eight(values: np.ndarray) -> np.ndarray:
    """Return 16-bit values as uint8."""
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


def over_white(image: Image.Image) -> Image.Image:
    """Convert to RGB, transparency over white."""
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def center_crop_long_edge(image: Image.Image, size: int) -> Image.Image:
    """Resize the central square of the full shorter side once, by Pillow's antialiased bicubic filter (the default)."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side)).resize((size, size), Image.Resampling.BICUBIC)


def guided_diffusion(image: Image.Image, size: int) -> Image.Image:
    """Halve while the shorter side is at least twice ``size``, resize it, crop the centre: as in guided-diffusion."""
    while min(image.size) >= 2 * size:
        image = image.resize((image.width // 2, image.height // 2), Image.Resampling.BOX)
    scale = size / min(image.size)
    width, height = round(image.width * scale), round(image.height * scale)
    if Image.MAX_IMAGE_PIXELS and width * height > max(Image.MAX_IMAGE_PIXELS, image.width * image.height):
        raise ValueError(f"{image.width}x{image.height} is too long and thin to enlarge; crop it first")
    image = image.resize((width, height), Image.Resampling.BICUBIC)
    left, top = (image.width - size) // 2, (image.height - size) // 2
    return image.crop((left, top, left + size, top + size))


CROPPED = "center_crop_long_edge"
PREPROCESSING: dict[str, Callable[[Image.Image, int], Image.Image]] = {
    CROPPED: center_crop_long_edge, "guided_diffusion": guided_diffusion,
}  # fmt: skip


def scale(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize (H, W, 3) uint8 to ``size``, (height, width), by Pillow's antialiased bicubic filter."""
    if image.shape[:2] == size:
        return image
    return np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BICUBIC))


def scale_known(image: np.ndarray, hole: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Resize an image (H, W, 3) uint8 and its hole (H, W) bool; nothing that the hole hides gets into known pixels."""
    where = hole.astype(np.uint8)
    nearest = cv2.distanceTransformWithLabels(where, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)[1]
    colors = np.zeros((nearest.max() + 1, 3), np.uint8)
    colors[nearest[~hole]] = image[~hole]  # in the place of what is hidden: the nearest known pixel's colour
    way = cv2.INTER_NEAREST if size[0] >= hole.shape[0] else cv2.INTER_AREA
    # Where the hole is reduced, a pixel is hidden if any of its own was.
    return scale(colors[nearest], size), cv2.resize(where * 255, size[::-1], interpolation=way) > 0


def pixels_hash(pixels: np.ndarray) -> str:
    """Return 16 hex digits of the sha256 of an array's bytes: decoded pixels, packed masks."""
    return hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()[:16]


def to_tensor(image: np.ndarray) -> "torch.Tensor":
    """Convert (H, W, 3) uint8 to (3, H, W) float32 in [-1, 1]."""
    import torch  # here: a finished run answers without it

    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 127.5 - 1


def to_uint8(x: "torch.Tensor") -> np.ndarray:
    """Convert (3, H, W) in [-1, 1] to (H, W, 3) uint8, clamped and rounded."""
    return ((x.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).cpu().numpy()


def paste(result: np.ndarray, image: np.ndarray, hole: np.ndarray, seam: float = 0.0) -> np.ndarray:
    """Put ``result`` into the ``hole`` (H, W) bool of ``image``, both (H, W, 3) uint8.

    Within ``seam`` pixels of the hole, known pixels fade linearly from the result into the image.
    """
    if seam <= 0:
        return np.where(hole[..., None], result, image)
    distance = cv2.distanceTransform((~hole).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    share = np.clip(1 - distance / (seam + 1), 0, 1)[..., None]
    return np.round(share * result + (1 - share) * image).astype(np.uint8)
