"""What a metric is, and the intervals around it.

A metric turns two aligned lists of 8-bit images into a *sample*, which can give its value on any selection of images.
Means of per-image distances and distances between sets are then alike to the bootstrap, and two methods can be
compared on the same selections.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

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
        self.results, self.truths, self.n = results, truths, len(results)

    def value(self, chosen: np.ndarray) -> float:
        return frechet_distance(self.results[chosen], self.truths[chosen])


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


class Metric(ABC):
    """Compares results with truths, both lists of (H, W, 3) uint8 images in the same order, or with their prompts.

    Attributes:
        name: key in summaries; names its features and their version if there is more than one.
        title: heading in tables, with an arrow for the better direction.
    """

    name: str
    title: str

    @abstractmethod
    def measure(self, results: list[np.ndarray], truths: list[np.ndarray], prompts: Sequence[str] = ()) -> Sample:
        """
        Raises:
            Unavailable: weights are neither here nor to be had.
        """


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
    """``second - first`` with its interval, paired (see ``paired_differences``)."""
    whole, values, n = paired_differences(first, second, count, ids)
    return Estimate(whole, *interval(values, whole), n)


def paired_differences(
    first: Sample, second: Sample, count: int = 1000, ids: tuple[Sequence[str], Sequence[str]] | None = None
) -> tuple[float, np.ndarray, int]:
    """``second - first`` for two runs over the same images: on all of them, on ``count`` selections, and how many.

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
    return second.value(two) - first.value(one), np.array(values), len(shared)
