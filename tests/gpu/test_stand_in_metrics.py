"""Metrics on the stand-in for a GPU give the CPU's values."""

import numpy as np
import pytest
from conftest import ROOT
from stand_in import stand_in

from isdiff.config.composing import compose_run
from isdiff.config.metrics import build_metrics
from isdiff.data.shipped import DrawnDataset
from isdiff.metrics import networks

DATA = DrawnDataset("avatars", root=str(ROOT / "data"))
TRUTHS = [DATA.image(name) for name in DATA.ids()[:3]]
PROMPTS = [DATA.caption(name) for name in DATA.ids()[:3]]
RESULTS = [np.roll(image, 3, 1) for image in TRUTHS]


@pytest.mark.parametrize("name", ["lite0_perceptual", "perceptual", "ssim", "caption_score"])
def test_metrics_give_the_cpu_s_values(name):
    cfg = compose_run(["dataset=avatars", f"model_root={ROOT / 'models'}"])
    look = build_metrics([name], cfg)[0].extractor
    expected = look.extract(RESULTS, TRUTHS, PROMPTS)
    networks.load_on.cache_clear()
    before = networks.DEVICE.set("meta")
    try:
        with stand_in() as waits:
            found = look.extract(RESULTS, TRUTHS, PROMPTS)
    finally:
        networks.DEVICE.reset(before)
        networks.load_on.cache_clear()
    for mine, its in ((found.values, expected.values), (found.results, expected.results)):
        assert (mine is None) == (its is None) and (mine is None or np.allclose(mine, its, atol=1e-4))
    assert sum(waits.values()), "it ran there"
