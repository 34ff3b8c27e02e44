"""Held-out errors and the soundness of activations, on networks in which faults are built in; then on what ships."""

import json

import numpy as np
import pytest
import torch
from conftest import ROOT, images_of
from omegaconf import OmegaConf

from isdiff.diffusion.schedule import named_betas
from isdiff.io.models import load_net
from isdiff.nets.unet import UNet, group_norm
from training.health import corner_errors, spikes
from training.loop import Trainer

ABAR = torch.cumprod(1 - named_betas("linear"), 0)
SHIPPED = {"photos64": "photos", "avatars64": "avatars", "drawings64": "drawings"}


def small_net(**options) -> UNet:
    torch.manual_seed(0)
    net = UNet(model_channels=32, channel_mult=(1, 2), num_res_blocks=1, attention_resolutions=(), **options)
    for p in net.parameters():  # an untrained network answers zero
        torch.nn.init.normal_(p, std=0.05)
    return net.eval()


@pytest.mark.parametrize(
    "channels, least, groups",
    [(32, 1, 32), (256, 1, 32), (32, 8, 4), (96, 8, 12), (192, 8, 24), (288, 8, 32), (20, 8, 2), (4, 8, 1)],
)
def test_groups_are_at_least_so_wide(channels, least, groups):
    assert group_norm(channels, least).num_groups == groups


def test_a_spike_is_found():
    net, x0 = small_net(), torch.rand(4, 3, 16, 16) * 2 - 1
    sound = spikes(net, x0, 100, ABAR)
    assert list(sound) == [f"output_blocks.{i}.0" for i in (1, 2, 3)]
    block = net.output_blocks[-1][0]
    forward = block.forward

    def spiked(x, emb):
        out = forward(x, emb).clone()
        out[:, :, -1, -1] += 100
        return out

    block.forward = spiked
    found = spikes(net, x0, 100, ABAR)
    assert found["output_blocks.3.0"] > 10 * sound["output_blocks.3.0"]
    assert found["output_blocks.1.0"] == sound["output_blocks.1.0"]


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
