"""Image files that keep what they are: depth, transparency, colour profile, EXIF data and resolution."""

from __future__ import annotations

import io
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from isdiff.data.base import quote
from isdiff.data.images import FORMATS, SUFFIXES, decode, suffix_of
from isdiff.data.metadata import LOST, PNG, colour_chunks, exif_bytes, orientation, png_chunk, turn_array
from isdiff.errors import UserError
from isdiff.io.files import atomic_save
from isdiff.pictures.picture import Picture, picture_of, pillow_picture

OPTIONS: dict[str, dict[str, Any]] = {  # of the formats that are written; GIF is only read
    "PNG": {},
    "JPEG": {"quality": 95, "subsampling": 0},
    "WEBP": {"lossless": True, "exact": True},
    "TIFF": {"compression": "tiff_lzw"},
    "BMP": {},
}
MOST = {"WEBP": 16383, "JPEG": 65500}  # pixels on a side
SAID = {"icc_profile": "colour profile", "exif": "EXIF data", "colour_chunks": "colour chunks (gAMA and its kin)"}


@dataclass(frozen=True, eq=False)
class PictureFile:
    """A picture and what its file says about it.

    Attributes:
        info: ``icc_profile``, ``exif`` (without orientation: the pixels are turned), ``colour_chunks`` (of a PNG) and
            ``dpi``, where they are there.
        frames: how many pictures the file has; ``picture`` is the first.
        lost: what the file says and nobody can read or write again.
    """

    path: Path
    picture: Picture
    info: dict[str, Any]
    frames: int = 1
    lost: tuple[str, ...] = ()

    @property
    def lossless_suffix(self) -> str:
        """The suffix of a file that holds this picture to the bit: its own, or ``.png``."""
        suffix = suffix_of(self.path.name)
        return ".png" if SUFFIXES.get(suffix) == "JPEG" or unfit(suffix, self.picture.samples) else suffix


def read_picture(path: Path, name: str = "") -> PictureFile:
    """Read an image file, its first frame, turned as its EXIF data say; 16 bits a colour as they are, uint16.

    Args:
        name: of the picture, for messages; default: its path.
    """
    image = decode(path)
    info = {key: image.info[key] for key in ("icc_profile", "dpi") if image.info.get(key)}
    exif = exif_bytes(image)
    info |= {key: value for key, value in (("exif", exif), ("colour_chunks", colour_chunks(path))) if value}
    lost = [*image.info.pop(LOST), *(["EXIF data"] if exif is None else [])]
    deep = deep_samples(path, image)
    picture = pillow_picture(image, f"image {quote(path)}") if deep is None else picture_of(deep)
    picture.name = name or quote(path)
    frames = 1
    with suppress(Exception), Image.open(path, formats=FORMATS) as opened:  # a frame behind the first may be damaged
        frames = 1 if opened.format == "MPO" else getattr(opened, "n_frames", 1)  # whose others are previews
    return PictureFile(path, picture, info, frames, (*lost, *([picture.lost] if picture.lost else ())))


def deep_samples(path: Path, image: Image.Image) -> np.ndarray | None:
    """Read (H, W, 3 or 4) uint16 of a PNG or TIFF with more bits a colour than Pillow keeps; None for other files.

    ``image`` is what Pillow made of it, the upper eight bits.
    """
    if image.mode not in ("LA", "RGB", "RGBA"):
        return None
    with open(path, "rb") as stream:
        head = stream.read(26)
    turns = 0, False  # of a TIFF nothing is left to do
    if head.startswith(PNG):
        if head[24] <= 8:
            return None
        with suppress(Exception), Image.open(path, formats=FORMATS) as opened:
            turns = orientation(opened)
    elif head[:2] not in (b"II", b"MM"):
        return None
    else:
        with Image.open(path, formats=FORMATS) as opened:
            if max(opened.tag_v2.get(258, (8,))) <= 8:  # type: ignore[attr-defined]
                return None
    found: Any = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if found is not None and found.dtype == np.uint16 and found.ndim == 3:
        found = cv2.cvtColor(found, cv2.COLOR_BGR2RGB if found.shape[2] == 3 else cv2.COLOR_BGRA2RGBA)
        found = turn_array(found, *turns)
        if np.array_equal(found >> 8, np.asarray(image)):  # type: ignore[operator]
            return found
    raise UserError(
        f"image {quote(path)} has more than 8 bits a colour and is no plain PNG or TIFF of RGB or RGBA with 16; save "
        "it so, or with 8 bits"
    )


