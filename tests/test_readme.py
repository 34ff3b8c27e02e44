"""What the README shows works as shown."""

import re
import subprocess
import sys

import pytest
import torch
import yaml
from conftest import ROOT

from isdiff.diffusion.process import add_noise, named_betas, predict_x0
from isdiff.diffusion.timesteps import Grid, leading_timesteps, resampling_plan
from isdiff.engine import Engine
from isdiff.methods.base import Method
from isdiff.trajectory import Task

README = (ROOT / "README.md").read_text()


def test_the_added_method_runs_and_keeps_known_pixels(golden_prior):
    code = re.search(r"```python\n(# isdiff/methods/paste.py.*?)```", README, re.S).group(1)
    names = {"Method": Method, "add_noise": add_noise, "predict_x0": predict_x0}
    exec(code, names)
    grid = Grid.of(named_betas("linear"), leading_timesteps(1000, 10))
    hole = torch.zeros(1, 16, 16, dtype=torch.bool)
    hole[..., 8:] = True
    task = Task("a", torch.rand(3, 16, 16).masked_fill(hole, 0), hole)
    engine = Engine(golden_prior, grid, names["Paste"](), lambda n: resampling_plan(n, (3, 2)))
    (result,) = engine.run([task])
    assert torch.allclose(result.x[:, ~hole[0]], task.image[:, ~hole[0]], atol=1e-5)


def test_every_file_that_the_readme_links_to_is_there():
    links = re.findall(r"\]\((?!http)([^)#]+)\)", README)
    assert links and all((ROOT / link).exists() for link in links)


def test_every_configuration_choice_in_the_table_is_there():
    for group in ("dataset", "mask", "method", "isdiff", "sampler", "logger"):
        row = re.search(rf"^\| `{group}` \|(.*)\|$", README, re.M).group(1)
        for choice in re.findall(r"`([a-z0-9_+]+)`", row.split("keys")[0]):
            if choice not in ("dev", "train"):
                assert (ROOT / "configs" / group / f"{choice}.yaml").exists(), (group, choice)


def shell_lines() -> list[str]:
    """The runs in README's blocks and sentences."""
    blocks = re.findall(r"```\n(.*?)```", README, re.S)
    lines = [line for block in blocks for line in block.splitlines() if line.startswith("python scripts/run.py")]
    return [*lines, *re.findall(r"`(python scripts/run\.py [^`]*)`", README)]


@pytest.mark.parametrize("line", shell_lines())
def test_runs_are_understood_as_written_in_a_shell(line, tmp_path):
    """Quotes, commas and all: composed, not run."""
    command, _, _ = line.partition("  #")
    command = command.replace("python ", f"{sys.executable} ", 1).replace(" -m ", " ")
    command = re.sub(r"(\w+=\w+),\w+", r"\1", command) if " -m " in line else command
    done = subprocess.run(["sh", "-c", f"{command} --cfg job"], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    for text in re.findall(r"prompt=\"([^\"]+)\"", line):
        assert yaml.safe_load(done.stdout)["prompt"] == text
