"""Distances between sets of images by published networks: their arithmetic, and small networks in their place."""

import numpy as np
import pytest

from isdiff.metrics.base import Unavailable
from isdiff.metrics.networks import cut_squares
from isdiff.metrics.samples import FrechetStatistic, frechet_distance
from isdiff.metrics.sets import CMMD, PIDS, UIDS, FDDINOv2


def features(n, size, seed, shift=0.0):
    return np.random.default_rng(seed).normal(shift, 1, (n, size))


@pytest.mark.parametrize("metric, alike", [(PIDS("models"), 50), (UIDS("models"), 50)])
def test_discriminative_scores(metric, alike):
    """Half where a classifier cannot tell, nothing where it can; a little off brings a little less."""
    every, truths = np.arange(2000), features(2000, 5, 0)
    same, near, far = (metric.between(features(2000, 5, 1, shift), truths) for shift in (0, 0.3, 4))
    assert same.value(every) == pytest.approx(alike, abs=3)
    assert far.value(every) < 1 < near.value(every) < same.value(every)


def test_cmmd_is_the_mean_of_its_kernel():
    a, b = features(6, 4, 0), features(6, 4, 1)
    found = CMMD("models").between(a, b).value(np.arange(6))
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))

    def mean(x, y):
        return np.mean([np.exp(-((x[i] - y[j]) ** 2).sum() / 200) for i in range(6) for j in range(6) if i != j])

    assert found == pytest.approx(1000 * (mean(a, a) + mean(b, b) - 2 * mean(a, b)), rel=1e-6)


def test_squares_cover_an_image():
    image = np.arange(90 * 50 * 3).reshape(90, 50, 3)
    squares = cut_squares(image, 40)
    assert len(squares) == 6 and all(square.shape == (40, 40, 3) for square in squares)
    assert set(np.concatenate([square.ravel() for square in squares])) == set(image.ravel())
    with pytest.raises(Unavailable, match="squares have 50 pixels, the images 50x90"):
        cut_squares(image, 50)


def test_images_of_several_features_are_resampled_whole():
    results, truths = features(40, 6, 0).reshape(20, 2, 6), features(40, 6, 1).reshape(20, 2, 6)
    whole = FrechetStatistic(results, truths)
    assert whole.n == 20
    assert whole.value(np.arange(20)) == pytest.approx(frechet_distance(results.reshape(40, 6), truths.reshape(40, 6)))
    single = FrechetStatistic(results.reshape(40, 6), truths.reshape(40, 6))
    assert whole.resample(np.array([3, 3, 7])) == pytest.approx(single.resample(np.array([6, 7, 6, 7, 14, 15])))


def test_dinov2_s_distance_with_a_small_network(tmp_path):
    """An image's embedding does not depend on its company; more noise is further away."""
    from transformers import BitImageProcessor, Dinov2Config, Dinov2Model

    config = Dinov2Config(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14)
    Dinov2Model(config).save_pretrained(tmp_path)
    BitImageProcessor(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}).save_pretrained(tmp_path)
    metric = FDDINOv2(str(tmp_path))
    rng = np.random.default_rng(0)
    truths = [rng.integers(0, 256, (32, 32, 3), np.uint8) for _ in range(18)]
    noised = [np.clip(x + rng.normal(0, 40, x.shape), 0, 255).astype(np.uint8) for x in truths]
    np.testing.assert_allclose(
        metric.extractor.features(truths)[5:7], metric.extractor.features(truths[5:7]), atol=1e-5
    )
    every = np.arange(18)
    assert metric.measure(truths, truths).value(every) == pytest.approx(0, abs=1e-6)
    assert metric.measure(noised, truths).value(every) > 0
