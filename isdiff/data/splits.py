"""Splits of drawn images: rendered in parallel once, then read from one file."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from rich.progress import track

from isdiff.data.drawn import draw, split_ids
from isdiff.files import atomic_save


def pixels_of(image_id: str, size: int) -> np.ndarray:
    return draw(image_id, size).pixels


def rendered_split(dataset: str, split: str, count: int, size: int, root: Path, workers: int = 2) -> np.ndarray:
    """The first ``count`` images of a split as a read-only memory map of shape (count, H, W, 3), uint8.

    Rendered on first use (about 10 ms an image and core) into ``root/<dataset>/<split>_<count>_<size>.npy``.
    """
    path = Path(root) / dataset / f"{split}_{count}_{size}.npy"
    if not path.exists():
        pixels = np.empty((count, size, size, 3), np.uint8)
        with ProcessPoolExecutor(workers) as pool:
            images = pool.map(partial(pixels_of, size=size), split_ids(dataset, split, count), chunksize=64)
            for i, image in enumerate(track(images, f"drawing {dataset}/{split}", total=count)):
                pixels[i] = image
        atomic_save(path, lambda stream: np.save(stream, pixels))
    return np.load(path, mmap_mode="r")
