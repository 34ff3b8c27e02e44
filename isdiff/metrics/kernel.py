"""Kernel two-sample distance (KID's, Binkowski et al. 2018) as a sample that the bootstrap can ask."""

from __future__ import annotations

import numpy as np

from isdiff.metrics.samples import Statistic

ROWS = 512  # of a kernel matrix that are worked on at once


def polynomial_kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """``(a . b / D + 1) ** 3`` for features (N, D) and (M, D): torch-fidelity's default kernel; (N, M)."""
    kernel = np.empty((len(a), len(b)))
    for start in range(0, len(a), ROWS):  # powers of a whole matrix would need it three times over
        kernel[start : start + ROWS] = (a[start : start + ROWS] @ b.T / a.shape[1] + 1) ** 3
    return kernel


class KernelStatistic(Statistic):
    """The squared maximum mean discrepancy between two sets of features (N, D), unbiased, times ``scale``.

    A bootstrap selection repeats images. A pair of an image with itself says nothing about the distance, so such pairs
    are left out of the two means within a set, as the unbiased estimator does with the diagonal; then resampled values
    are not biased towards alike sets.

    Args:
        paired: result i and truth i are of the same image. They are alike because of it, whatever the two
            distributions are, so such pairs are left out of the mean between the sets as well. False for two sets of
            different images: the estimator of torch-fidelity.

    Of the three kernel matrices two are kept, (N, N) float64: the sum of those within a set, and that between the sets.
    For 5,000 images they take 400 MB.
    """

    has_zero = False  # an unbiased estimate may be on either side of it, and near it in small sets

    def __init__(self, results: np.ndarray, truths: np.ndarray, scale: float = 1.0, paired: bool = True) -> None:
        self.n, self.scale, self.paired = len(results), scale, paired
        self.within = polynomial_kernel(results, results)
        self.within += polynomial_kernel(truths, truths)
        self.between = polynomial_kernel(results, truths)

    def value(self, chosen: np.ndarray) -> float:
        counts = np.bincount(chosen, minlength=self.n).astype(float)
        total = counts.sum()
        pairs = total**2 - (counts**2).sum()
        if pairs <= 0:
            return float("nan")  # fewer than two different images
        alike = (counts @ self.within @ counts - counts**2 @ self.within.diagonal()) / pairs
        across = counts @ self.between @ counts
        own = counts**2 @ self.between.diagonal()
        return float(self.scale * (alike - 2 * ((across - own) / pairs if self.paired else across / total**2)))
