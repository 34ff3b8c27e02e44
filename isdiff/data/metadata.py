"""What image files say about their pictures: orientation, EXIF data, colour chunks. None of it costs the picture."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

PNG = b"\x89PNG\r\n\x1a\n"
COLOUR_CHUNKS = (b"gAMA", b"cHRM", b"sRGB", b"cICP", b"mDCV", b"cLLI")  # besides the profile, which Pillow knows
ORIENTATION = 0x0112
TURNS = {2: (0, True), 3: (2, False), 4: (2, True), 5: (3, True), 6: (3, False), 7: (1, True), 8: (1, False)}
SAYING_SO = ("exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif")  # the orientation, in ``info``
LOST = "lost"  # in ``info``: what could not be read or kept


def orientation(image: Image.Image) -> tuple[int, bool]:
    """Read the quarter turns to the left, and whether to mirror then; data that cannot be read say nothing."""
    try:
        return TURNS.get(image.getexif().get(ORIENTATION, 1), (0, False))
    except Exception:  # viewers show such pictures too
        return 0, False


def upright(image: Image.Image) -> Image.Image:
    """Turn an image as its EXIF data say, which then say so no more."""
    turns, mirror = orientation(image)
    if not turns and not mirror:
        return image.copy()  # without the tags of a TIFF, which are of its file
    turned = image.rotate(90 * turns, expand=True)
    turned = ImageOps.mirror(turned) if mirror else turned
    for key in SAYING_SO:
        turned.info.pop(key, None)
    if (exif := exif_bytes(image)) is None:
        turned.info[LOST] = "EXIF data"
    elif exif:
        turned.info["exif"] = exif
    return turned


def turn_array(array: np.ndarray, turns: int, mirror: bool) -> np.ndarray:
    """Turn an array (H, W, C) as :func:`orientation` says."""
    array = np.rot90(array, turns)
    return np.ascontiguousarray(array[:, ::-1] if mirror else array)


def exif_bytes(image: Image.Image) -> bytes | None:
    """Write the EXIF data without orientation and preview (which shows what was there); None if that cannot be done."""
    try:
        exif = image.getexif()
        exif.pop(ORIENTATION, None)
        return exif.tobytes() if len(exif) else b""
    except Exception:  # cameras write what they like
        return None


def png_chunks(stream: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """Name and bytes of each chunk of a PNG file, after its signature."""
    while len(head := stream.read(8)) == 8:
        yield head[4:], head + stream.read(int.from_bytes(head[:4], "big") + 4)


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def colour_chunks(path: Path) -> bytes:
    """Read the whole chunks of a PNG file that say how its numbers look; empty for other files."""
    found = b""
    with open(path, "rb") as stream:
        for kind, chunk in png_chunks(stream) if stream.read(8) == PNG else ():
            if kind == b"IDAT":
                break
            if kind in COLOUR_CHUNKS and chunk == png_chunk(kind, chunk[8:-4]):
                found += chunk
    return found
