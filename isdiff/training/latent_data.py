"""What the parts of a latent model are trained on: images, captions, holes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from isdiff.data.splits import rendered_split
from isdiff.io.files import atomic_save
from isdiff.masks.fixed import ExpandMask, HalfMask
from isdiff.masks.wide import WideMask
from isdiff.paths import located
from isdiff.training.health import to_batch


def split_captions(dataset: str, count: int, root: Path, workers: int) -> list[str]:
    """Captions of the first training images; made once, kept beside the rendered images."""
    from isdiff.data.splits import caption_of, in_parallel, split_ids

    path = located(Path(root) / dataset / f"train_{count}_captions.txt")
    if not path.exists():
        found = list(
            in_parallel(f"captions of {dataset}/train", caption_of, split_ids(dataset, "train", count), workers)
        )
        atomic_save(path, lambda stream: stream.write("\n".join(found).encode()))
    return path.read_text("utf-8").splitlines()


def train_images(cfg) -> np.ndarray:
    """(N, H, W, 3) uint8."""
    return rendered_split(cfg.dataset, "train", cfg.train_images, cfg.image_size, Path(cfg.data_root), cfg.workers)


def pick(pixels: np.ndarray, count: int, rng: np.random.Generator) -> tuple[np.ndarray, Tensor]:
    """Indices of ``count`` images and the images, (count, 3, H, W) in [-1, 1], half of them mirrored."""
    picked = np.sort(rng.choice(len(pixels), count, replace=False))
    x = to_batch(np.ascontiguousarray(pixels[picked])).contiguous()
    return picked, torch.where(torch.from_numpy(rng.random(count) < 0.5).view(-1, 1, 1, 1), x.flip(3), x)


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
