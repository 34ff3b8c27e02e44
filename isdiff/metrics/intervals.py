"""The bootstrap over images: intervals of a run's value, and whether one method differs from another."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import Enum

import numpy as np

from isdiff.metrics.samples import Statistic

KNOWN = 0.7  # share of resamples that must have a value, or what they say of its spread is chance
VERDICT_IMAGES = 16  # a bootstrap over fewer images covers less than its 95 %


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
    def of(cls, entries: dict[str, float | None]) -> "Estimate":
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


def selections(n: int, count: int, groups: np.ndarray | None = None, seed: int = 0) -> Sequence[np.ndarray]:
    """Draw ``count`` bootstrap selections of n images; the same for every method, so differences are paired.

    With ``groups`` (n,), whole groups are drawn, as many as there are: of images that belong together all or none.
    """
    rng = np.random.default_rng(seed)
    if groups is None:
        return list(rng.integers(n, size=(count, n)))
    _, numbers = np.unique(groups, return_inverse=True)
    members = [np.flatnonzero(numbers == number) for number in range(numbers.max() + 1)]
    return [np.concatenate([members[i] for i in rng.integers(len(members), size=len(members))]) for _ in range(count)]


def estimate(sample: Statistic, count: int = 1000) -> Estimate:
    """Measure one run: value and interval."""
    whole = sample.value(np.arange(sample.n))
    drawn = selections(sample.n, count, sample.groups) if sample.n > 1 else []
    values = [sample.resample(chosen) for chosen in drawn] or [np.nan]
    moved = correct(np.array(values), whole, independent(sample.n, sample.groups))
    value, low, high = np.clip([whole, *interval(moved)], *sample.limits).tolist()
    return Estimate(value, low, high, sample.n)


def independent(n: int, groups: np.ndarray | None) -> int:
    """Count how many of n images are independent of each other."""
    return n if groups is None else len(np.unique(groups))


def correct(values: np.ndarray, whole: float, count: int) -> np.ndarray:
    """Free resampled values of the two faults of a bootstrap over ``count`` independent images.

    Resampling repeats images, which can make sets look less alike; a mean does not change by it. The
    difference between the resamples' mean and the value itself is taken off. And resamples of few images vary too
    little: they are spread by what a t interval of a mean has over a bootstrap's (Hesterberg 2015, section 4.3).
    """
    from scipy.stats import norm, t  # which takes a while, and a run's hash needs none of it

    known = values[np.isfinite(values)]  # a selection of one image over and over has no distance between sets
    if len(known) < KNOWN * len(values) or count < 2:
        return known[:0]
    spread = np.sqrt(count / (count - 1)) * t.ppf(0.975, count - 1) / norm.ppf(0.975)
    return whole + (known - known.mean()) * spread


def interval(corrected: np.ndarray) -> tuple[float, float]:
    """Return the middle 95 % of ``corrected`` values; it leaves zero out where ``p_value`` is at most 0.05.

    Of fewer than 39 resamples it is all of them, which is less than 95 %.
    """
    if not len(corrected):
        return float("nan"), float("nan")
    outside = max(1, int(0.025 * (len(corrected) + 1)))
    ordered = np.sort(corrected)
    return float(ordered[outside - 1]), float(ordered[-outside])


class Verdict(str, Enum):
    """What a contrast says, in words."""

    GAIN = "gain confirmed"
    WORSE = "worse"
    NONE = "no difference"
    FEW = "too few images"

    __str__ = str.__str__


@dataclass(frozen=True)
class Contrast:
    """One method against another."""

    difference: Estimate  # second minus first, with its 95 % interval
    # two-sided p-value of the paired bootstrap: how often a resampled difference lies on the other side of zero
    p: float
    relative: float  # the difference in % of the first one's value on these images, NaN where that says nothing
    verdict: Verdict  # by the interval alone, in the metric's better direction


def contrast(
    first: Statistic, second: Statistic, count: int = 1000, ids: tuple[Sequence[str], Sequence[str]] | None = None,
    higher_is_better: bool = False,
) -> Contrast:  # fmt: skip
    """Compare ``second`` with ``first`` on the images that both have, on ``count`` selections of them.

    ``ids`` name the two runs' images, in whatever order; without them the images are the same, in the same order.
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
