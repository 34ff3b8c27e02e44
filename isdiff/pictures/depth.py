"""Files with more bits a colour than Pillow keeps: most of its modes have 8, and it drops the others without a word."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from isdiff.data.images import FORMATS

# What Pillow calls the layout of such pixels in a file, or their decoder; BGR;16, say, is 16 bits a pixel.
CUT = re.compile(r"(L|LA|RGB[AaX]?|CMYK);16[LBN]|SGI16|BC6HS?")
DEEP_AVIF = 0x40  # in the third byte of the box av1C: 10 or 12 bits


def is_cut(path: Path) -> bool:
    """Whether Pillow decodes an image file, which it can open, with fewer bits a colour than it has."""
    try:
        opened = Image.open(path, formats=FORMATS)
    except Exception:  # a PNG or JPEG that cannot be read but for its pixels, which have 8 bits
        return False
    with opened:
        told = [*words([(tile[0], tile[3]) for tile in opened.tile])]
        if any(CUT.fullmatch(word) for word in told if isinstance(word, str)):
            return True
        if opened.format == "PPM":  # whose only number is the greatest value
            return opened.mode != "I" and any(word > 255 for word in told if isinstance(word, int))
        if opened.format == "TIFF":  # also where each colour lies in a plane of its own
            bits = opened.tag_v2.get(258, ())  # type: ignore[attr-defined]
            return isinstance(bits, tuple) and len(bits) > 1 and max(bits) > 8
    if opened.format in ("JPEG2000", "AVIF"):
        return is_deep_stream(path.read_bytes(), opened.mode)
    return False


def words(value: Any) -> Iterator[Any]:
    """Names and numbers in what a decoder is told, at any depth."""
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from words(item)
    else:
        yield value


def is_deep_stream(data: bytes, mode: str) -> bool:
    """The same of JPEG 2000 and AVIF, of which Pillow does not tell the depth."""
    if (at := data.find(b"\xff\x4f\xff\x51")) >= 0:  # begin of a JPEG 2000 stream, and its sizes
        return mode != "I;16" and (data[at + 42] & 0x7F) + 1 > 8
    return (at := data.find(b"av1C")) >= 0 and bool(data[at + 6] & DEEP_AVIF)
