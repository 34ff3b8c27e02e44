"""Seams: how far gradients at the hole's edge are from those of the true image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from isdiff.checks import check_whole
from isdiff.metrics.base import PairMetric


class EdgeGradientError(PairMetric):
    """Gradient error at the hole's edge, times 100: a seam or a smear there makes it large.

    The length of the difference between the gradients of result and truth (forward differences of values in [0, 1]),
    mean over channels and over pixels at most ``width`` from the edge. From 0, the best, to 283; 0 without an edge.

    Args:
        width: pixels on each side of the edge.
    """

    name, title = "edge_error", "edge gradient error x100"
    masked = True

    def __init__(self, width: int = 2) -> None:
        check_whole("width", width)
        self.width = width
        self.revision = f"1-{width}"

    def values(self, results: list[np.ndarray], truths: list[np.ndarray], prompts: Sequence[Any] = ()) -> np.ndarray:
        rows = zip(results, truths, prompts, strict=True)
        return np.array([self.error(result, truth, hole) for result, truth, hole in rows])

    def error(self, result: np.ndarray, truth: np.ndarray, hole: np.ndarray) -> float:
        """Of one result, (H, W, 3) uint8, with its hole (H, W) bool."""
        cells, kernel = hole.astype(np.uint8), np.ones((2 * self.width + 1,) * 2, np.uint8)
        band = cv2.dilate(cells, kernel) > cv2.erode(cells, kernel)
        apart = (result.astype(np.float64) - truth) / 255  # gradients are linear
        down, across = np.diff(apart, axis=0, append=apart[-1:]), np.diff(apart, axis=1, append=apart[:, -1:])
        return float(100 * np.hypot(down, across)[band].mean()) if band.any() else 0.0
