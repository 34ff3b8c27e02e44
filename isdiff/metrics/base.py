"""What a metric is, and the intervals around it.

A metric's *observer* looks at images, in portions, and gives a value or a feature vector for each: what can be kept.
From these the metric makes a *sample*, which can give its value on any selection of images. Means of per-image
distances and distances between sets are then alike to the bootstrap, and two methods can be compared on the same
selections.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from isdiff.io.fingerprint import remembered_sha256

VERDICT_IMAGES = 16  # a bootstrap over fewer images covers much less than its 95 %


class Unavailable(Exception):
    """A metric cannot run here; the message says what is missing."""


class Sample(ABC):
    """The measured images of one run."""

    n: int

    @abstractmethod
    def value(self, chosen: np.ndarray) -> float:
        """The metric on the images with these positions (repeats allowed)."""


class MeanSample(Sample):
    """Mean of one number per image."""

    def __init__(self, values: np.ndarray) -> None:
        self.values, self.n = values, len(values)

    def value(self, chosen: np.ndarray) -> float:
        return float(self.values[chosen].mean())


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


class SeedsSample(Sample):
    """The same images sampled with several seeds: the mean of the seeds' values, resampled by image."""

    def __init__(self, seeds: Sequence[Sample]) -> None:
        self.seeds, self.n = seeds, seeds[0].n

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


@dataclass(frozen=True)
class Observed:
    """What was seen of N images, in the same order; None where nobody looked.

    Attributes:
        values: (N,), one number for each result with its truth (or its prompt).
        results: (N, D) features of the results.
        truths: (N, D) features of the truths.
    """

    values: np.ndarray | None = None
    results: np.ndarray | None = None
    truths: np.ndarray | None = None


class Observer(ABC):
    """What looks at images, once for all metrics that rest on it: a network as a rule.

    Images are lists of (H, W, 3) uint8. What it says of an image depends on nothing else that it is shown, so that it
    can be shown images in portions, and what it said can be kept.

    Attributes:
        name: of what it has said, in files.
        prompted: whether ``values`` looks at prompts.
    """

    name: str
    prompted: bool = False

    @property
    @abstractmethod
    def version(self) -> str:
        """Its own version and the sha256 of its weights; another version says other things.

        Raises:
            Unavailable: the weights are not here.
        """

    def fetch(self) -> None:  # noqa: B027
        """Get weights that are missing, where that is allowed.

        Raises:
            Unavailable: they are not to be had.
        """

    def require(self, prompts: Sequence[str]) -> None:
        """
        Raises:
            Unavailable: it looks at prompts, and all of these are empty.
        """
        if self.prompted and not any(prompts):
            raise Unavailable("the run has no prompts")

    def values(self, results: list[np.ndarray], truths: list[np.ndarray], prompts: Sequence[str] = ()) -> np.ndarray:
        """(N,), one number for each result with its truth or prompt.

        Raises:
            Unavailable: it can say nothing of such images.
        """
        raise NotImplementedError(f"{self.name} gives no values of pairs")

    def features(self, images: list[np.ndarray]) -> np.ndarray:
        """(N, D), of single images.

        Raises:
            Unavailable: it can say nothing of such images.
        """
        raise NotImplementedError(f"{self.name} gives no features")

    def observe(self, results: list[np.ndarray], truths: list[np.ndarray], prompts: Sequence[str] = ()) -> Observed:
        """``values``, and in the same pass the features that come with them."""
        return Observed(self.values(results, truths, prompts))


class Metric(ABC):
    """Compares results with truths, or with their prompts: looks at them through its observer, and makes a sample of
    what was seen.

    Attributes:
        name: key in summaries and of its file in ``configs/metric``.
        title: heading in tables, with an arrow for the better direction.
        of_sets: whether it takes features of both sets, and not a value for each image.
    """

    name: str
    title: str
    of_sets: bool = False

    @property
    @abstractmethod
    def observer(self) -> Observer:
        """Equal ones look once for all metrics that have them."""

    @property
    def version(self) -> str:
        """
        Raises:
            Unavailable: the observer's weights are not here.
        """
        return self.observer.version

    @abstractmethod
    def sample(self, seen: Observed) -> Sample:
        """From ``values``, or from ``results`` and ``truths`` if it is ``of_sets``."""

    def measure(self, results: list[np.ndarray], truths: list[np.ndarray], prompts: Sequence[str] = ()) -> Sample:
        """The sample of images that are all at hand; nothing is kept.

        Raises:
            Unavailable: weights are neither here nor to be had, or these images cannot be measured.
        """
        look = self.observer
        look.require(prompts)
        look.fetch()
        if self.of_sets:
            return self.sample(Observed(results=look.features(results), truths=look.features(truths)))
        return self.sample(Observed(look.values(results, truths, prompts)))


