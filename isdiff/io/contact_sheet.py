"""Picture grids: what a person looks at first."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from isdiff.io.files import atomic_save

Tile = tuple[np.ndarray, str]
TILE = 144
CAPTION = 30
LINE, MARGIN = 17, 6
GAP = 6


def with_hole(image: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """The image as a method sees it: (H, W, 3) uint8 with a hatched gray hole."""
    height, width = hole.shape
    stripes = (np.add.outer(np.arange(height), np.arange(width)) // max(1, height // 32)) % 2
    hatch = np.where(stripes, 172, 196).astype(np.uint8)[..., None].repeat(3, 2)
    return np.where(hole[..., None], hatch, image)


def contact_sheet(path: Path, header: Sequence[str], rows: Sequence[Sequence[Tile]], tile: int = TILE) -> Path:
    """Write a PNG with a titled column for each kind of picture, ``tile`` pixels wide, and a row for each image.

    Captions have at most two lines.
    """
    columns = len(header)
    bold, small = ImageFont.load_default(13), ImageFont.load_default(10)
    titles = [textwrap.fill(title, tile // 8, break_long_words=False, break_on_hyphens=False) for title in header]
    head = MARGIN + LINE * max(title.count("\n") + 1 for title in titles)
    size = (columns * (tile + GAP) + GAP, head + len(rows) * (tile + CAPTION + GAP) + GAP)
    canvas = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(canvas)
    for column, title in enumerate(titles):
        middle = GAP + column * (tile + GAP) + tile // 2
        draw.multiline_text((middle, MARGIN), title, "black", bold, anchor="ma", align="center", spacing=2)
    for row, tiles in enumerate(rows):
        top = head + row * (tile + CAPTION + GAP)
        for column, (picture, caption) in enumerate(tiles):
            left = GAP + column * (tile + GAP)
            # Enlarge without blur, reduce without aliasing.
            way = Image.Resampling.NEAREST if max(picture.shape) <= tile else Image.Resampling.LANCZOS
            canvas.paste(ImageOps.pad(Image.fromarray(picture), (tile, tile), way, "white"), (left, top))
            draw.multiline_text((left, top + tile + 3), caption, (70, 70, 70), small, spacing=2)
    return atomic_save(path, lambda stream: canvas.save(stream, "png"))
