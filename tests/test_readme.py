"""What README and documentation show works as shown."""

import json
import re
import subprocess
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from conftest import ROOT
from PIL import Image

from isdiff.cli import main
from isdiff.diffusion.grid import Grid
from isdiff.diffusion.process import named_betas
from isdiff.diffusion.timesteps import leading_timesteps, resampling_plan
from isdiff.engine import Engine
from isdiff.known.base import Known
from isdiff.samplers.base import Sampler, falls
from isdiff.samplers.ddim import DDIM
from isdiff.trajectory import Task

PAGES = {path: path.read_text("utf-8") for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))}
TEXT = "\n".join(PAGES.values())


MADE_UP = {"configs/isdiff/seed/median.yaml", "models/metrics/"}


def shown_code(path: str) -> str:
    return re.search(rf"```python\n(# {re.escape(path)}.*?)```", TEXT, re.S).group(1)


def test_the_added_method_and_sampler_run_and_keep_known_pixels(golden_prior):
    names = {"Known": Known, "Sampler": Sampler, "falls": falls}
    exec(shown_code("isdiff/known/faded.py"), names)
    exec(shown_code("isdiff/known/copied.py"), names)
    exec(shown_code("isdiff/samplers/plain.py"), names)
    grid = Grid.of(named_betas("linear"), leading_timesteps(1000, 10))
    hole = torch.zeros(1, 16, 16, dtype=torch.bool)
    hole[..., 8:] = True
    task = Task("a", torch.rand(3, 16, 16).masked_fill(hole, 0), hole)
    for sampler, known in product((DDIM(), names["Plain"]()), (names["Faded"](), names["Copied"]())):
        engine = Engine(golden_prior, grid, sampler, known, lambda n: resampling_plan(n, 3, 2))
        (result,) = engine.run([task])
        assert torch.allclose(result.x[:, ~hole[0]], task.image[:, ~hole[0]], atol=1e-5)
    results = []
    for sampler in (DDIM(), names["Plain"]()):
        (result,) = Engine(golden_prior, grid, sampler, Known(), resampling_plan).run([task])
        results.append(result.x)
    assert torch.allclose(*results, atol=1e-5), "the sampler shown is DDIM"


def test_the_diffusers_pipeline_runs_as_shown(monkeypatch, capsys):
    from isdiff.data.drawn_dataset import DrawnDataset
    from isdiff.masks.fixed import HalfMask

    code = re.search(r"```python\n(from diffusers.*?)```", TEXT, re.S).group(1)
    data = DrawnDataset("avatars", root=str(ROOT / "data"))
    names = {"image": Image.fromarray(data.image(data.ids()[0])), "mask": Image.fromarray(HalfMask().hole("", 64, 64))}
    monkeypatch.chdir(ROOT)
    exec(code, names)
    assert names["picture"].size == (64, 64) and not hasattr(names["pipe"], "isdiff")
    assert "dce=" in capsys.readouterr().out


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_every_file_that_a_page_links_to_is_there(page):
    links = [*re.findall(r"\]\((?!http)([^)#\s]+)[^)]*\)", PAGES[page]), *re.findall(r'src="([^"]+)"', PAGES[page])]
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_path_that_a_page_names_is_there():
    """Files of this repository between backticks, but for one that is made up and one that comes with downloads."""
    named = set(re.findall(r"`((?:configs|benchmarks|tests|models|data|scripts)/[\w./+-]+)`", TEXT))
    assert named and [name for name in sorted(named - MADE_UP) if not (ROOT / name).exists()] == []


def test_every_configuration_choice_in_the_table_is_there():
    for group in ("dataset", "mask", "method", "isdiff", "isdiff/seed", "isdiff/criterion", "sampler", "logger"):
        row = re.search(rf"^\| `{group}` \|(.*)\|$", TEXT, re.M).group(1)
        for choice in re.findall(r"`([a-z0-9_+]+)`", row.split("keys")[0]):
            if choice not in ("dev", "train"):
                assert (ROOT / "configs" / group / f"{choice}.yaml").exists(), (group, choice)


def shell_lines() -> list[str]:
    """The runs in README's blocks and sentences."""
    blocks = re.findall(r"```\n(.*?)```", TEXT, re.S)
    lines = [line for block in blocks for line in block.splitlines() if line.startswith("isdiff run ")]
    return [*lines, *re.findall(r"`(isdiff run [^`]*=[^`]*)`", TEXT)]


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


@pytest.mark.slow
def test_your_own_photos_as_shown(tmp_path, monkeypatch):
    """The Python as it stands, and the commands with two steps each."""
    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8)
    photo = Image.fromarray(pixels).resize((100, 80), Image.Resampling.BICUBIC)
    photo.save("photo.jpg")
    mask = Image.new("L", photo.size)
    mask.paste(255, (30, 20, 60, 50))
    mask.save("mask.png")
    (tmp_path / "photos").mkdir()
    photo.save("photos/one.png")
    exec(shown_code("your own code").replace("seed=0", "seed=0, steps=2"))
    with Image.open("out.png") as out, Image.open("photo.jpg") as given:
        known = np.asarray(mask) == 0
        assert (np.asarray(out)[known] == np.asarray(given)[known]).all()
        assert (np.asarray(out)[~known] != np.asarray(given)[~known]).any()
    (tmp_path / "out.png").unlink()
    block = re.search(r"# Your own photos\n\n```\n(.*?)```", TEXT, re.S).group(1)
    for line in block.splitlines():
        words = line.partition("  #")[0].split()
        assert words[0] == "isdiff" and main([*words[1:], "--steps", "2"]) == 0
        assert Path(words[-1]).exists()
    assert len(list(Path("out").iterdir())) == 4


def test_the_table_has_the_numbers_of_its_results():
    """README's table and benchmarks/results/floors.json, which `make floors` wrote."""
    rows = json.loads((ROOT / "benchmarks/results/floors.json").read_text())["rows"]
    found = {(row["group"], row["mask"], row["label"]): row for row in rows}
    lines = [line.strip("| ").split(" | ") for line in PAGES[ROOT / "README.md"].splitlines() if line.startswith("| ")]
    head, *table = lines
    assert len(table) == 6
    for name, *cells in table:
        for where, cell in zip(head[1:], cells, strict=True):
            side, mask = where.split(", ")
            row = found.get((f"{side} pixels", mask, name.strip("*")))
            values = row and f"{row['lite0_perceptual']['value']:.2f}, {row['lite0_kid']['value']:.0f}"
            assert cell == (values or "-"), (name, where)
            assert row is None or row["n"] == (200 if side == "64" else 60)
