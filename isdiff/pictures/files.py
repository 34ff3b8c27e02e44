"""Image files that keep what they are: mode and depth, transparency, colour profile, EXIF data and resolution."""

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

from isdiff.data.base import shown
from isdiff.data.images import FORMATS, as_rgba, decoded, has_transparency, image_suffixes, suffix_of
from isdiff.data.metadata import LOST, colour_chunks, exif_bytes, png_chunk, upright_array
from isdiff.errors import UserError
from isdiff.io.files import atomic_save
from isdiff.pictures.depth import is_cut
from isdiff.pictures.picture import ArrayPicture, Picture, PillowPicture

LOSSY = (".jpg", ".jpeg", ".jpe", ".jfif", ".jp2", ".j2k", ".mpo", ".gif", ".avif", ".avifs")
PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I", "I;16", "I;16B")
HELD = {".png": PNG_MODES, ".tif": (), ".tiff": (), ".webp": ("RGB", "RGBA"), ".bmp": ("1", "L", "P", "RGB")}  # (): all
OPTIONS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "WEBP": {"lossless": True, "exact": True},
}
LOSSY_TIFF = ("jpeg", "tiff_jpeg", "webp", "tiff_sgilog", "tiff_sgilog24")  # compressions, which Pillow would take over
DEEP = {(16, 2): 3, (16, 6): 4}  # (depth, colour type) of PNG that Pillow would cut to 8 bits: number of channels
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
        """Of a file that holds this picture to the bit: its own, or ``.png`` or ``.tiff``."""
        if not isinstance(self.picture, PillowPicture):
            return ".png"
        suffix, image = suffix_of(self.path.name), self.picture.image
        if (modes := HELD.get(suffix)) is not None and image.mode in (modes or (image.mode,)):
            return suffix
        return ".png" if image.mode in PNG_MODES else ".tiff"


def read_picture(path: Path, shallow: bool = False) -> PictureFile:
    """An image file, its first frame, turned as its EXIF data say; PNG of 16 bits a colour as it is, uint16.

    Args:
        shallow: take every file with the bits that Pillow keeps, to look at.
    Raises:
        UserError: it is missing, damaged, too large, no image, or of a mode or depth that nothing can be filled in.
    """
    image = decoded(path)
    info = {key: image.info[key] for key in ("icc_profile", "dpi") if image.info.get(key)}
    exif = exif_bytes(image)
    info |= {key: value for key, value in (("exif", exif), ("colour_chunks", colour_chunks(path))) if value}
    lost = [image.info.pop(LOST)] if LOST in image.info else ["EXIF data"] if exif is None else []
    name, deep = shown(path), None if shallow else deep_pixels(path)
    picture = PillowPicture(image, name) if deep is None else ArrayPicture(deep, name)
    return PictureFile(path, picture, info, frames_of(path), tuple(lost))


def frames_of(path: Path) -> int:
    """How many pictures an image file shows; the previews of an MPO and the layers of a PSD are parts of one."""
    try:
        with Image.open(path, formats=FORMATS) as opened:
            return 1 if opened.format in ("MPO", "PSD") else getattr(opened, "n_frames", 1)
    except Exception:  # one of those behind the first is damaged
        return 1


def deep_pixels(path: Path) -> np.ndarray | None:
    """(H, W, 3 or 4) uint16 of a PNG of 16 bits a colour, turned as its EXIF data say; None for other files.

    Raises:
        UserError: another file that has more bits a colour than Pillow keeps.
    """
    with open(path, "rb") as stream:
        head = stream.read(26)
    if head[:8] != b"\x89PNG\r\n\x1a\n" or tuple(head[24:26]) not in DEEP:
        if is_cut(path):
            raise UserError(
                f"image {shown(path)} has more than 8 bits a colour, which colours keep in a PNG of RGB or RGBA "
                "alone; save it as such a file, or with 8 bits"
            )
        return None
    array = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if array is None or array.dtype != np.uint16 or array.ndim != 3:
        raise UserError(f"image {shown(path)} cannot be read with its 16 bits a colour; save it anew")
    array = cv2.cvtColor(array, cv2.COLOR_BGR2RGB if array.shape[2] == 3 else cv2.COLOR_BGRA2RGBA)
    with Image.open(path, formats=FORMATS) as opened:
        return upright_array(array, opened)


def check_writable(path: Path, file: PictureFile, hole: np.ndarray) -> list[str]:
    """Try the format of the path's suffix with the picture, black in the hole; with a pixel of it or a blank of its
    size where nothing else can go wrong.

    Returns:
        What of the file's ``info`` the format does not keep, in words.
    Raises:
        UserError: it cannot hold such a picture.
    """
    picture = file.picture
    if isinstance(picture, ArrayPicture):
        encoded(path, np.zeros((1, 1, 3), np.uint16), file.info)
    elif isinstance(picture, PillowPicture):
        # PNG holds any size, and what it holds exactly; so does TIFF, but for colours that are said to be transparent.
        exact = (".png",) if "transparency" in picture.image.info else (".png", ".tif", ".tiff")
        pixel = PillowPicture(picture.image.crop((0, 0, 1, 1)), picture.name)
        made = pixel.filled(np.zeros((1, 1, 3), np.uint8), np.ones((1, 1), bool))
        suffix = suffix_of(path.name)
        if suffix in LOSSY or (suffix == ".webp" and made.mode in HELD[suffix]):  # where the picture itself takes long
            made = Image.new(made.mode, picture.image.size)
        elif suffix not in exact:
            made = picture.filled(np.broadcast_to(np.uint8(0), (*hole.shape, 3)), hole)
        encoded(path, made, file.info)
    said = {key: SAID[key] for key in file.info if key in SAID and b"sRGB" not in file.info[key]}  # as without chunks
    return [*file.lost, *(what for key, what in said.items() if key not in fitting(path, file.info))]


