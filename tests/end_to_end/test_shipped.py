"""The models that ship: each knows its own data, and every dataset runs with every mask and method."""

import numpy as np
import pytest
import torch
from conftest import ROOT, images_of

from isdiff.diffusion.schedule import add_noise, named_betas
from isdiff.io.models import load_attribute_net, load_net
from training.pixel import predict_x0

MODELS = ROOT / "models"
FAMILIES = {"avatars64": ["avatars"], "drawings64": ["drawings", "landscapes"]}


@torch.inference_mode()
def denoised(model: str, x0: torch.Tensor, timestep: int) -> torch.Tensor:
    net = load_net(MODELS / model / "unet.safetensors").eval()
    alphas_cumprod = torch.cumprod(1 - named_betas("linear"), 0)[timestep].float()
    x = add_noise(x0, torch.randn(x0.shape, generator=torch.Generator().manual_seed(0)), alphas_cumprod)
    return predict_x0(x, net(x, torch.full((len(x0),), timestep))[:, :3], alphas_cumprod)


@pytest.mark.parametrize("timestep", [200])
@pytest.mark.parametrize("dataset", ["avatars", "drawings", "landscapes"])
def test_each_model_denoises_its_own_test_images_best(dataset, timestep):
    """And beats each image's mean colour by far."""
    x0 = images_of(dataset, 24)
    errors = {model: (denoised(model, x0, timestep) - x0).square().mean().item() for model in FAMILIES}
    (own,) = (model for model, datasets in FAMILIES.items() if dataset in datasets)
    spread = (x0 - x0.mean((2, 3), keepdim=True)).square().mean().item()
    assert min(errors, key=errors.get) == own and errors[own] < 0.3 * spread, (errors, spread)


@pytest.mark.parametrize("model", FAMILIES)
def test_feature_networks_know_their_data(model):
    """They name the style of most shipped test images."""
    import csv

    net = load_attribute_net(MODELS / model / "classifier.safetensors")
    for dataset in FAMILIES[model]:
        with (ROOT / "data" / dataset / "test.csv").open(newline="") as stream:
            labels = [row["style"] for row in csv.DictReader(stream)][:100]
        with torch.inference_mode():
            guesses = net(images_of(dataset, 100))["style"].argmax(1)
        found = np.mean([net.classes["style"][g] == label for g, label in zip(guesses, labels, strict=True)])
        assert found > 0.8, (dataset, found)
