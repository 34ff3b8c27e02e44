"""What every metric promises, whichever file of configs/metric it stands in."""

import numpy as np
import pytest
from configured import choices
from conftest import ROOT

from isdiff.config.composing import compose_run
from isdiff.config.metrics import build_metrics
from isdiff.data.shipped import DrawnDataset
from isdiff.metrics.base import Unavailable
from isdiff.metrics.intervals import estimate
from isdiff.metrics.samples import Statistic
from isdiff.metrics.sets import Diversity

COUNT = 10
DATA = DrawnDataset("avatars", root=str(ROOT / "data"))
IMAGES = [DATA.image(image_id) for image_id in DATA.ids()[:COUNT]]
HOLES = [np.indices(image.shape[:2])[1] >= 20 + i for i, image in enumerate(IMAGES)]
PROMPTS = [DATA.caption(image_id) for image_id in DATA.ids()[:COUNT]]


def noised(size: float) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [np.clip(x + rng.normal(0, size, x.shape), 0, 255).astype(np.uint8) for x in IMAGES]


def context(metric) -> list:
    """What a metric takes beside results and truths."""
    return HOLES if metric.extractor.masked else PROMPTS


def sample(metric, results) -> Statistic:
    """Of results with their truths; of a diversity, which knows no truths, of two runs."""
    if not isinstance(metric, Diversity):
        return metric.measure(results, IMAGES, context(metric))
    return metric.between_runs(*(metric.extractor.features(images) for images in (results, IMAGES)))


@pytest.mark.parametrize("name", choices("metric"))
def test_metric(name):
    """Best for equal images, worse with more noise; finite, in its interval; an image's value needs no company."""
    cfg = compose_run(["dataset=avatars", f"model_root={ROOT / 'models'}"])
    (metric,) = build_metrics([name], cfg)
    assert metric.name == name and metric.heading[-1] in "↓↑"
    try:
        samples = [sample(metric, results) for results in (IMAGES, noised(25), noised(90))]
    except Unavailable as missing:
        pytest.skip(f"its weights do not ship: {missing}")
    found = [estimate(one, 40) for one in samples]
    assert all(np.isfinite([one.value, one.low, one.high]).all() and one.n == COUNT for one in found)
    assert all(one.low <= one.value <= one.high for one in found)
    equal, some, much = (one.value for one in found)
    if isinstance(metric, Diversity):
        assert equal == 0 < some < much
    elif not metric.higher_is_better:
        assert equal < 1e-3 and equal < some < much  # an unbiased estimate of nothing can lie below zero
    else:
        assert equal > some > much
        assert metric.extractor.prompted or equal == pytest.approx(1, abs=1e-5)
    backwards = np.arange(COUNT)[::-1].copy()
    assert samples[1].value(backwards) == pytest.approx(some, rel=1e-6), "the order does not matter"
    assert isinstance(metric.version, str) and metric.version
    look, noise = metric.extractor, noised(25)
    if metric.of_sets:
        whole, part = look.features(noise), look.features(noise[3:5])
    else:
        given = (noise, IMAGES, context(metric))
        whole, part = (look.extract(*x).values for x in (given, [each[3:5] for each in given]))
    np.testing.assert_allclose(part, whole[3:5], rtol=1e-3, atol=1e-4)


def test_metrics_that_ship_are_measured():
    """Offline at least these: or all of the above could be skipped."""
    cfg = compose_run(["dataset=avatars", f"model_root={ROOT / 'models'}"])
    offline = [name for name in choices("metric") if is_here(build_metrics([name], cfg)[0])]
    assert {
        "ssim", "edge_error", "caption_score", "lite0_perceptual", "lite0_kid", "lite0_frechet", "perceptual",
        "frechet",
    } <= set(offline)  # fmt: skip


def is_here(metric) -> bool:
    try:
        return bool(metric.version)
    except Unavailable:
        return False


def test_every_metric_stands_on_its_page():
    lines = (ROOT / "docs" / "metrics.md").read_text().splitlines()
    assert sorted(line.split("`")[1] for line in lines if line.startswith("| `")) == choices("metric")
