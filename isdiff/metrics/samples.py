"""The measured images of a run as a *sample*, which can give its value on any selection of images.

Means of per-image distances and distances between sets are then alike to the bootstrap, and two methods can be compared
on the same selections.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np


class Statistic(ABC):
    """The measured images of one run.

    Attributes:
        n: how many.
        groups: (n,) whole numbers, equal for images that are not independent of each other, such as crops of one
            photograph; None where all are.
        has_zero: whether the metric's zero means something, so that one can speak of shares of a value.
        limits: the smallest and the largest value that there can be.
    """

    n: int
    groups: np.ndarray | None = None
    has_zero: bool = True
    limits: tuple[float, float] = (-np.inf, np.inf)

    @abstractmethod
    def value(self, chosen: np.ndarray) -> float:
        """The metric on the images with these positions (repeats allowed)."""


class MeanStatistic(Statistic):
    """Mean of one number per image; of distances unless other limits are given."""

    def __init__(self, values: np.ndarray, limits: tuple[float, float] = (0.0, np.inf)) -> None:
        self.values, self.n, self.limits = values, len(values), limits

    def value(self, chosen: np.ndarray) -> float:
        return float(self.values[chosen].mean())


class FrechetStatistic(Statistic):
    """Frechet distance between Gaussians fitted to two sets of features, each (N, D) (Heusel et al. 2017)."""

    limits = (0.0, np.inf)

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
        """``frechet_distance`` from the products of features, which is all that it takes.

        The products of all images are known; an image that was chosen several times is one row with a weight.
        """
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


class SeedsStatistic(Statistic):
    """The same images sampled with several seeds: the mean of the seeds' values, resampled by image."""

    def __init__(self, seeds: Sequence[Statistic]) -> None:
        self.seeds, self.n, self.groups, self.has_zero = seeds, seeds[0].n, seeds[0].groups, seeds[0].has_zero
        self.limits = seeds[0].limits

    def value(self, chosen: np.ndarray) -> float:
        return float(np.mean([sample.value(chosen) for sample in self.seeds]))

    def spread(self) -> float:
        """Standard deviation between seeds; 0 for one seed."""
        values = [sample.value(np.arange(self.n)) for sample in self.seeds]
        return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


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
