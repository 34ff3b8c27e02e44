"""Image files as models need them: decoded like a viewer would show them, cropped and resized in one named way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError

from isdiff.errors import UserError


def load_rgb(path: Path) -> Image.Image:
    """An image file as 8-bit RGB: EXIF rotation applied, gray repeated, transparency over white, 16 bits scaled to 8.

    Raises:
        UserError: the file is missing, damaged or no image.
    """
    try:
        with Image.open(path) as image:
            image.load()
            image = ImageOps.exif_transpose(image)
    except FileNotFoundError:
        raise UserError(f"image {path} is missing") from None
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise UserError(f"image {path} cannot be read ({error})") from None
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image, np.float64)
        values = values / 257 if values.max() > 255 else values
        image = Image.fromarray(values.round().clip(0, 255).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def center_crop_long_edge(image: Image.Image, size: int) -> Image.Image:
    """The default: the central square of the full shorter side, resized once by Pillow's antialiased bicubic filter."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side)).resize((size, size), Image.Resampling.BICUBIC)


def guided_diffusion(image: Image.Image, size: int) -> Image.Image:
    """What guided-diffusion and RePaint do: halve by 2x2 means while the shorter side is at least twice ``size``,
    resize it to ``size`` by bicubic, crop the centre."""
    while min(image.size) >= 2 * size:
        image = image.resize((image.width // 2, image.height // 2), Image.Resampling.BOX)
    scale = size / min(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
    left, top = (image.width - size) // 2, (image.height - size) // 2
    return image.crop((left, top, left + size, top + size))


PREPROCESSING: dict[str, Callable[[Image.Image, int], Image.Image]] = {
    "center_crop_long_edge": center_crop_long_edge,
    "guided_diffusion": guided_diffusion,
}


def to_tensor(image: np.ndarray) -> torch.Tensor:
    """(H, W, 3) uint8 to (3, H, W) float32 in [-1, 1]."""
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
