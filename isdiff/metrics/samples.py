"""The measured images of a run as a statistic, which can give its value on any selection of images.

Means of per-image distances and distances between sets are then alike to the bootstrap, and two methods can be compared
on the same selections.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path

import numpy as np

from isdiff.io.files import atomic_save

KEPT_FROM = 500  # images, from which on a decomposition takes longer than reading it
ROWS = 512  # of a kernel matrix that are worked on at once


class Statistic(ABC):
    """The measured images of one run."""

    n: int  # how many
    # (n,) whole numbers, equal for images that are not independent of each other, such as crops of one photograph;
    # None where all are
    groups: np.ndarray | None = None
    has_zero: bool = True  # whether the metric's zero means something, so that one can speak of shares of a value
    limits: tuple[float, float] = (-np.inf, np.inf)  # the smallest and the largest value that there can be
    folder: Path | None = None  # where to keep what takes long to compute; None for nowhere

    @abstractmethod
    def value(self, chosen: np.ndarray) -> float:
        """The metric on the images with these positions (repeats allowed)."""

    def resample(self, chosen: np.ndarray) -> float:
        """The metric on a bootstrap selection, up to a constant; as ``value`` where nothing faster is known."""
        return self.value(chosen)


class MeanStatistic(Statistic):
    """Mean of one number per image; of distances unless other limits are given."""

    def __init__(self, values: np.ndarray, limits: tuple[float, float] = (0.0, np.inf)) -> None:
        self.values, self.n, self.limits = values, len(values), limits

    def value(self, chosen: np.ndarray) -> float:
        return float(self.values[chosen].mean())


class FrechetStatistic(Statistic):
    """Frechet distance between Gaussians fitted to two sets of features, each (N, D) (Heusel et al. 2017).

    With (N, K, D), each image has K features, and is resampled with all of them.

    It is resampled to first order, with each image's influence on the distance (the infinitesimal jackknife, Efron
    1982). That takes one decomposition for all resamples. It is also nearer to the truth than exact resampling where
    N is not far above D: resamples repeat images, which makes covariances of less rank.
    """

    limits = (0.0, np.inf)

    def __init__(self, results: np.ndarray, truths: np.ndarray) -> None:
        middle = truths.mean(tuple(range(truths.ndim - 1)))  # a common shift changes nothing; small numbers are exact
        self.results, self.truths, self.n = results - middle, truths - middle, len(results)

    def value(self, chosen: np.ndarray) -> float:
        if np.array_equal(chosen, np.arange(self.n)):
            return float(self.terms[0])
        return frechet_distance(self.results[chosen], self.truths[chosen])

    def resample(self, chosen: np.ndarray) -> float:
        return float(self.terms[0] + self.terms[1:][chosen].mean())

    @cached_property
    def terms(self) -> np.ndarray:
        """``frechet_terms`` of all images, from ``folder`` where they are there."""
        if self.folder is None or self.n < KEPT_FROM:
            return frechet_terms(self.results, self.truths)
        digest = hashlib.sha256(self.results.tobytes() + self.truths.tobytes()).hexdigest()[:32]
        path = self.folder / f"frechet-{digest}.npy"
        with suppress(OSError, ValueError):
            found = np.load(path, allow_pickle=False)
            if found.shape == (self.n + 1,):
                return np.asarray(found)
        terms = frechet_terms(self.results, self.truths)
        atomic_save(path, lambda stream: np.save(stream, terms))
        return terms


class SeedsStatistic(Statistic):
    """The same images sampled with several seeds: the mean of the seeds' values, resampled by image."""

    def __init__(self, seeds: Sequence[Statistic]) -> None:
        self.seeds, self.n, self.groups, self.has_zero = seeds, seeds[0].n, seeds[0].groups, seeds[0].has_zero
        self.limits = seeds[0].limits

    def value(self, chosen: np.ndarray) -> float:
        return float(np.mean([sample.value(chosen) for sample in self.seeds]))

    def resample(self, chosen: np.ndarray) -> float:
        return float(np.mean([sample.resample(chosen) for sample in self.seeds]))

    def spread(self) -> float:
        """Standard deviation between seeds; 0 for one seed."""
        values = [sample.value(np.arange(self.n)) for sample in self.seeds]
        return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """``|mean_a - mean_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2))`` for features (N, D) of two sets of one size."""
    return float(frechet_terms(a, b)[0])


