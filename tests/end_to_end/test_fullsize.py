"""The networks at their published sizes, with untrained weights: what can be known without downloading them."""

import json

import numpy as np
import pytest
import torch
from conftest import ROOT, run_script
from PIL import Image

from isdiff.devices import resolve_precision
from isdiff.io.models import build_net
from isdiff.io.weights import Weights
from isdiff.nets.classifier import Classifier
from isdiff.priors.pixel import ClassifierGuidance

ENTRIES = Weights(ROOT / "models").entries
# The other entries' networks are the same, argument by argument.
DIFFERENT = ["adm256_uncond", "adm256_cond", "adm256_classifier", "celeba_hq"]


def test_these_are_all_networks():
    kinds = {json.dumps(entry.net, sort_keys=True) for entry in ENTRIES.values() if entry.net}
    assert kinds == {json.dumps(ENTRIES[name].net, sort_keys=True) for name in DIFFERENT}


@pytest.mark.slow
@pytest.mark.skipif(
    resolve_precision("auto", torch.device("cpu")) != "bf16",
    reason="this processor has no bfloat16 arithmetic: emulated, one forward pass of a full-size network takes minutes",
)
@pytest.mark.parametrize("name", DIFFERENT)
def test_a_real_forward_in_bf16(name):
    with torch.device("meta"):
        net = build_net(ENTRIES[name].net).to(torch.bfloat16)
    net = net.to_empty(device="cpu").eval()
    torch.manual_seed(0)
    for parameter in net.parameters():
        if parameter.dim() > 1:  # variance-preserving, so that the signal arrives at the other end
            torch.nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
        else:
            torch.nn.init.ones_(parameter)
    labels = {"y": torch.tensor([7])} if name == "adm256_cond" else {}
    with torch.inference_mode():
        out = net(torch.randn(1, 3, 256, 256), torch.tensor([500]), **labels)
    channels = {"celeba_hq": 3}.get(name, 6)
    assert out.shape == ((1, 1000) if name == "adm256_classifier" else (1, channels, 256, 256))
    assert out.dtype == torch.float32 and torch.isfinite(out).all() and out.std() > 0


def small_classifier() -> Classifier:
    torch.manual_seed(0)
    net = Classifier(
        image_size=16, model_channels=32, num_classes=5, num_res_blocks=1, attention_resolutions=(2,),
        channel_mult=(1, 2), num_head_channels=32,
    ).eval()  # fmt: skip
    for parameter in net.parameters():  # blocks start as identities: give every layer something to do
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.05)
    return net


def test_guidance_is_the_gradient_of_the_log_likelihood():
    net = small_classifier()
    x, t, y = torch.randn(2, 3, 16, 16), torch.tensor([100, 700]), torch.tensor([1, 4])
    with torch.inference_mode():
        score = ClassifierGuidance(net, 2.0)(x, t, y)
    step = torch.randn_like(x)
    likelihood = lambda z: net.double()(z, t).log_softmax(1)[torch.arange(2), y]  # noqa: E731
    with torch.no_grad():
        rise = (likelihood(x.double() + 1e-2 * step) - likelihood(x.double() - 1e-2 * step)) / 2e-2
    torch.testing.assert_close((score * step).sum((1, 2, 3)), 2 * rise.float(), rtol=2e-2, atol=1e-4)


@pytest.mark.long
def test_the_papers_command_on_an_untrained_network(tmp_path):
    """dataset=celeba at 256x256, from the file on disk to the grid."""
    first, number = (ROOT / "data" / "manifests" / "celeba.csv").read_text().splitlines()[1].split(",")
    pixels = np.random.default_rng(0).integers(0, 256, (300, 280, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / f"{number}.jpg")
    run_script(
        "dataset=celeba", "mask=half", "method=ddnm+isdiff", f"dataset.path={tmp_path}", "model.weights=random",
        "limit=1", "sampler.steps=2", "metrics.names=[]", "runtime.pad_to=1", f"output_root={tmp_path / 'out'}",
    )  # fmt: skip
    (folder,) = (tmp_path / "out" / "celeba" / "half" / "ddnm+isdiff").iterdir()
    assert Image.open(folder / "images" / f"{first}.png").size == (256, 256)
    assert json.loads((folder / "summary.json").read_text())["n"] == 1
