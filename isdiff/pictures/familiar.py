"""Whether a picture is of a kind that a model knows: how it looks beside images of the model's own dataset.

``benchmarks/familiar.py`` measures a model's images once and writes ``familiar.json`` beside its weights. The check
needs no network, draws no noise and changes no result. (The network's error at single noise levels does not tell the
kinds apart: flat pictures are easy for every model.)
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from isdiff.io.fingerprint import weights_fingerprint
from isdiff.paths import located

FILE = "familiar.json"
LEAST = 256  # known pixels at the model's size; fewer say nothing
FLAT = 16.0  # standard deviation of gray values, of 255; below it a picture shows next to nothing
FEATURES = 8
STILL = 0.4  # a step from a pixel to the next that is less is none


@dataclass(frozen=True)
class FamiliarImages:
    """How a model's own images measure.

    Attributes:
        weights: fingerprint of those beside which it was written; for others nothing is said.
        mean: (K,) of :func:`looks`.
        whitening: (K, K), makes the spread of the model's images 1 in every direction.
        limit: distance from the mean beyond which a picture is far.
    """

    weights: str
    mean: list[float]
    whitening: list[list[float]]
    limit: float

    def distance(self, found: np.ndarray) -> np.ndarray:
        """(..., K) to (...): above 1 is far."""
        return np.linalg.norm((found - np.array(self.mean)) @ np.array(self.whitening).T, axis=-1) / self.limit

    def is_far(self, pixels: np.ndarray, hole: np.ndarray, size: int) -> bool:
        found = looks(pixels, hole, size)
        return found is not None and bool(self.distance(found) > 1)


def known_of(weights: str) -> FamiliarImages | None:
    """Read what is noted beside a file of weights, or in a folder; None where there is nothing, or of other weights."""
    path = located(weights)
    file = path / FILE if path.is_dir() else path.with_name(FILE)
    known = read(file) if file.is_file() else None
    return known if known and known.weights == weights_fingerprint(weights) else None


@lru_cache
def read(file: Path) -> FamiliarImages | None:
    try:
        known = FamiliarImages(**json.loads(file.read_text("utf-8")))
        return known if np.isfinite(known.distance(np.zeros(FEATURES))) else None
    except (OSError, ValueError, TypeError, ArithmeticError):  # it only advises
        return None


def looks(pixels: np.ndarray, hole: np.ndarray, size: int) -> np.ndarray | None:
    """Measure how a picture looks where it is known, (K,); None where little is known or shown.

    Steps between neighbours (their mean, how many are none, how much larger the large ones are), what is left without
    them (fine noise), colourfulness, the number of different colours, brightness and contrast.

    Args:
        pixels: (H, W, 3) uint8.
        hole: (H, W) bool; what is under it does not count.
        size: pictures are reduced until their shorter side is so long.
    """
    small, seen = reduce(pixels, hole, size)
    if seen.sum() < LEAST:
        return None
    gray = small.mean(2)
    colours = small[seen]
    if (contrast := float(gray[seen].std())) < FLAT:
        return None
    right, down = np.abs(np.diff(gray, axis=1)), np.abs(np.diff(gray, axis=0))
    steps = np.concatenate([right[seen[:, 1:] & seen[:, :-1]], down[seen[1:] & seen[:-1]]])
    if len(steps) < LEAST:
        return None
    fine = np.abs(cv2.Laplacian(gray, cv2.CV_32F))[cv2.erode(seen.astype(np.uint8), np.ones((3, 3))) > 0]
    different = len(np.unique((colours // 16).astype(np.uint8), axis=0)) / len(colours)
    mean = float(steps.mean())
    return np.array(
        [
            np.log(mean + 0.1),
            np.sqrt((steps <= STILL).mean()),
            np.log((np.quantile(steps, 0.95) + 0.1) / (mean + 0.1)),
            np.log(np.median(fine) + 0.5) if fine.size else np.log(mean + 0.5),
            (colours.max(1) - colours.min(1)).mean() / 255,
            np.log(different),
            colours.mean() / 255,
            np.log(contrast),
        ]
    )


def reduce(pixels: np.ndarray, hole: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Reduce it to (h, w, 3) float32 with a shorter side of at most ``size``, and where it is known, (h, w) bool."""
    values = np.where(hole[..., None], 0, pixels).astype(np.float32)
    factor = size / min(hole.shape)
    if factor >= 1:
        return values, ~hole
    shape = [max(1, round(side * factor)) for side in hole.shape[::-1]]
    share = cv2.resize((~hole).astype(np.float32), shape, interpolation=cv2.INTER_AREA)
    small = cv2.resize(values, shape, interpolation=cv2.INTER_AREA) / np.maximum(share, 1e-6)[..., None]
    return small, share > 0.99
