"""What docs/extending.md shows works as shown, and what CONTRIBUTING names is there."""

import re

import numpy as np
import pytest
import torch
from conftest import ROOT

from isdiff.criteria.base import Criterion
from isdiff.data.base import Dataset
from isdiff.diffusion.timesteps import resampling_plan
from isdiff.engine import Engine
from isdiff.errors import UserError
from isdiff.known.ddnm import NullSpace
from isdiff.masks.base import GeneratedMask
from isdiff.metrics.base import PairMetric
from isdiff.metrics.intervals import estimate
from isdiff.models.base import Model
from isdiff.paths import located
from isdiff.priors.pixel import PixelPrior
from isdiff.samplers.ddim import DDIM
from isdiff.seeds.base import SeededStart
from isdiff.seeds.distributions import DistributionSeed, known_vectors
from isdiff.trajectory import Stream, Task

TEXT = "\n".join((ROOT / name).read_text("utf-8") for name in ("CONTRIBUTING.md", "docs/extending.md"))
NAMES = {
    "torch": torch, "Model": Model, "UserError": UserError, "PixelPrior": PixelPrior, "located": located,
    "np": np, "Dataset": Dataset, "GeneratedMask": GeneratedMask, "PairMetric": PairMetric,
    "DistributionSeed": DistributionSeed, "known_vectors": known_vectors, "Criterion": Criterion,
}  # fmt: skip


@pytest.fixture(scope="module")
def shown():
    from diffusers import UNet2DModel

    names = NAMES | {"UNet2DModel": UNet2DModel}
    for code in re.findall(
        r"```python\n(.*?)```", TEXT.partition("## Others")[2], re.S
    ):  # test_readme has those before
        exec(code, names)
    return names


def test_mask(shown):
    hole = shown["LeftMask"](0.5).hole("a", 8, 10)
    assert hole.sum() == 40 and hole[:, :5].all() and shown["LeftMask"]().stamp("a") == "generated"
    with pytest.raises(ValueError, match=r"mask\.share is 2"):
        shown["LeftMask"](2)


def test_dataset_and_metric(shown):
    data = shown["Ramps"]()
    bright, dark = map(data.image, data.ids())
    found = estimate(shown["Brightness"]().measure([bright, dark], [bright, bright]), 20)
    assert found.value == pytest.approx((bright.mean() - dark.mean()) / 2)


def test_seed(shown):
    hole = torch.zeros(1, 8, 8, dtype=torch.bool)
    hole[..., 4:] = True
    task = Task("a", torch.full((3, 8, 8), 0.25).masked_fill(hole, 0), hole)
    assert torch.allclose(shown["MedianSeed"]().fill(task, Stream(0, "a")), torch.tensor(0.25))


def test_criterion(shown):
    hole = torch.zeros(1, 8, 8, dtype=torch.bool)
    hole[..., 4:] = True
    assert shown["Gap"]()(torch.full((3, 8, 8), 0.5), torch.full((3, 8, 8), -0.25), hole) == pytest.approx(0.75)


def test_model(shown, tmp_path):
    """A small network of diffusers' kind, filling a hole from a seed, and known by its weights."""
    torch.manual_seed(0)
    options = {
        "block_out_channels": (32, 32),
        "down_block_types": ("DownBlock2D",) * 2,
        "up_block_types": ("UpBlock2D",) * 2,
    }
    shown["UNet2DModel"](sample_size=16, layers_per_block=1, **options).save_pretrained(tmp_path / "ddpm")
    model = shown["DDPMModel"]("ddpm", str(tmp_path / "ddpm"), 16)
    assert model.missing() == [] and len(model.fingerprint()["weights"]) > 8
    with pytest.raises(UserError, match="needs a latent model, not ddpm"):
        model.check_method("si", object())
    hole = torch.zeros(1, 16, 16, dtype=torch.bool)
    hole[..., 8:] = True
    task = Task("a", torch.rand(3, 16, 16).masked_fill(hole, 0), hole)
    prior, grid = model.load(torch.device("cpu")), model.schedule.grid(5, "leading")
    start = SeededStart(shown["MedianSeed"](), 0.9)
    (result,) = Engine(prior, grid, DDIM(), NullSpace(), resampling_plan, start=start).run([task])
    assert result.failure is None and torch.allclose(result.x[:, ~hole[0]], task.image[:, ~hole[0]], atol=1e-5)


def test_files_and_folders_that_it_names_exist():
    for name in re.findall(r"`((?:tests|experiments|isdiff|data)/[\w./]+)`", TEXT):
        assert (ROOT / name).exists() or (ROOT / "isdiff" / name).exists(), name