class MeanMetric(Metric):
    """The mean of the observer's values."""

    def sample(self, seen: Observed) -> Sample:
        assert seen.values is not None
        return MeanSample(seen.values.astype(np.float64))


class PairMetric(MeanMetric, Observer):
    """The mean of ``values``, by a metric that is its own observer and so needs nothing but that method."""

    @property
    def version(self) -> str:
        """To be raised whenever ``values`` gives other numbers."""
        return "1"

    @property
    def observer(self) -> Observer:
        return self


class SetMetric(Metric):
    """A distance between the sets of results and of truths, in the observer's features."""

    of_sets = True

    @abstractmethod
    def between(self, results: np.ndarray, truths: np.ndarray) -> Sample:
        """From two (N, D) float64."""

    def sample(self, seen: Observed) -> Sample:
        assert seen.results is not None and seen.truths is not None
        return self.between(seen.results.astype(np.float64), seen.truths.astype(np.float64))


def version_of(own: str, weights: Sequence[Path]) -> str:
    """An observer's version: its own, and the sha256 of its weights.

    Raises:
        OSError: a file is not here.
    """
    hashes = [remembered_sha256(path) for path in weights]
    whole = hashes[0] if len(hashes) == 1 else hashlib.sha256("\n".join(hashes).encode()).hexdigest()
    return f"{own}-{whole}"


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % bootstrap interval over ``n`` images (see ``interval``)."""

    value: float
    low: float
    high: float
    n: int

    def as_dict(self) -> dict[str, float | None]:
        """For JSON, which has no NaN: what is not known is null."""
        return {key: value if np.isfinite(value) else None for key, value in asdict(self).items()}

    @classmethod
    def of(cls, entries: dict[str, float | None]) -> Estimate:
        """From what ``as_dict`` gave."""
        found = (entries[key] for key in ("value", "low", "high"))
        value, low, high = (float("nan") if number is None else float(number) for number in found)
        return cls(value, low, high, int(entries["n"] or 0))

    def __str__(self) -> str:
        return self.text()

    def text(self, style: str = ".3f") -> str:
        """Value and interval; only the value where no interval is known."""
        if not np.isfinite(self.value):
            return "unknown"
        known = np.isfinite(self.low) and np.isfinite(self.high)
        return f"{self.value:{style}}" + (f" [{self.low:{style}}, {self.high:{style}}]" if known else "")

    @property
    def excludes_zero(self) -> bool:
        """Whether a difference may be called one: its interval leaves zero out and rests on ``VERDICT_IMAGES``."""
        return self.n >= VERDICT_IMAGES and (self.low > 0 or self.high < 0)


def selections(n: int, count: int, seed: int = 0) -> np.ndarray:
    """``count`` bootstrap selections of n images, (count, n); the same for every method, so differences are paired."""
    return np.random.default_rng(seed).integers(n, size=(count, n))


def estimate(sample: Sample, count: int = 1000) -> Estimate:
    """Value and interval of one run."""
    whole = sample.value(np.arange(sample.n))
    values = [sample.value(chosen) for chosen in selections(sample.n, count)] if sample.n > 1 else [np.nan]
    return Estimate(whole, *interval(np.array(values), whole), sample.n)


def interval(values: np.ndarray, whole: float) -> tuple[float, float]:
    """95 % of the resampled values, moved by their bias.

    Resampling repeats images, which makes sets look less alike: a Frechet distance grows by it, a mean does not. Moving
    the interval by the difference between the resamples' mean and the value itself takes that out.
    """
    known = values[np.isfinite(values)]  # a selection of one image over and over has no distance between sets
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.percentile(known - (known.mean() - whole), [2.5, 97.5])
    return float(low), float(high)


def difference(
    first: Sample, second: Sample, count: int = 1000, ids: tuple[Sequence[str], Sequence[str]] | None = None
) -> Estimate:
    """``second - first`` for two runs over the same images, with the interval of the paired difference.

    Args:
        ids: names of the two samples' images: those that both have are paired, in whatever order. Without it the
            samples are of the same images in the same order.
    Raises:
        ValueError: the runs have different numbers of images and no names, or no image in common.
    """
    if ids is None:
        if first.n != second.n:
            raise ValueError(f"cannot pair {first.n} images with {second.n} without their names")
        ids = [str(i) for i in range(first.n)], [str(i) for i in range(second.n)]
    places = [{name: i for i, name in enumerate(names)} for names in ids]
    shared = [name for name in ids[0] if name in places[1]]
    if not shared:
        raise ValueError("the runs have no image in common")
    one, two = (np.array([at[name] for name in shared]) for at in places)
    values = [second.value(two[c]) - first.value(one[c]) for c in selections(len(shared), count)]
    whole = second.value(two) - first.value(one)
    return Estimate(whole, *interval(np.array(values), whole), len(shared))
