"""Whether one method differs from another over the same images: difference, interval, p-value, effect and a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from isdiff.metrics.intervals import VERDICT_IMAGES, Estimate, interval, paired_differences
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
    """``second`` against ``first``, paired over the images that both have (see ``paired_differences``)."""
    whole, values, n, base = paired_differences(first, second, count, ids)
    found = Estimate(whole, *interval(values), n)
    relative = 100 * whole / base if first.has_zero and base > 0 else float("nan")
    return Contrast(found, p_value(values), relative, verdict(found, higher_is_better))


def p_value(corrected: np.ndarray) -> float:
    """Two-sided, from resampled differences as the interval takes them; at least 2 / (resamples + 1)."""
    if not len(corrected):
        return float("nan")
    other = min((corrected <= 0).sum(), (corrected >= 0).sum())
    return float(min(1.0, 2 * (other + 1) / (len(corrected) + 1)))


def verdict(difference: Estimate, higher_is_better: bool = False) -> Verdict:
    """By the interval of a difference."""
    if difference.n < VERDICT_IMAGES:
        return Verdict.FEW
    if not difference.excludes_zero:
        return Verdict.NONE
    return Verdict.GAIN if (difference.value > 0) == higher_is_better else Verdict.WORSE
