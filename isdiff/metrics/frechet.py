"""Frechet distance between sets of features (FID's, Heusel et al. 2017) as a sample that the bootstrap can ask."""

from __future__ import annotations

import numpy as np

from isdiff.metrics.base import Sample


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """``|mean_a - mean_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2))`` for features (N, D), (M, D).

    The trace of the root is the sum of the singular values of ``A B^T`` for centred and scaled features, which needs
    no root of a matrix; whichever of N and D is smaller sets the cost.
    """
    mean_a, mean_b = a.mean(0), b.mean(0)
    a, b = (a - mean_a) / np.sqrt(max(1, len(a) - 1)), (b - mean_b) / np.sqrt(max(1, len(b) - 1))
    variance = (a**2).sum() + (b**2).sum()
    if a.shape[1] < len(a):  # the R of a QR gives the same singular values in D x D
        a, b = np.asarray(np.linalg.qr(a, mode="r")), np.asarray(np.linalg.qr(b, mode="r"))
    trace = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    return float(((mean_a - mean_b) ** 2).sum() + variance - 2 * trace)


class FrechetSample(Sample):
    """Frechet distance between Gaussians fitted to two sets of features, each (N, D) (Heusel et al. 2017)."""

    def __init__(self, results: np.ndarray, truths: np.ndarray) -> None:
        middle = truths.mean(0)  # a common shift changes nothing, and small numbers lose no digits
        self.results, self.truths, self.n = results - middle, truths - middle, len(results)
        self.few = len(results) <= results.shape[1]
        if self.few:
            self.between = self.results @ self.truths.T
            self.within = self.results @ self.results.T + self.truths @ self.truths.T

    def value(self, chosen: np.ndarray) -> float:
        return self.of_products(chosen) if self.few else frechet_distance(self.results[chosen], self.truths[chosen])

    def of_products(self, chosen: np.ndarray) -> float:
        """``frechet_distance``, which takes nothing but the products of features: those of all images are known, and an
        image that was chosen several times is one row with a weight."""
        times = np.bincount(chosen, minlength=self.n)
        (places,) = times.nonzero()
        n, counts = len(chosen), times[places]
        share, block = counts / n, np.ix_(places, places)
        between, within = self.between[block], self.within[block]
        by_row, by_column = between @ share, share @ between
        of_means, means = share @ within @ share, share @ by_row  # |mean_a|^2 + |mean_b|^2 and mean_a . mean_b
        weights, spread = np.sqrt(counts), max(1, n - 1)
        centred = weights[:, None] * (between - by_row[:, None] - by_column + means) * weights
        trace = np.linalg.svd(centred, compute_uv=False).sum() / spread
        variance = (counts @ within.diagonal() - n * of_means) / spread
        return float(of_means - 2 * means + variance - 2 * trace)
