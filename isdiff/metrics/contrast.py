"""Whether one method differs from another over the same images: difference, interval, p-value, effect and a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from isdiff.metrics.intervals import VERDICT_IMAGES, Estimate, correct, independent, interval, selections
from isdiff.metrics.samples import Statistic


class Verdict(str, Enum):
    """What a contrast says, in words."""

    GAIN = "gain confirmed"
    WORSE = "worse"
    NONE = "no difference"
    FEW = "too few images"

    __str__ = str.__str__


@dataclass(frozen=True)
class Contrast:
    """One method against another.

    Attributes:
        difference: second minus first, with its 95 % interval.
        p: two-sided p-value of the paired bootstrap: how often a resampled difference lies on the other side of zero.
        relative: the difference in % of the first one's value on these images, NaN where that says nothing.
        verdict: by the interval alone, in the metric's better direction.
    """

    difference: Estimate
    p: float
    relative: float
    verdict: Verdict


def contrast(
    first: Statistic,
    second: Statistic,
    count: int = 1000,
    ids: tuple[Sequence[str], Sequence[str]] | None = None,
    higher_is_better: bool = False,
) -> Contrast:
    """Compare ``second`` with ``first`` on the images that both have, on ``count`` selections of them.

    Args:
        ids: names of the two runs' images, in whatever order. Without it the runs are of the same images in the same
            order.
    Raises:
        ValueError: the runs have different numbers of images and no names, or no image in common.
    """
    if ids is None and first.n != second.n:
        raise ValueError(f"cannot pair {first.n} images with {second.n} without their names")
    names, others = ids or (range(first.n), range(second.n))
    at = {name: i for i, name in enumerate(others)}
    shared = [(i, at[name]) for i, name in enumerate(names) if name in at]
    if not shared:
        raise ValueError("the runs have no image in common")
    one, two = np.array(shared).T
    groups = None if first.groups is None else first.groups[one]
    values = [second.resample(two[c]) - first.resample(one[c]) for c in selections(len(shared), count, groups)]
    base = first.value(one)
    whole = second.value(two) - base
    corrected = correct(np.array(values), whole, independent(len(shared), groups))
    found = Estimate(whole, *interval(corrected), len(shared))
    relative = 100 * whole / base if first.has_zero and base > 0 else float("nan")
    return Contrast(found, p_value(corrected), relative, verdict(found, higher_is_better))


def p_value(corrected: np.ndarray) -> float:
    """Return the two-sided p-value of resampled differences; at least 2 / (resamples + 1)."""
    if not len(corrected):
        return float("nan")
    other = min((corrected <= 0).sum(), (corrected >= 0).sum())
    return float(min(1.0, 2 * (other + 1) / (len(corrected) + 1)))


def verdict(difference: Estimate, higher_is_better: bool) -> Verdict:
    """Judge by the interval of a difference."""
    if difference.n < VERDICT_IMAGES:
        return Verdict.FEW
    if not difference.excludes_zero:
        return Verdict.NONE
    return Verdict.GAIN if (difference.value > 0) == higher_is_better else Verdict.WORSE
