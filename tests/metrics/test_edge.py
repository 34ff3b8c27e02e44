"""The gradient error at the hole's edge."""

import numpy as np
import pytest

from isdiff.metrics.pairs import EdgeGradientError

TRUTH = np.full((32, 32, 3), 100, np.uint8)
HOLE = np.zeros((32, 32), bool)
HOLE[8:24, 8:24] = True


def error(result, hole=HOLE, width=2):
    return float(EdgeGradientError(width).values([result], [TRUTH], [hole])[0])


def test_a_step_at_the_edge_of_a_half():
    """One of the band's four columns has a gradient, of the step's height."""
    half = np.indices((32, 32))[1] >= 16
    result = np.where(half[..., None], TRUTH + 51, TRUTH).astype(np.uint8)
    assert error(result, half) == pytest.approx(100 * 51 / 255 / 4)


def test_only_the_edge_counts():
    inside = TRUTH.copy()
    inside[13:19, 13:19] = 250
    seam = np.where(HOLE[..., None], TRUTH + 10, TRUTH).astype(np.uint8)
    soft = (
        TRUTH + np.where(HOLE, np.minimum.outer(*[np.minimum(np.arange(32) - 7, 24 - np.arange(32))] * 2), 0)[..., None]
    )
    assert error(TRUTH) == error(inside) == 0
    assert 0 < error(soft.clip(0, 255).astype(np.uint8)) < error(seam)
    assert error(seam, np.zeros_like(HOLE)) == 0
