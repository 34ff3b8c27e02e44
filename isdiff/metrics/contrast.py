"""Whether one method differs from another over the same images: difference, interval, p-value, effect and a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from isdiff.metrics.intervals import VERDICT_IMAGES, Estimate, interval, paired_differences
from isdiff.metrics.samples import Sample

GAIN, WORSE, NONE, FEW = "gain confirmed", "worse", "no difference", "too few images"


@dataclass(frozen=True)
class Contrast:
    """
    Attributes:
        difference: second minus first, with its 95 % interval.
        p: two-sided p-value of the paired bootstrap: how often a resampled difference lies on the other side of zero.
        relative: the difference in % of the first one's value on these images, NaN where that says nothing.
        verdict: by the interval alone, in the metric's better direction.
    """

    difference: Estimate
    p: float
    relative: float
    verdict: str


def contrast(
    first: Sample,
    second: Sample,
    count: int = 1000,
    ids: tuple[Sequence[str], Sequence[str]] | None = None,
    higher_is_better: bool = False,
) -> Contrast:
    """``second`` against ``first``, paired over the images that both have (see ``paired_differences``)."""
    whole, values, n, base = paired_differences(first, second, count, ids)
    low, high = interval(values, whole)
    found = Estimate(whole, low, high, n)
    relative = 100 * whole / base if first.has_zero and base > 0 else float("nan")
    return Contrast(found, p_value(values, whole), relative, verdict(found, higher_is_better))


def p_value(values: np.ndarray, whole: float) -> float:
    """From resampled differences, moved by their bias as the interval is; at least 1 / (resamples + 1)."""
    known = values[np.isfinite(values)]
    if not len(known):
        return float("nan")
    moved = known - (known.mean() - whole)
    other = min((moved <= 0).sum(), (moved >= 0).sum())
    return float(min(1.0, 2 * (other + 1) / (len(moved) + 1)))


def verdict(difference: Estimate, higher_is_better: bool = False) -> str:
    if difference.n < VERDICT_IMAGES:
        return FEW
    if not difference.excludes_zero:
        return NONE
    return GAIN if (difference.value > 0) == higher_is_better else WORSE
