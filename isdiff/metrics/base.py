"""What a metric is.

A metric's *extractor* looks at images, in portions, and gives a value or a feature vector for each: what can be kept.
From these the metric makes a statistic (:mod:`isdiff.metrics.samples`).
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from isdiff.io.fingerprint import remembered_sha256
from isdiff.metrics.samples import MeanStatistic, Statistic


class Unavailable(Exception):
    """A metric cannot measure this; the message says why."""


class Absent(Unavailable):
    """The network that it looks with is not here; the message has the command that gets it."""


@dataclass(frozen=True)
class Features:
    """What was seen of N images, in the same order; None where nobody looked."""

    values: np.ndarray | None = None  # (N,), one number for each result with its truth (or its prompt)
    results: np.ndarray | None = None  # (N, D) features of the results
    truths: np.ndarray | None = None  # (N, D) features of the truths


class FeatureExtractor(ABC):
    """What looks at images, once for all metrics that rest on it: a network as a rule.

    Images are lists of (H, W, 3) uint8. What it says of an image depends on nothing else that it is shown, so that it
    can be shown images in portions, and what it said can be kept. Its methods raise ``Unavailable`` for images of
    which it can say nothing, and where its weights are not here.
    """

    name: str  # of what it has said, in files
    revision: str = "1"  # to be raised whenever it says other things of the same images
    prompted: bool = False  # whether ``values`` looks at prompts
    masked: bool = False  # whether it takes holes, (H, W) bool, in their place

    def weights(self) -> Sequence[Path]:
        """The files that it looks with; raises ``Absent`` where they are not here."""
        return ()

    @property
    def version(self) -> str:
        """Its ``revision`` and the sha256 of its weights; another version says other things."""
        hashes = [remembered_sha256(path) for path in self.weights()]
        whole = hashes[0] if len(hashes) == 1 else hashlib.sha256("\n".join(hashes).encode()).hexdigest()
        return f"{self.revision}-{whole}" if hashes else self.revision

    def require(self, prompts: Sequence[Any]) -> None:
        """Raise ``Unavailable`` if it looks at prompts and all of these are empty."""
        if self.prompted and not any(prompts):
            raise Unavailable("the run has no prompts")

    def extract(self, results: list[np.ndarray], truths: list[np.ndarray], prompts: Sequence[Any] = ()) -> Features:
        """A value for each result with its truth or prompt, and the features that the same pass gives."""
        raise NotImplementedError(f"{self.name} gives no values of pairs")

    def features(self, images: list[np.ndarray]) -> np.ndarray:
        """(N, D), of single images."""
        raise NotImplementedError(f"{self.name} gives no features")


class Metric(ABC):
    """Compares results with truths or prompts: makes a statistic of what its extractor sees of them.

    Attributes:
        name: key in summaries and of its file in ``configs/metric``.
        title: what people read.
        extractor: what looks for it; equal ones look once for all metrics that have them.
        higher_is_better: its better direction.
        of_sets: whether it takes features of both sets, and not a value for each image.
    """

    name: str
    title: str
    extractor: FeatureExtractor
    higher_is_better: bool = False
    of_sets: bool = False

    @property
    def heading(self) -> str:
        """The title with an arrow for the better direction."""
        return f"{self.title} {'↑' if self.higher_is_better else '↓'}"

    @property
    def version(self) -> str:
        """The extractor's, unless the metric has one of its own."""
        return self.extractor.version

    @abstractmethod
    def sample(self, seen: Features) -> Statistic:
        """From ``values``, or from ``results`` and ``truths`` if it is ``of_sets``."""

    def measure(self, results: list[np.ndarray], truths: list[np.ndarray], prompts: Sequence[Any] = ()) -> Statistic:
        """The statistic of images that are all at hand; nothing is kept."""
        look = self.extractor
        look.require(prompts)
        if self.of_sets:
            return self.sample(Features(results=look.features(results), truths=look.features(truths)))
        return self.sample(look.extract(results, truths, prompts))


class MeanMetric(Metric):
    """The mean of the extractor's values, distances unless the metric has other limits."""

    limits: tuple[float, float] = (0.0, np.inf)

    def sample(self, seen: Features) -> Statistic:
        assert seen.values is not None
        return MeanStatistic(seen.values.astype(np.float64), self.limits)


class PairMetric(FeatureExtractor, MeanMetric):
    """The mean of ``values``, by a metric that is its own extractor and so needs nothing but that method."""

    @property
    def extractor(self) -> FeatureExtractor:  # type: ignore[override]
        return self

    @abstractmethod
    def values(self, results: list[np.ndarray], truths: list[np.ndarray], prompts: Sequence[Any] = ()) -> np.ndarray:
        """(N,), one number for each result with its truth or prompt."""

    def extract(self, results: list[np.ndarray], truths: list[np.ndarray], prompts: Sequence[Any] = ()) -> Features:
        """The values; no features come with them."""
        return Features(self.values(results, truths, prompts))


class SetMetric(Metric):
    """A distance between the sets of results and of truths, in the extractor's features."""

    of_sets = True

    @abstractmethod
    def between(self, results: np.ndarray, truths: np.ndarray) -> Statistic:
        """From two (N, D) float64."""

    def sample(self, seen: Features) -> Statistic:
        assert seen.results is not None and seen.truths is not None
        return self.between(seen.results.astype(np.float64), seen.truths.astype(np.float64))
