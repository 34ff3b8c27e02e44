"""DCE: numbers worked out by hand."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isdiff import Task, UserError
from isdiff.refine import Criterion, CrossEntropy, Refinement

SMOOTH = 1e-3


def half_hole(side: int = 8) -> torch.Tensor:
    hole = torch.zeros(1, side, side, dtype=torch.bool)
    hole[..., side // 2 :] = True
    return hole


def flat(value: float, side: int = 8) -> torch.Tensor:
    return torch.full((3, side, side), value)


def cost(share: float, bins: int) -> float:
    return -math.log((share + SMOOTH) / (1 + bins * SMOOTH))


def test_a_color_never_shown_costs_the_smoothing_and_the_same_next_to_nothing():
    measure = CrossEntropy(bins=16, smoothing=SMOOTH, texture=0)
    assert measure(flat(0.3), flat(0.3), half_hole()) == pytest.approx(cost(1, 16))
    assert measure(flat(0.9), flat(-0.9), half_hole()) == pytest.approx(cost(0, 16))


def test_mixed_shares():
    """Known: half dark, half light. Hole: a quarter dark, the rest light. Two bins."""
    known, guess = flat(-0.5), flat(0.5)
    known[:, :4] = 0.5
    guess[:, :2] = -0.5
    measure = CrossEntropy(bins=2, smoothing=SMOOTH, texture=0)
    assert measure(guess, known, half_hole()) == pytest.approx(cost(0.5, 2))
    other = CrossEntropy(bins=2, smoothing=SMOOTH, texture=0, direction="known")
    assert other(guess, known, half_hole()) == pytest.approx(0.5 * cost(0.25, 2) + 0.5 * cost(0.75, 2))


def test_texture_tells_a_pattern_from_a_flat_region():
    """Same intensities in both halves, once in fine columns and once in two blocks."""
    columns = flat(-0.8, 16)
    columns[:, :, ::2] = 0.8
    blocks = flat(-0.8, 16)
    blocks[:, :8] = 0.8
    hole = half_hole(16)
    plain, textured = (CrossEntropy(bins=8, smoothing=SMOOTH, texture=w) for w in (0.0, 1.0))
    assert plain(blocks, columns, hole) == pytest.approx(plain(columns, columns, hole))
    assert textured(blocks, columns, hole) > textured(columns, columns, hole) + 0.5


VALUES = st.lists(st.floats(0, 6), min_size=1, max_size=5)


@given(VALUES, st.floats(0, 5))
def test_without_a_margin_the_passing_or_the_best_is_kept(values, tau):
    kept = Refinement(CrossEntropy(), len(values), tau).decide(values)
    assert values[kept] <= tau if values[-1] <= tau else values[kept] == min(values)


@given(VALUES, st.floats(0, 5), st.floats(0.01, 1))
def test_with_a_margin_a_retry_is_kept_only_if_it_is_clearly_better(values, tau, margin):
    kept = Refinement(CrossEntropy(), len(values), tau, margin=margin).decide(values)
    papers = Refinement(CrossEntropy(), len(values), tau).decide(values)
    assert kept in (0, papers)
    assert kept == 0 or values[kept] <= (1 - margin) * values[0]
    assert papers == 0 or kept == papers or values[papers] > (1 - margin) * values[0]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_criterion_that_gives_no_number_is_told(value):
    """Of one's own, say: nothing could be compared with it, and no record holds it."""

    class Odd(Criterion):
        def __call__(self, prediction, image, hole):
            return value

    task = Task("face", flat(0.0), half_hole())
    with pytest.raises(UserError, match=f"Odd says {value} of an attempt at face; a criterion must give finite"):
        Refinement(Odd()).judge(task, flat(0.0))