def tried(kind: str, info: dict[str, Any]) -> Image.Image:
    """A small picture that was written in a format with such ``info``, and read again."""
    return Image.open(io.BytesIO(saved(Image.new("RGB", (16, 16)), kind, info)), formats=FORMATS)


def fitting(path: Path, info: dict[str, Any]) -> dict[str, Any]:
    """The parts of ``info`` that files of the path's suffix keep: each is tried with a small picture."""
    kept, kind = {}, Image.registered_extensions().get(suffix_of(path.name), "")
    for key, value in info.items():
        with suppress(Exception), tried(kind, {key: value}) as back:
            back.load()
            if {"exif": len(back.getexif()), "colour_chunks": kind == "PNG"}.get(key, back.info.get(key)):
                kept[key] = value
    return kept


def saved(image: Image.Image, kind: str, info: dict[str, Any]) -> bytes:
    """The bytes of a file; ``info`` are options of Pillow's, and ``colour_chunks`` for PNG."""
    stream = io.BytesIO()
    image.save(stream, kind, **{key: value for key, value in info.items() if key != "colour_chunks"})
    return with_chunks(stream.getvalue(), info.get("colour_chunks", b"") if kind == "PNG" else b"")


def with_chunks(png: bytes, chunks: bytes) -> bytes:
    return png[:33] + chunks + png[33:]  # behind signature (8) and IHDR (25)


def write_picture(path: Path, made: Any, info: dict[str, Any]) -> None:
    """Write a filled picture, a Pillow image or uint16 array, atomically, in the format of the path's suffix.

    Raises:
        UserError: no such format, or one that cannot hold the picture.
    """
    data = encoded(path, made, info)
    atomic_save(path, lambda stream: stream.write(data))


def encoded(path: Path, made: Any, info: dict[str, Any]) -> bytes:
    """The picture in the format of the path's suffix.

    Raises:
        UserError: no such format, or one that cannot hold the picture.
    """
    suffix, info = suffix_of(path.name), fitting(path, info)
    if isinstance(made, np.ndarray):
        if suffix != ".png":
            raise UserError(f"{shown(path)}: pictures of 16 bits a colour are written as .png only; give such a name")
        return encoded_deep(made, info)
    kind = Image.registered_extensions().get(suffix) if suffix in image_suffixes() else None
    if kind is None or kind not in Image.SAVE:
        raise UserError(f"{shown(path)}: no format for {suffix or 'a name without suffix'}; give a .png or .tiff")
    if made.mode not in PNG_MODES and kind == "PNG":
        raise UserError(f"{shown(path)}: PNG cannot hold a picture of mode {made.mode}; give a .tiff")
    if made.mode == "I" and kind == "PNG":  # which has 16 bits; the values have been looked at
        whole, made = made, Image.fromarray(np.asarray(made).astype(np.uint16))
        made.info = dict(whole.info)
    # Formats take the parts of ``info`` that they know; transparency is in the image's own.
    options = {**info, **OPTIONS.get(kind, {})}
    if kind == "TIFF" and made.info.get("compression") in LOSSY_TIFF:
        options["compression"] = "tiff_lzw"
    try:
        data = saved(made, kind, options)
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise UserError(f"{shown(path)}: {kind} cannot hold it ({error}); give a .png or .tiff") from None
    if change := changed(made, io.BytesIO(data), exactly=suffix not in LOSSY):
        others = "a .png" if kind == "TIFF" else "a .png or .tiff"
        raise UserError(f"{shown(path)}: {kind} cannot hold it ({change}); give {others}")
    return data


def changed(image: Image.Image, stream: io.BytesIO, exactly: bool) -> str:
    """What a file made of an image; nothing where it shows the same, or unless ``exactly`` something of that size.

    Some formats resize, cut or leave out what they cannot hold, without a word.
    """
    try:
        with Image.open(stream, formats=FORMATS) as opened:
            opened.load()
            back = opened.copy()
    except Exception as error:  # decoders raise nearly anything
        return f"it could not be read again: {error}"
    numbers = PillowPicture.NUMBERS
    kept = same(back, image) if exactly else (back.mode in numbers or image.mode not in numbers)
    if back.size == image.size and kept:
        return ""
    one, other = (f"{i.width}x{i.height} of mode {i.mode}" for i in (image, back))
    return f"{one} would become {other}" if one != other else "its values would change"


def same(one: Image.Image, other: Image.Image) -> bool:
    """Whether two images of one size show the same to the bit, in whatever mode."""
    plain = ("1", "L", "LA", "P", "PA", "RGB", "RGBA")
    if one.mode in plain and other.mode in plain:
        one, other = as_rgba(one), as_rgba(other)
    clear = has_transparency(one) == has_transparency(other)
    return clear and (one.mode in plain) == (other.mode in plain) and np.array_equal(np.asarray(one), np.asarray(other))


def encoded_deep(array: np.ndarray, info: dict[str, Any]) -> bytes:
    """PNG of 16 bits a colour; OpenCV writes no profile and no EXIF data, so they follow the header here."""
    swapped = cv2.cvtColor(array, cv2.COLOR_RGB2BGR if array.shape[2] == 3 else cv2.COLOR_RGBA2BGRA)
    data = cv2.imencode(".png", swapped)[1].tobytes()
    chunks = info.get("colour_chunks", b"")
    if profile := info.get("icc_profile"):
        chunks += png_chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(profile))
    if exif := info.get("exif"):
        chunks += png_chunk(b"eXIf", exif.removeprefix(b"Exif\0\0"))
    return with_chunks(data, chunks)
