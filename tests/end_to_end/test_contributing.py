"""What README and docs/extending.md show works as shown, and what CONTRIBUTING names is there."""

import json
import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from conftest import ROOT
from diffusers import UNet2DModel

import isdiff
from isdiff import Engine, Task, UserError
from isdiff.cli import main
from isdiff.config.composing import compose_run
from isdiff.config.setup import Setup
from isdiff.diffusion.grid import Grid
from isdiff.diffusion.schedule import leading_timesteps, named_betas, resampling_plan
from isdiff.known import KnownRegion, NullSpace
from isdiff.packages import installed_packages
from isdiff.samplers.solvers import DDIM
from isdiff.seeds.base import SeededStart

README = (ROOT / "README.md").read_text("utf-8")
TEXT = "\n".join((ROOT / name).read_text("utf-8") for name in ("CONTRIBUTING.md", "docs/extending.md"))
PRINTED = dict(re.findall(r"```\w+\n# (my_methods/\S+)\n(.*?)```", TEXT + README, re.S))
MODULES = sorted(Path(path).stem for path in PRINTED if path.endswith(".py"))
FEW = ("limit=1", "sampler.steps=2", "sampler.repeat=1", "metrics.bootstrap=5")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A working folder with the package that README and extending.md print, file by file."""
    place = tmp_path_factory.mktemp("own")
    (place / "my_methods").mkdir()
    (place / "my_methods" / "__init__.py").write_text("")
    for path, code in PRINTED.items():
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        (place / path).write_text(code)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(place)
        patch.setenv("ISDIFF_PLUGINS", "my_methods")
        yield place
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_methods"]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def shown(folder):
    """What is defined there, by name."""
    return {name: found for module in MODULES for name, found in vars(import_module(f"my_methods.{module}")).items()}


@pytest.mark.parametrize(
    "overrides",
    [
        "method=faded sampler=plain mask=left dataset=ramps", "method=copied mask=left", "method=median",
        "method=ddnm+isdiff isdiff/seed=median isdiff/criterion=gap",
    ],
)  # fmt: skip
def test_what_is_printed_runs_with_the_yaml_beside_it(folder, overrides, tmp_path):
    """As a shell starts it, which finds the package by the environment."""
    assert main(["run", *FEW, "metrics.names=[brightness]", f"output_root={tmp_path}", *overrides.split()]) == 0
    (summary,) = tmp_path.rglob("summary.json")
    assert json.loads(summary.read_text())["metrics"]["brightness"]["value"] >= 0


def test_python_takes_them(folder):
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    hole = np.zeros((64, 64), bool)
    hole[20:40, 20:40] = True
    image = isdiff.inpaint(pixels, hole, "faded", "photos64", steps=2).image
    assert (image[~hole] == pixels[~hole]).all() and (image[hole] != pixels[hole]).any()


def test_the_shell_takes_them_by_entry_point(folder, tmp_path, monkeypatch, capsys):
    """As pip writes it where pyproject.toml says so."""
    monkeypatch.setenv("ISDIFF_PLUGINS", "")
    assert main(["--plugin", "no_such_package", "run", "--cfg", "job"]) == 1
    said = capsys.readouterr().err
    assert "plugin no_such_package cannot be imported" in said and said.count("\n") == 1
    there = tmp_path / "my_methods-1.dist-info"
    there.mkdir()
    (there / "METADATA").write_text("Metadata-Version: 2.1\nName: my_methods\nVersion: 1")
    (there / "entry_points.txt").write_text("[isdiff.components]\nmine = my_methods\n")
    monkeypatch.setenv("ISDIFF_PLUGINS", "")
    monkeypatch.syspath_prepend(tmp_path)
    installed_packages.cache_clear()
    try:
        assert main(["run", "method=faded", "--cfg", "job"]) == 0 and "my_methods.faded" in capsys.readouterr().out
    finally:
        installed_packages.cache_clear()


def test_a_comparison_takes_them_by_option(folder, tmp_path):
    """In a process of its own, which finds the package in its folder."""
    (folder / "my_methods" / "configs" / "compare").mkdir(exist_ok=True)
    rows = [{"label": name, "overrides": [f"method={name}"]} for name in ("faded", "copied")]
    (folder / "my_methods" / "configs" / "compare" / "mine.yaml").write_text(yaml.safe_dump({
        "folder": f"{tmp_path}/table", "masks": ["left"], "metrics": ["brightness"],
        "groups": [{"limit": 1, "rows": rows}], "common": ["dataset=ramps", *FEW[1:], f"output_root={tmp_path}/out"],
    }))  # fmt: skip
    environment = {key: value for key, value in os.environ.items() if key != "ISDIFF_PLUGINS"}
    environment |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(tmp_path)}
    alone = ["-P"] if sys.version_info >= (3, 11) else []
    command = [sys.executable, *alone, "-m", "isdiff", "--plugin", "my_methods", "compare", "mine"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "| copied |" in done.stdout and "error of the mean brightness" in done.stdout


def test_the_sampler_shown_is_ddim(shown, golden_prior):
    grid = Grid.of(named_betas("linear"), leading_timesteps(1000, 10))
    hole = torch.zeros(1, 16, 16, dtype=torch.bool)
    hole[..., 8:] = True
    task, found = Task("a", torch.rand(3, 16, 16).masked_fill(hole, 0), hole), []
    for sampler in (DDIM(), shown["Plain"]()):
        (result,) = Engine(golden_prior, grid, sampler, KnownRegion(), resampling_plan).run([task])
        found.append(result.x)
    assert torch.allclose(*found, atol=1e-5)


def test_model(shown, tmp_path):
    """A small network of diffusers' kind, filling a hole from a seed, and known by its weights."""
    torch.manual_seed(0)
    blocks = {"down_block_types": ("DownBlock2D",) * 2, "up_block_types": ("UpBlock2D",) * 2}
    UNet2DModel(16, layers_per_block=1, block_out_channels=(32, 32), **blocks).save_pretrained(tmp_path / "ddpm")
    model = shown["DDPMModel"]("ddpm", str(tmp_path / "ddpm"), 16)
    written = compose_run(["model=ddpm_celebahq", f"model.weights={tmp_path / 'ddpm'}"])
    assert isinstance(Setup.of(written).model, shown["DDPMModel"])
    assert model.missing() == [] and len(model.fingerprint()["weights"]) > 8
    with pytest.raises(UserError, match=r"needs a latent model: .* not ddpm"):
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