def unfit(suffix: str, samples: np.ndarray) -> str:
    """Say what of such a picture the format of a suffix cannot hold; empty if it holds all of it."""
    kind = SUFFIXES.get(suffix, "")
    if kind not in OPTIONS:
        return f"no format that is written here has the suffix {suffix}" if suffix else "the name has no suffix"
    if samples.dtype == np.uint16 and kind not in ("PNG", "TIFF"):
        return f"{kind} cannot hold 16 bits a colour"
    if samples.ndim == 3 and samples.shape[2] in (2, 4) and kind in ("JPEG", "BMP"):
        return f"{kind} cannot hold transparency"
    most = MOST.get(kind, max(samples.shape))
    return f"{kind} cannot hold more than {most} pixels on a side" if max(samples.shape) > most else ""


def check_writable(path: Path, file: PictureFile) -> list[str]:
    """Refuse a path whose format cannot hold the picture; say in words what else of the file it does not keep."""
    kind = kind_of(path, file.picture.samples)
    kept = fitting(kind, file.info, is_deep(file.picture.samples))
    said = {key: SAID[key] for key in file.info if key in SAID and b"sRGB" not in file.info[key]}  # as without chunks
    inexact = ["exact pixels (JPEG)"] if kind == "JPEG" else []
    return [*inexact, *file.lost, *(what for key, what in said.items() if key not in kept)]


def write_picture(path: Path, made: Any, info: dict[str, Any]) -> None:
    """Write a filled picture, a Pillow image or an array, atomically, in the format of the path's suffix."""
    samples = np.asarray(made)
    kind = kind_of(path, samples)
    info = fitting(kind, info, is_deep(samples))
    try:
        data = encode_deep(samples, kind, info) if is_deep(samples) else encode_flat(made, kind, info)
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise UserError(f"{quote(path)}: {kind} cannot hold it ({error}); give a .png or .tiff") from None
    atomic_save(path, lambda stream: stream.write(data))


def kind_of(path: Path, samples: np.ndarray) -> str:
    """The format of a path's suffix; refused if it cannot hold the picture."""
    if fault := unfit(suffix_of(path.name), samples):
        raise UserError(f"{quote(path)}: {fault}; give a .png or .tiff")
    return SUFFIXES[suffix_of(path.name)]


def is_deep(samples: np.ndarray) -> bool:
    """Whether Pillow cannot write them."""
    return samples.dtype == np.uint16 and samples.ndim == 3 and samples.shape[2] > 1


def fitting(kind: str, info: dict[str, Any], deep: bool) -> dict[str, Any]:
    """Select the parts of ``info`` that files of a format keep: each is tried with a small picture."""
    kept: dict[str, Any] = {}
    if deep and kind != "PNG":  # OpenCV writes the pixels alone
        return kept
    for key, value in info.items():
        with suppress(Exception):
            data = encode_flat(Image.new("RGB", (16, 16)), kind, {key: value})
            with Image.open(io.BytesIO(data), formats=FORMATS) as back:
                back.load()
                if {"exif": len(back.getexif()), "colour_chunks": kind == "PNG"}.get(key, back.info.get(key)):
                    kept[key] = value
    return kept


def encode_flat(made: Any, kind: str, info: dict[str, Any]) -> bytes:
    """Make the bytes of a file; ``info`` are options of Pillow's, and ``colour_chunks`` for PNG."""
    stream, image = io.BytesIO(), made if isinstance(made, Image.Image) else Image.fromarray(made)
    options = {key: value for key, value in info.items() if key != "colour_chunks"}
    image.save(stream, kind, **options, **OPTIONS[kind])
    return with_chunks(stream.getvalue(), info.get("colour_chunks", b"") if kind == "PNG" else b"")


def encode_deep(samples: np.ndarray, kind: str, info: dict[str, Any]) -> bytes:
    """Make a file of 16 bits a colour; OpenCV writes no profile and no EXIF data, so a PNG gets them here."""
    swapped = cv2.cvtColor(samples, cv2.COLOR_RGB2BGR if samples.shape[2] == 3 else cv2.COLOR_RGBA2BGRA)
    data = cv2.imencode(f".{kind.lower()}", swapped)[1].tobytes()
    chunks = info.get("colour_chunks", b"")
    if profile := info.get("icc_profile"):
        chunks += png_chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(profile))
    if exif := info.get("exif"):
        chunks += png_chunk(b"eXIf", exif.removeprefix(b"Exif\0\0"))
    return with_chunks(data, chunks)


def with_chunks(png: bytes, chunks: bytes) -> bytes:
    return png[:33] + chunks + png[33:] if chunks else png  # behind signature (8) and IHDR (25)
