"""What models are trained on: drawn images, their attributes and captions, crops of photographs, holes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from PIL import Image
from rich.progress import track
from torch import Tensor

from isdiff.data.images import load_rgb
from isdiff.data.shipped import crop
from isdiff.io.files import atomic_save
from isdiff.masks.generated import ExpandMask, HalfMask, WideMask
from isdiff.paths import located
from training.crops import random_box, require_photos, split_files
from training.drawn import caption_of, design, draw, split_ids

T = TypeVar("T")
Images = Callable[[np.random.Generator, int], np.ndarray]


def to_batch(pixels: np.ndarray) -> Tensor:
    """uint8 (B, H, W, 3) to float32 (B, 3, H, W) in [-1, 1], channels-last in memory."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1


def pixels_of(image_id: str, size: int) -> np.ndarray:
    return draw(image_id, size).pixels


def attributes_of(image_id: str) -> dict[str, str]:
    return design(image_id)[1]


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


def split_captions(dataset: str, count: int, root: Path, workers: int) -> list[str]:
    """Captions of the first training images; made once, kept beside the rendered images."""
    path = located(Path(root) / dataset / f"train_{count}_captions.txt")
    if not path.exists():
        ids = split_ids(dataset, "train", count)
        found = list(in_parallel(f"captions of {dataset}/train", caption_of, ids, workers))
        atomic_save(path, lambda stream: stream.write("\n".join(found).encode()))
    return path.read_text("utf-8").splitlines()


def train_images(cfg) -> np.ndarray:
    """(N, H, W, 3) uint8."""
    return rendered_split(cfg.dataset, "train", cfg.train_images, cfg.image_size, Path(cfg.data_root), cfg.workers)


def random_crops(root: str | Path, split: str, size: int) -> Images:
    """A function of (rng, count) to random crops of the split's photographs, (count, size, size, 3) uint8."""
    files = split_files(root, split)
    require_photos(files)
    photos = [load_rgb(path) for path in files]

    def draw(rng: np.random.Generator, count: int) -> np.ndarray:
        chosen: list[Image.Image] = [photos[i] for i in rng.integers(len(photos), size=count)]
        return np.stack([crop(photo, random_box(rng, *photo.size, size), size) for photo in chosen])

    return draw


def training_images(cfg, split: str, count: int) -> Images:
    """Return a function of (rng, n) to n images of a split, (n, H, W, 3) uint8.

    They are random crops of photographs, or drawings among the first ``count`` of a drawn dataset.
    """
    if cfg.dataset == "photos":
        return random_crops(cfg.data_root, split, cfg.image_size)
    pixels = rendered_split(cfg.dataset, split, count, cfg.image_size, Path(cfg.data_root), cfg.workers)
    return lambda rng, n: np.ascontiguousarray(pixels[np.sort(rng.choice(len(pixels), n, replace=False))])


def mirrored(x: Tensor, rng: np.random.Generator) -> Tensor:
    """Half of the images (B, 3, H, W) mirrored."""
    return torch.where(torch.from_numpy(rng.random(len(x)) < 0.5).view(-1, 1, 1, 1), x.flip(3), x)


def pick(pixels: np.ndarray, count: int, rng: np.random.Generator) -> tuple[np.ndarray, Tensor]:
    """Indices of ``count`` images and the images, (count, 3, H, W) in [-1, 1], half of them mirrored."""
    picked = np.sort(rng.choice(len(pixels), count, replace=False))
    return picked, mirrored(to_batch(np.ascontiguousarray(pixels[picked])).contiguous(), rng)


class Holes:
    """Holes for training: half and its mirror images, expand, LaMa's wide ones, boxes, and everything.

    Args:
        bank: number of wide masks that are drawn in advance.
    """

    def __init__(self, size: int, bank: int = 2000) -> None:
        wide, half = WideMask(seed=7), HalfMask().hole("", size, size)
        self.size = size
        self.wide = np.stack([wide.hole(f"training-{i}", size, size) for i in range(bank)])
        self.fixed = [half, half[:, ::-1], half.T, half.T[::-1], ExpandMask().hole("", size, size)]

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """(size, size) bool, True = generate."""
        kind = rng.random()
        if kind < 0.3:
            return self.wide[rng.integers(len(self.wide))]
        if kind < 0.6:
            return self.fixed[rng.integers(4)]
        if kind < 0.8:
            return self.fixed[4]
        if kind < 0.95:
            return self.box(rng)
        return np.ones((self.size, self.size), bool)

    def box(self, rng: np.random.Generator) -> np.ndarray:
        height, width = rng.integers(self.size // 4, self.size, 2)
        top, left = rng.integers(0, self.size - height + 1), rng.integers(0, self.size - width + 1)
        hole = np.zeros((self.size, self.size), bool)
        hole[top : top + height, left : left + width] = True
        return hole
