"""Splits of drawn images: rendered in parallel once, then read from one file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from rich.progress import track

from isdiff.data.drawn import design, draw, split_ids
from isdiff.data.styles import COLLECTIONS
from isdiff.io.files import atomic_save
from isdiff.paths import located

T = TypeVar("T")


def pixels_of(image_id: str, size: int) -> np.ndarray:
    return draw(image_id, size).pixels


def attributes_of(image_id: str) -> dict[str, str]:
    return design(image_id)[1]


def caption_of(image_id: str) -> str:
    return COLLECTIONS[image_id.split("-")[0]].caption(attributes_of(image_id))


def in_parallel(title: str, function: Callable[[str], T], ids: list[str], workers: int) -> Iterator[T]:
    with ProcessPoolExecutor(workers) as pool:
        yield from track(pool.map(function, ids, chunksize=64), title, total=len(ids))


def shares(dataset: str, count: int) -> list[tuple[str, int]]:
    """``a+b`` is a mixture of equal parts: each name with its number of images."""
    names = dataset.split("+")
    return [(name, len(range(i, count, len(names)))) for i, name in enumerate(names)]


def leading(dataset: str, count: int, total: int) -> np.ndarray:
    """Where the ``count`` images of a smaller split lie among the ``total`` of a larger one: (count,) indices.

    They are its first ones, but in a mixture the first ones of each part.
    """
    sizes = [n for _, n in shares(dataset, total)]
    starts = np.cumsum([0, *sizes[:-1]])
    return np.concatenate([s + np.arange(n) for s, (_, n) in zip(starts, shares(dataset, count), strict=True)])


def rendered_split(dataset: str, split: str, count: int, size: int, root: Path, workers: int = 2) -> np.ndarray:
    """The first ``count`` images of a split (or of a mixture, ``drawings+landscapes``), (count, H, W, 3) uint8.

    Rendered on first use (about 7 ms an image and core) into ``root/<dataset>/<split>_<count>_<size>.npy``; a single
    dataset comes as a read-only memory map.
    """
    parts = [render(name, split, n, size, Path(root), workers) for name, n in shares(dataset, count)]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def render(dataset: str, split: str, count: int, size: int, root: Path, workers: int) -> np.ndarray:
    path = located(root / dataset / f"{split}_{count}_{size}.npy")
    if not path.exists():
        pixels = np.empty((count, size, size, 3), np.uint8)
        drawn = in_parallel(
            f"drawing {dataset}/{split}", partial(pixels_of, size=size), split_ids(dataset, split, count), workers
        )
        for i, image in enumerate(drawn):
            pixels[i] = image
        atomic_save(path, lambda stream: np.save(stream, pixels))
    return np.load(path, mmap_mode="r")


def split_attributes(dataset: str, split: str, count: int, workers: int = 2) -> list[dict[str, str]]:
    """The attributes of the same images (about 4 ms an image and core, not kept)."""
    return [
        row
        for name, n in shares(dataset, count)
        for row in in_parallel(f"labels of {name}/{split}", attributes_of, split_ids(name, split, n), workers)
    ]
