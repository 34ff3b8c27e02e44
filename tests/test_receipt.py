"""A finished run answers without loading anything slow, and only while nothing has moved."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from isdiff.cli.run import one_run
from isdiff.config.composing import compose_run
from isdiff.runs import run_cache

ROOT = Path(__file__).parents[1]
STEPS = ["method=ddnm+isdiff", "sampler.steps=2", "limit=2"]


@pytest.fixture(scope="module")
def tmp_path(tmp_path_factory):
    return tmp_path_factory.mktemp("receipt")


@pytest.fixture(scope="module")
def arguments(tmp_path):
    """Of a run over two pictures with a mask each."""
    photos, masks = tmp_path / "in", tmp_path / "masks"
    for folder in (photos, masks):
        folder.mkdir()
    rng = np.random.default_rng(0)
    for name in ("a.png", "b.png"):
        Image.fromarray(rng.integers(0, 256, (64, 64, 3), np.uint8)).save(photos / name)
        Image.fromarray(np.where(np.arange(64) < 20, 255, 0).astype(np.uint8)[None].repeat(64, 0)).save(masks / name)
    model = tmp_path / "unet.safetensors"
    shutil.copy(ROOT / "models/photos64/unet.safetensors", model)
    given = [f"dataset.path={photos}", "mask=files", f"mask.path={masks}", "model=photos64", f"model.weights={model}"]
    return ["dataset=folder", *given, f"output_root={tmp_path}/out", *STEPS]


@pytest.fixture
def command(arguments):
    """The run has finished."""
    cfg = compose_run(arguments)
    if run_cache.finished(cfg) is None:
        assert one_run(cfg)[1] == 0
    return arguments


def test_the_same_command_answers_without_torch(command):
    code = f"""
import sys
from isdiff.cli import main
code = main({["run", *command]!r})
print([name for name in ("torch", "sklearn", "diffusers", "matplotlib") if name in sys.modules], code)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[] 0"
    assert "ddnm+isdiff" in done.stdout and "results: " in done.stdout


def touch(path, content=None):
    data = path.read_bytes() if content is None else content
    time.sleep(0.01)
    path.write_bytes(data)


@pytest.mark.parametrize(
    "moved", ["weights", "image", "mask", "picture", "summary.md", "per_image.jsonl", "grid.png", "one more image"]
)
def test_whatever_moves_is_looked_at(command, tmp_path, moved):
    cfg = compose_run(command)
    store = run_cache.finished(cfg)
    assert store is not None
    files = {
        "weights": tmp_path / "unet.safetensors",
        "image": min((tmp_path / "in").iterdir()),
        "mask": min((tmp_path / "masks").iterdir()),
        "picture": min((store.path / "images").iterdir()),
    }
    if moved == "one more image":
        shutil.copy(files["image"], tmp_path / "in" / "0.png")  # the first by name, so among the first two
        shutil.copy(files["mask"], tmp_path / "masks" / "0.png")
    else:
        touch(files.get(moved, store.path / moved))
    assert run_cache.finished(cfg) is None


@pytest.mark.parametrize("other", ["seed=1", "runtime.batch_size=3", "limit=1", "metrics.bootstrap=7", "logger=wandb"])
def test_another_command_is_another_run(command, other):
    assert run_cache.finished(compose_run([*command, other])) is None


def test_a_receipt_that_is_none_is_passed_over(command):
    cfg = compose_run(command)
    path = run_cache.place(run_cache.with_texts(cfg))
    for content in ("", "[]", "{}", json.dumps({"folder": 3, "state": 4}), json.dumps({"folder": os.sep, "state": ""})):
        path.write_text(content)
        assert run_cache.finished(cfg) is None


def test_a_run_with_a_missing_picture_is_made_whole(command):
    cfg = compose_run(command)
    store = run_cache.finished(cfg)
    picture = min((store.path / "images").iterdir())
    before = picture.read_bytes()
    picture.unlink()
    assert run_cache.finished(cfg) is None
    assert one_run(cfg)[1] == 0
    assert picture.read_bytes() == before
    assert run_cache.finished(cfg) is not None


def test_weights_of_metrics_that_appear_are_noticed(arguments, tmp_path):
    cfg = compose_run([*arguments, f"model_root={tmp_path}/models", "metrics.names=[ssim]"])
    assert one_run(cfg)[1] == 0 and run_cache.finished(cfg) is not None
    (tmp_path / "models" / "metrics").mkdir(parents=True)
    (tmp_path / "models" / "metrics" / "alexnet.pth").write_bytes(b"new")
    assert run_cache.finished(cfg) is None
