"""Verdicts between methods, and whether 95 % intervals cover."""

import numpy as np
import pytest

from isdiff.metrics.intervals import Verdict, contrast, estimate
from isdiff.metrics.samples import FrechetStatistic, KernelStatistic, MeanStatistic, frechet_distance

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
    draw = lambda rng: estimate(MeanStatistic(rng.lognormal(0, 0.5, 64)), RESAMPLES)  # noqa: E731
    assert 0.90 <= rates(draw, np.exp(0.125), 300) <= 0.99


def test_intervals_of_a_paired_difference_cover():
    def draw(rng):
        images = rng.lognormal(0, 0.5, 64)  # what both methods share
        first, second = (MeanStatistic(images + shift + rng.normal(0, 0.1, 64)) for shift in (0.0, 0.03))
        return contrast(first, second, RESAMPLES).difference

    assert 0.90 <= rates(draw, 0.03, 300) <= 0.99


def test_intervals_of_a_kernel_distance_cover():
    """KID's estimator is unbiased: its mean over many sets is the distance of the distributions."""

    def sets(rng):
        truths = rng.normal(size=(64, 8))
        return KernelStatistic(0.5 * truths + rng.normal(0.7, 1.0, (64, 8)), truths)

    everyone = np.arange(64)
    truth = np.mean([sets(np.random.default_rng(10_000 + i)).value(everyone) for i in range(2000)])
    assert 0.88 <= rates(lambda rng: estimate(sets(rng), RESAMPLES), float(truth), 200) <= 0.99


def test_two_images_give_a_kernel_distance_no_interval():
    found = estimate(KernelStatistic(np.eye(2, 8), np.ones((2, 8))), 1000)
    assert np.isfinite(found.value) and np.isnan(found.low) and np.isnan(found.high)


def test_kid_does_not_see_that_a_result_is_of_its_truth():
    """Results that keep half of their truth are as far from the truths as from others of the same distribution."""
    everyone, found = np.arange(16), {True: [], False: []}
    for trial in range(1500):
        rng = np.random.default_rng(trial)
        truths, others = rng.normal(size=(2, 16, 8))
        results = 0.8 * truths + rng.normal(0.3, 0.6, (16, 8))
        for paired, beside in ((True, truths), (False, others)):
            found[paired].append(KernelStatistic(results, beside, paired=paired).value(everyone))
    ours, independent = (np.array(found[paired]) for paired in (True, False))
    noise = 4 * np.hypot(ours.std(), independent.std()) / 1500**0.5
    assert ours.mean() == pytest.approx(independent.mean(), abs=noise)
    biased = KernelStatistic(results, truths, paired=False).value(everyone)
    assert biased < KernelStatistic(results, truths).value(everyone) - noise


def test_intervals_cover_where_images_come_in_groups():
    """Four crops of each of 40 photographs; as if all were independent, too few intervals would hold the truth."""

    def draw(rng, known: bool):
        groups = np.repeat(np.arange(40), 4)
        sample = MeanStatistic(rng.normal(1, 0.5, 40)[groups] + rng.normal(0, 0.2, 160))
        sample.groups = groups if known else None
        return estimate(sample, RESAMPLES)

    assert 0.89 <= rates(lambda rng: draw(rng, True), 1, 300) <= 0.99
    assert rates(lambda rng: draw(rng, False), 1, 300) < 0.75


def test_intervals_of_a_frechet_distance_cover_its_expectation():
    """FID depends on the size of the sets; what its interval is of is the distance at this size."""

    def sets(rng):
        truths = rng.normal(size=(96, 4))
        return FrechetStatistic(truths + rng.normal(0.5, 0.6, (96, 4)), truths)

    many = (sets(np.random.default_rng(9000 + i)) for i in range(1000))
    truth = np.mean([frechet_distance(s.results, s.truths) for s in many])
    assert 0.87 <= rates(lambda rng: estimate(sets(rng), RESAMPLES), float(truth), 150) <= 0.995


@pytest.mark.parametrize(
    ("shift", "higher_is_better", "expected"),
    [
        (-0.2, False, Verdict.GAIN), (0.2, False, Verdict.WORSE), (0.2, True, Verdict.GAIN),
        (-0.2, True, Verdict.WORSE), (0.0, False, Verdict.NONE),
    ],
)  # fmt: skip
def test_verdicts_follow_the_interval(shift, higher_is_better, expected):
    rng = np.random.default_rng(3)
    images = rng.lognormal(0, 0.5, 48)
    noise = rng.normal(0, 0.05, 48)
    second = MeanStatistic(images + shift + noise - noise.mean())
    found = contrast(MeanStatistic(images), second, 500, higher_is_better=higher_is_better)
    assert found.verdict == expected
    assert (found.p < 0.05) == (expected != Verdict.NONE)
    assert found.relative == pytest.approx(100 * found.difference.value / images.mean())


def test_few_images_give_no_verdict():
    values = np.linspace(1, 2, 8)
    assert contrast(MeanStatistic(values), MeanStatistic(values - 0.5), 200).verdict == Verdict.FEW


def false_alarms(images: int) -> float:
    """How often two methods that do not differ are told apart; p-values agree with verdicts."""
    alarms = 0
    for trial in range(400):
        rng = np.random.default_rng(trial)
        shared = rng.lognormal(0, 0.5, images)
        first, second = (MeanStatistic(shared + rng.lognormal(0, 0.5, images)) for _ in range(2))
        found = contrast(first, second, RESAMPLES)
        alarms += found.verdict != Verdict.NONE
        assert (found.verdict != Verdict.NONE) == (found.p <= 0.05)
    return alarms / 400


@pytest.mark.parametrize("images", [16, 24, 48])  # the least that verdicts rest on, what the demo's tables have, more
def test_false_alarms_are_rare(images):
    assert 0.02 <= false_alarms(images) <= 0.075


def test_plain_percentiles_would_raise_more(monkeypatch):
    monkeypatch.setattr(
        "isdiff.metrics.intervals.independent", lambda n, groups: 10**9
    )  # as of so many images: nothing to correct
    assert 0.075 < false_alarms(16) < 0.1


def test_intervals_of_few_images_are_as_wide_as_those_of_t():
    values = 10 + np.random.default_rng(0).normal(size=16)
    found = estimate(MeanStatistic(values), 4000)
    assert (found.high - found.low) / 2 == pytest.approx(2.131 * values.std(ddof=1) / 4, rel=0.05)
