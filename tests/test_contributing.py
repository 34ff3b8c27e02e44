"""What README and docs/extending.md show works as shown, and what CONTRIBUTING names is there."""

import re
import sys
from importlib import import_module
from itertools import product
from types import ModuleType

import pytest
import torch
from conftest import ROOT
from diffusers import UNet2DModel

from isdiff.diffusion.grid import Grid
from isdiff.diffusion.process import named_betas
from isdiff.diffusion.timesteps import leading_timesteps, resampling_plan
from isdiff.engine import Engine
from isdiff.errors import UserError
from isdiff.experiments.compare import compose_run
from isdiff.experiments.config import Setup
from isdiff.experiments.run import execute
from isdiff.known.base import Known
from isdiff.known.ddnm import NullSpace
from isdiff.metrics.intervals import estimate
from isdiff.samplers.ddim import DDIM
from isdiff.seeds.base import SeededStart
from isdiff.trajectory import Stream, Task

README = (ROOT / "README.md").read_text("utf-8")
TEXT = "\n".join((ROOT / name).read_text("utf-8") for name in ("CONTRIBUTING.md", "docs/extending.md"))
PRINTED = re.findall(r"```\w+\n# ((?:isdiff|configs)/\S+)\n(.*?)```", TEXT + README, re.S)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A working folder with what README and extending.md print: each class a module, alone in its namespace."""
    place = tmp_path_factory.mktemp("own")
    with pytest.MonkeyPatch.context() as patch:
        for path, code in PRINTED:
            if path.startswith("isdiff"):
                name = path.removesuffix(".py").replace("/", ".")
                patch.setitem(sys.modules, name, ModuleType(name))
                exec(code, vars(sys.modules[name]))
            else:
                (place / path).parent.mkdir(parents=True, exist_ok=True)
                (place / path).write_text(code)
        yield place


@pytest.fixture(scope="module")
def shown(folder):
    """What is defined there, by name."""
    modules = [path.removesuffix(".py").replace("/", ".") for path, _ in PRINTED if path.startswith("isdiff")]
    return {name: found for module in modules for name, found in vars(import_module(module)).items()}


@pytest.mark.parametrize(
    "overrides",
    [
        "method=faded", "method=copied", "sampler=plain", "mask=left", "dataset=ramps metrics.names=[brightness]",
        "method=ddnm+isdiff isdiff/seed=median isdiff/criterion=gap", "method=median",
    ],
)  # fmt: skip
def test_what_is_printed_runs_with_the_yaml_beside_it(folder, overrides, monkeypatch, tmp_path):
    monkeypatch.chdir(folder)
    few = ["limit=1", "sampler.steps=2", "sampler.repeat=1", "metrics.names=[]", f"output_root={tmp_path}"]
    outcome = execute(compose_run([*few, *overrides.split()]))
    assert not outcome.failed and outcome.summary["n"] == 1
    assert "brightness" not in overrides or outcome.summary["metrics"]["brightness"]["value"] >= 0


def test_methods_and_sampler(shown, golden_prior):
    grid = Grid.of(named_betas("linear"), leading_timesteps(1000, 10))
    hole = torch.zeros(1, 16, 16, dtype=torch.bool)
    hole[..., 8:] = True
    task = Task("a", torch.rand(3, 16, 16).masked_fill(hole, 0), hole)
    for sampler, known in product((DDIM(), shown["Plain"]()), (shown["Faded"](), shown["Copied"]())):
        engine = Engine(golden_prior, grid, sampler, known, lambda n: resampling_plan(n, (3, 2)))
        (result,) = engine.run([task])
        assert torch.allclose(result.x[:, ~hole[0]], task.image[:, ~hole[0]], atol=1e-5)
    results = []
    for sampler in (DDIM(), shown["Plain"]()):
        (result,) = Engine(golden_prior, grid, sampler, Known(), resampling_plan).run([task])
        results.append(result.x)
    assert torch.allclose(*results, atol=1e-5), "the sampler shown is DDIM"


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


def test_model(shown, folder, tmp_path, monkeypatch):
    """A small network of diffusers' kind, filling a hole from a seed, and known by its weights."""
    torch.manual_seed(0)
    options = {
        "block_out_channels": (32, 32),
        "down_block_types": ("DownBlock2D",) * 2,
        "up_block_types": ("UpBlock2D",) * 2,
    }
    UNet2DModel(sample_size=16, layers_per_block=1, **options).save_pretrained(tmp_path / "ddpm")
    model = shown["DDPMModel"]("ddpm", str(tmp_path / "ddpm"), 16)
    monkeypatch.chdir(folder)
    written = compose_run(["model=ddpm_celebahq", f"model.weights={tmp_path / 'ddpm'}"])
    assert isinstance(Setup.of(written).model, shown["DDPMModel"])
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