def frechet_terms(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The Frechet distance of two sets of features (N, D), then the influence of each of the N pairs on it; (N + 1,).

    With (N, K, D), the influence of an image is the mean of its K.

    The trace of the root is the sum of the singular values of ``A B^T / (N - 1)`` for centred features, which needs no
    root of a matrix; whichever of N and D is smaller sets the cost. With ``A B^T = U S V^T`` the sum changes by
    ``((U S U^T)_ii + (V S V^T)_ii) / 2`` with the weight of pair i.
    """
    images = len(a)
    a, b = (features.reshape(-1, features.shape[-1]) for features in (a, b))
    apart, free = a.mean(0) - b.mean(0), max(1, len(a) - 1)
    a, b = a - a.mean(0), b - b.mean(0)
    if a.shape[1] < len(a):  # QR leaves a problem of D x D
        (basis_a, small_a), (basis_b, small_b) = np.linalg.qr(a), np.linalg.qr(b)
        left, singular, right = np.linalg.svd(small_a @ small_b.T)
        left, right = basis_a @ left, right @ basis_b.T
    else:
        left, singular, right = np.linalg.svd(a @ b.T)
    variances = (a**2).sum(1) + (b**2).sum(1)
    influence = variances - (left**2 + right.T**2) @ singular + 2 * (a - b) @ apart
    value = (apart**2).sum() + (variances.sum() - 2 * singular.sum()) / free
    return np.concatenate([[value], (influence - influence.mean()).reshape(images, -1).mean(1)])


def polynomial_kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """``(a . b / D + 1) ** 3`` for features (N, D) and (M, D): torch-fidelity's default kernel; (N, M)."""
    kernel = np.empty((len(a), len(b)))
    for start in range(0, len(a), ROWS):  # powers of a whole matrix would need it three times over
        kernel[start : start + ROWS] = (a[start : start + ROWS] @ b.T / a.shape[1] + 1) ** 3
    return kernel


def gaussian_kernel(a: np.ndarray, b: np.ndarray, width: float = 10.0) -> np.ndarray:
    """``exp(-|a - b|^2 / (2 width^2))`` for features (N, D) and (M, D): CMMD's kernel; (N, M)."""
    squared = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
    return np.exp(-squared / (2 * width**2))


class KernelStatistic(Statistic):
    """The squared maximum mean discrepancy between two sets of features (N, D), unbiased, times ``scale``.

    A bootstrap selection repeats images. A pair of an image with itself says nothing about the distance, so such pairs
    are left out of the two means within a set, as the unbiased estimator does with the diagonal; then resampled values
    are not biased towards alike sets.

    Args:
        paired: result i and truth i are of the same image. They are alike because of it, whatever the two
            distributions are, so such pairs are left out of the mean between the sets as well. False for two sets of
            different images: the estimator of torch-fidelity.
        kernel: from (N, D) and (M, D) to (N, M).

    Of the three kernel matrices two are kept, (N, N) float64: the sum of those within a set, and that between the sets.
    For 5,000 images they take 400 MB.
    """

    has_zero = False  # an unbiased estimate may be on either side of it, and near it in small sets

    def __init__(
        self, results: np.ndarray, truths: np.ndarray, scale: float = 1.0, paired: bool = True,
        kernel: Callable[[np.ndarray, np.ndarray], np.ndarray] = polynomial_kernel,
    ) -> None:  # fmt: skip
        self.n, self.scale, self.paired = len(results), scale, paired
        self.within = kernel(results, results)
        self.within += kernel(truths, truths)
        self.between = kernel(results, truths)

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
