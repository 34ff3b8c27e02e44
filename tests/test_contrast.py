"""Verdicts between methods, and whether 95 % intervals cover."""

import numpy as np
import pytest

from isdiff.metrics.contrast import FEW, GAIN, NONE, WORSE, contrast
from isdiff.metrics.intervals import estimate
from isdiff.metrics.kernel import KernelSample
from isdiff.metrics.samples import FrechetSample, MeanSample, frechet_distance

RESAMPLES = 200


def rates(draw, truth: float, trials: int) -> float:
    """Share of trials whose 95 % interval holds the truth."""
    inside = 0
    for trial in range(trials):
        found = draw(np.random.default_rng(trial))
        inside += found.low <= truth <= found.high
    return inside / trials


def test_intervals_of_a_mean_cover():
    """Skewed values, as distances are; 64 images."""
    draw = lambda rng: estimate(MeanSample(rng.lognormal(0, 0.5, 64)), RESAMPLES)  # noqa: E731
    assert 0.90 <= rates(draw, np.exp(0.125), 300) <= 0.99


def test_intervals_of_a_paired_difference_cover():
    def draw(rng):
        images = rng.lognormal(0, 0.5, 64)  # what both methods share
        first, second = (MeanSample(images + shift + rng.normal(0, 0.1, 64)) for shift in (0.0, 0.03))
        return contrast(first, second, RESAMPLES).difference

    assert 0.90 <= rates(draw, 0.03, 300) <= 0.99


def test_intervals_of_a_kernel_distance_cover():
    """KID's estimator is unbiased: its mean over many sets is the distance of the distributions."""

    def sets(rng):
        truths = rng.normal(size=(64, 8))
        return KernelSample(0.5 * truths + rng.normal(0.7, 1.0, (64, 8)), truths)

    everyone = np.arange(64)
    truth = np.mean([sets(np.random.default_rng(10_000 + i)).value(everyone) for i in range(2000)])
    assert 0.88 <= rates(lambda rng: estimate(sets(rng), RESAMPLES), float(truth), 200) <= 0.99


def test_intervals_of_a_frechet_distance_cover_its_expectation():
    """FID depends on the size of the sets; what its interval is of is the distance at this size."""

    def sets(rng):
        truths = rng.normal(size=(96, 4))
        return FrechetSample(truths + rng.normal(0.5, 0.6, (96, 4)), truths)

    many = (sets(np.random.default_rng(9000 + i)) for i in range(1000))
    truth = np.mean([frechet_distance(s.results, s.truths) for s in many])
    assert 0.87 <= rates(lambda rng: estimate(sets(rng), RESAMPLES), float(truth), 150) <= 0.995


@pytest.mark.parametrize(
    ("shift", "higher_is_better", "expected"),
    [(-0.2, False, GAIN), (0.2, False, WORSE), (0.2, True, GAIN), (-0.2, True, WORSE), (0.0, False, NONE)],
)
def test_verdicts_follow_the_interval(shift, higher_is_better, expected):
    rng = np.random.default_rng(3)
    images = rng.lognormal(0, 0.5, 48)
    noise = rng.normal(0, 0.05, 48)
    second = MeanSample(images + shift + noise - noise.mean())
    found = contrast(MeanSample(images), second, 500, higher_is_better=higher_is_better)
    assert found.verdict == expected
    assert (found.p < 0.05) == (expected != NONE)
    assert found.relative == pytest.approx(100 * found.difference.value / images.mean())


def test_few_images_give_no_verdict():
    values = np.linspace(1, 2, 8)
    assert contrast(MeanSample(values), MeanSample(values - 0.5), 200).verdict == FEW


def test_false_alarms_are_rare():
    """Two methods that do not differ are told apart in about 5 % of the trials."""
    alarms = 0
    for trial in range(300):
        rng = np.random.default_rng(trial)
        images = rng.lognormal(0, 0.5, 48)
        first, second = (MeanSample(images + rng.normal(0, 0.1, 48)) for _ in range(2))
        alarms += contrast(first, second, RESAMPLES).verdict != NONE
    assert alarms / 300 <= 0.09
