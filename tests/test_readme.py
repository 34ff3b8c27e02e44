"""What the README shows works as shown."""

import re
import subprocess
import sys

import pytest
import torch
import yaml
from conftest import ROOT

from isdiff.diffusion.grid import Grid
from isdiff.diffusion.process import named_betas
from isdiff.diffusion.timesteps import leading_timesteps, resampling_plan
from isdiff.engine import Engine
from isdiff.known.base import Known
from isdiff.samplers.base import Sampler, falls
from isdiff.samplers.ddim import DDIM
from isdiff.trajectory import Task

README = (ROOT / "README.md").read_text()


def shown_code(path: str) -> str:
    return re.search(rf"```python\n(# {re.escape(path)}.*?)```", README, re.S).group(1)


def test_the_added_method_and_sampler_run_and_keep_known_pixels(golden_prior):
    names = {"Known": Known, "Sampler": Sampler, "falls": falls}
    exec(shown_code("isdiff/known/faded.py"), names)
    exec(shown_code("isdiff/samplers/plain.py"), names)
    grid = Grid.of(named_betas("linear"), leading_timesteps(1000, 10))
    hole = torch.zeros(1, 16, 16, dtype=torch.bool)
    hole[..., 8:] = True
    task = Task("a", torch.rand(3, 16, 16).masked_fill(hole, 0), hole)
    for sampler in (DDIM(), names["Plain"]()):
        engine = Engine(golden_prior, grid, sampler, names["Faded"](), lambda n: resampling_plan(n, (3, 2)))
        (result,) = engine.run([task])
        assert torch.allclose(result.x[:, ~hole[0]], task.image[:, ~hole[0]], atol=1e-5)
    results = []
    for sampler in (DDIM(), names["Plain"]()):
        (result,) = Engine(golden_prior, grid, sampler, Known(), resampling_plan).run([task])
        results.append(result.x)
    assert torch.allclose(*results, atol=1e-5), "the sampler shown is DDIM"


def test_the_diffusers_pipeline_runs_as_shown(monkeypatch, capsys):
    from PIL import Image

    from isdiff.data.drawn_dataset import DrawnDataset
    from isdiff.masks.fixed import HalfMask

    code = re.search(r"```python\n(from diffusers.*?)```", README, re.S).group(1)
    data = DrawnDataset("avatars", root=str(ROOT / "data"))
    names = {"image": Image.fromarray(data.image(data.ids()[0])), "mask": Image.fromarray(HalfMask().hole("", 64, 64))}
    monkeypatch.chdir(ROOT)
    exec(code, names)
    assert names["picture"].size == (64, 64) and not hasattr(names["pipe"], "isdiff")
    assert "dce=" in capsys.readouterr().out


def test_every_file_that_the_readme_links_to_is_there():
    links = re.findall(r"\]\((?!http)([^)#]+)\)", README)
    assert links and all((ROOT / link).exists() for link in links)


def test_every_configuration_choice_in_the_table_is_there():
    for group in ("dataset", "mask", "method", "isdiff", "isdiff/seed", "isdiff/criterion", "sampler", "logger"):
        row = re.search(rf"^\| `{group}` \|(.*)\|$", README, re.M).group(1)
        for choice in re.findall(r"`([a-z0-9_+]+)`", row.split("keys")[0]):
            if choice not in ("dev", "train"):
                assert (ROOT / "configs" / group / f"{choice}.yaml").exists(), (group, choice)


def shell_lines() -> list[str]:
    """The runs in README's blocks and sentences."""
    blocks = re.findall(r"```\n(.*?)```", README, re.S)
    lines = [line for block in blocks for line in block.splitlines() if line.startswith("isdiff run ")]
    return [*lines, *re.findall(r"`(isdiff run [^`]*=[^`]*)`", README)]


@pytest.mark.parametrize("line", shell_lines())
def test_runs_are_understood_as_written_in_a_shell(line, tmp_path):
    """Quotes, commas and all: composed, not run."""
    command, _, _ = line.partition("  #")
    command = command.replace(" -m ", " ").replace("isdiff ", f"{sys.executable} -m isdiff ", 1)
    command = re.sub(r"(\w+=\w+),\w+", r"\1", command) if " -m " in line else command
    done = subprocess.run(["sh", "-c", f"{command} --cfg job"], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    for text in re.findall(r"prompt=\"([^\"]+)\"", line):
        assert yaml.safe_load(done.stdout)["prompt"] == text
