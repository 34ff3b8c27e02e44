"""Statistics of many images: values, and how they are resampled."""

import numpy as np
import pytest

from isdiff.metrics.intervals import contrast, estimate, selections
from isdiff.metrics.samples import FrechetStatistic, SeedsStatistic, frechet_distance, frechet_terms


def sets(n, size, rng, noise=0.6):
    """Truths with correlated features, and results near them."""
    spread = np.exp(-np.arange(size) / 8)
    truths = rng.normal(size=(n, size)) * spread
    return truths + noise * rng.normal(size=(n, size)) * spread + 0.05, truths


@pytest.mark.parametrize("n", [200, 1000])
def test_influences_agree_with_the_bootstrap(n):
    """Spread of a distance and of a paired difference, over resamples that are decomposed each."""
    rng = np.random.default_rng(n)
    results, truths = sets(n, 24, rng)
    better = 0.8 * results + 0.2 * truths
    first, second = frechet_terms(results, truths)[1:], frechet_terms(better, truths)[1:]
    exact = np.array([
        [frechet_distance(found[chosen], truths[chosen]) for found in (results, better)]
        for chosen in selections(n, 150)
    ])  # fmt: skip
    for influence, values in ((first, exact[:, 0]), (second - first, exact[:, 1] - exact[:, 0])):
        assert np.sqrt((influence**2).sum()) / n == pytest.approx(values.std(ddof=1), rel=0.2)


@pytest.mark.parametrize("size", [10, 300])
def test_influences_hold_for_sets_smaller_than_their_features(size):
    """The spread is that of fresh sets, with fewer and with more images than features."""
    fresh = [frechet_distance(*sets(120, size, np.random.default_rng(i))) for i in range(150)]
    found = [
        np.sqrt((frechet_terms(*sets(120, size, np.random.default_rng(i)))[1:] ** 2).sum()) / 120 for i in range(20)
    ]
    assert np.mean(found) == pytest.approx(np.std(fresh, ddof=1), rel=0.25)


def test_an_influence_is_a_derivative():
    """Images that count a little more move the distance by their influence."""
    results, truths = sets(40, 6, np.random.default_rng(2))
    terms, many = frechet_terms(results, truths), 200
    for image in (0, 17):
        places = np.append(np.tile(np.arange(40), many), image)  # all count 200 times, this one 201 times
        moved = frechet_distance(results[places], truths[places])
        still = frechet_distance(np.tile(results, (many, 1)), np.tile(truths, (many, 1)))
        assert (moved - still) * many * 40 == pytest.approx(terms[1 + image], rel=0.02)


def test_decompositions_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr("isdiff.metrics.samples.KEPT_FROM", 10)
    results, truths = sets(30, 6, np.random.default_rng(3))

    def statistic(folder):
        made = FrechetStatistic(results, truths)
        made.folder = folder
        return made

    expected = estimate(SeedsStatistic([statistic(None)]), 100)
    assert estimate(SeedsStatistic([statistic(tmp_path)]), 100) == expected
    kept = list(tmp_path.iterdir())
    assert len(kept) == 1
    monkeypatch.setattr("isdiff.metrics.samples.frechet_terms", None)
    assert estimate(SeedsStatistic([statistic(tmp_path)]), 100) == expected
    monkeypatch.undo()
    kept[0].write_bytes(b"damaged")
    assert estimate(SeedsStatistic([statistic(tmp_path)]), 100) == expected
    assert contrast(statistic(tmp_path), statistic(None), 100).difference.value == 0


def test_a_comparison_decomposes_each_set_once(monkeypatch):
    """Whatever the number of resamples: values with intervals, and the paired difference."""
    results, truths = sets(60, 6, np.random.default_rng(4))
    first, second = FrechetStatistic(results, truths), FrechetStatistic(0.5 * results + 0.5 * truths, truths)
    made = []
    monkeypatch.setattr("isdiff.metrics.samples.frechet_terms", lambda a, b: made.append(1) or frechet_terms(a, b))
    estimate(first, 200), estimate(second, 200)
    found = contrast(first, second, 200).difference
    assert len(made) == 2 and found.high < 0
