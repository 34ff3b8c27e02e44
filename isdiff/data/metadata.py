"""What image files say about their pictures: orientation, EXIF data, colour chunks. None of it costs the picture."""

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"
COLOUR_CHUNKS = (b"gAMA", b"cHRM", b"sRGB", b"cICP", b"mDCV", b"cLLI")  # besides the profile, which Pillow knows
ORIENTATION = 0x0112
TURNS = {2: (0, True), 3: (2, False), 4: (2, True), 5: (3, True), 6: (3, False), 7: (1, True), 8: (1, False)}
SAYING_SO = ("exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif")  # the orientation, in ``info``
TAGS = {270, 315, 700, 33432, 33723, 34665}  # of TIFF files: description, artist, XMP, copyright, IPTC and EXIF data
LOST = "lost"  # in ``info``: a list of what could not be read or kept
OTHER = "other data (captions, comments, XMP)"


def orientation(image: Image.Image) -> tuple[int, bool]:
    """Read the quarter turns to the left, and whether to mirror then; data that cannot be read say nothing."""
    try:
        return TURNS.get(image.getexif().get(ORIENTATION, 1), (0, False))
    except Exception:  # viewers show such pictures too
        return 0, False


def upright(image: Image.Image) -> Image.Image:
    """Turn an image as its EXIF data say, which then say so no more."""
    turns, mirror = orientation(image)
    more = getattr(image, "text", None) or {"comment", "photoshop", "xmp"} & {*image.info}
    lost = [OTHER] if more or TAGS & {*getattr(image, "tag_v2", ())} else []
    turned = image.copy()  # without the tags of a TIFF, which are of its file
    if turns or mirror:
        turned = image.rotate(90 * turns, expand=True)
        turned = ImageOps.mirror(turned) if mirror else turned
        exif = exif_bytes(image)
        lost += ["EXIF data"] if exif is None else []
        for key in SAYING_SO:
            turned.info.pop(key, None)
        turned.info |= {"exif": exif} if exif else {}
    turned.info[LOST] = lost
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


def bare(path: str | Path) -> bytes:
    """Read a PNG or JPEG file without what it says about its picture, other files as they are."""
    with open(path, "rb") as stream:
        if (begin := stream.read(8)) == PNG:
            kept = (chunk for kind, chunk in png_chunks(stream) if kind[:1].isupper() or kind == b"tRNS")
            return PNG + b"".join(kept)
        data, at = begin + stream.read(), 2
    parts = [data[:at]]
    while data.startswith(JPEG) and data[at : at + 1] == b"\xff" and data[at + 1] != 0xDA:  # where the picture begins
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at + 1] not in (*range(0xE0, 0xEE), 0xEF, 0xFE):  # 0xEE says how colours are stored
            parts.append(data[at:end])
        at = end
    return b"".join(parts) + data[at:]
