"""Held-out errors and the soundness of activations, on networks in which faults are built in; then on what ships."""

import json

import numpy as np
import pytest
import torch
from conftest import ROOT, images_of
from omegaconf import OmegaConf

from isdiff.diffusion.schedule import named_betas
from isdiff.io.models import load_net
from training.health import corner_errors, spikes
from training.loop import Trainer

ABAR = torch.cumprod(1 - named_betas("linear"), 0)
SHIPPED = {"photos64": "photos", "avatars64": "avatars", "drawings64": "drawings"}


OPTIONS = {
    "batch_size": 4, "total_samples": 64, "lr": 0.05, "warmup_samples": 4, "decay": 0.5, "weight_decay": 0.0,
    "ema": 0.5, "grad_clip": 1.0, "log_every": 1, "save_every_s": 1000, "dev_every": 16,
}  # fmt: skip


def test_the_weights_that_were_best_on_held_out_images_come_out(tmp_path):
    """A value that is trained towards 3, judged by its distance to 0.5: the best one is passed on the way."""
    torch.manual_seed(0)
    net = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(net.weight)
    loss = lambda net, step: {"loss": (net(torch.ones(4, 1)) - 3).square().flatten()}  # noqa: E731
    judged = lambda net: {"dev": abs(net.weight.item() - 0.5)}  # noqa: E731
    trainer = Trainer(net, loss, tmp_path, OmegaConf.create(OPTIONS), evaluate=judged)
    trainer.run()
    lines = [json.loads(line) for line in (tmp_path / "dev.jsonl").read_text().splitlines()]
    assert [line["samples"] for line in lines] == [16, 32, 48, 64, 64]
    seen = []
    trainer.with_best(lambda: seen.append(net.weight.item()))
    assert abs(seen[0] - 0.5) == pytest.approx(min(line["dev"] for line in lines), abs=1e-5)
    again = Trainer(net, loss, tmp_path, OmegaConf.create(OPTIONS), evaluate=judged)
    assert again.best == trainer.best, "a resumed run knows what was best"


@pytest.mark.slow
@pytest.mark.parametrize("model", SHIPPED)
def test_shipped_models_have_no_droplet(model):
    """Error in the bottom right corner like in the others, and no position whose activations stand out."""
    net = load_net(ROOT / "models" / model / "unet.safetensors").eval()
    x0 = images_of(SHIPPED[model], 32)
    for timestep in (20, 100, 250):
        corners = corner_errors(net, x0, timestep, ABAR)
        assert corners["bottom right"] <= 1.5 * np.median(list(corners.values())), (timestep, corners)
        found = spikes(net, x0, timestep, ABAR)
        assert max(found.values()) <= 5, (timestep, found)
