"""Kernel two-sample distance (KID's, Binkowski et al. 2018) as a sample that the bootstrap can ask."""

from __future__ import annotations

import numpy as np

from isdiff.metrics.base import Sample


def polynomial_kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """``(a . b / D + 1) ** 3`` for features (N, D) and (M, D): torch-fidelity's default kernel; (N, M)."""
    return (a @ b.T / a.shape[1] + 1) ** 3


class KernelSample(Sample):
    """The squared maximum mean discrepancy between two sets of features (N, D), unbiased, times ``scale``.

    A bootstrap selection repeats images. A pair of an image with itself says nothing about the distance, so such pairs
    are left out of the two means within a set, as the unbiased estimator does with the diagonal; then resampled values
    are not biased towards alike sets.
    """

    def __init__(self, results: np.ndarray, truths: np.ndarray, scale: float = 1.0) -> None:
        self.n, self.scale = len(results), scale
        self.within = [polynomial_kernel(x, x) for x in (results, truths)]
        self.between = polynomial_kernel(results, truths)

    def value(self, chosen: np.ndarray) -> float:
        counts = np.bincount(chosen, minlength=self.n).astype(float)
        total = counts.sum()
        pairs = total**2 - (counts**2).sum()
        if pairs <= 0:
            return float("nan")  # fewer than two different images
        alike = sum(counts @ k @ counts - (counts**2 * k.diagonal()).sum() for k in self.within) / pairs
        return float(self.scale * (alike - 2 * (counts @ self.between @ counts) / total**2))
