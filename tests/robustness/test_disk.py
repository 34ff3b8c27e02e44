"""Disks that do not do as asked, images that cannot be read, and jobs of which one is bad."""

import json
import os
import resource
import time

import numpy as np
import pytest
from conftest import ROOT, run_script
from PIL import Image

QUICK = ["model=avatars64", "method=ddnm", "sampler.repeat=1", "sampler.steps=2", "metrics.names=null"]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_many_unreadable_images_end_soon_and_in_few_words(tmp_path, workers):
    (tmp_path / "images").mkdir()
    for i in range(1000):
        (tmp_path / "images" / f"{i:04d}.png").write_bytes(b"no image")
    for i in range(2):
        Image.fromarray(np.full((64, 64, 3), 60 * i, np.uint8)).save(tmp_path / "images" / f"good{i}.png")
    begun = time.monotonic()
    done = run_script(
        *QUICK, "dataset=folder", f"dataset.path={tmp_path / 'images'}", f"runtime.workers={workers}",
        f"output_root={tmp_path / 'out'}", check=False,
    )  # fmt: skip
    assert time.monotonic() - begun < 120
    assert done.returncode == 3 and "Traceback" not in done.stderr
    assert "0000: image" in done.stderr and "and 999 more like it" in done.stderr
    assert len(done.stderr.splitlines()) < 10 and len(done.stdout.splitlines()) < 20
    (summary,) = (tmp_path / "out").rglob("summary.json")
    assert len(json.loads(summary.read_text())["failed"]) == 1000


def test_a_file_that_cannot_grow(tmp_path):
    """As on a full disk, every write fails; what was done before stays. Below a file there is no folder either."""
    options = [*QUICK, "dataset=avatars", f"output_root={tmp_path / 'out'}"]
    (tmp_path / "out").write_text("a file")
    done = run_script(*options, "limit=1", check=False)
    assert done.returncode == 1 and "give another place" in done.stderr
    (tmp_path / "out").unlink()
    run_script(*options, "limit=1")
    before = {p: p.read_bytes() for p in tmp_path.rglob("*.png") if p.parent.name == "images"}
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limit[1]))
    try:
        done = run_script(*options, "limit=2", check=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert done.returncode == 1 and "Traceback" not in done.stderr and "File too large" in done.stderr
    assert {p: p.read_bytes() for p in tmp_path.rglob("*.png") if p.parent.name == "images"} == before
    assert not list(tmp_path.rglob("*.tmp"))
    assert run_script(*options, "limit=2").returncode == 0


def test_one_bad_job_does_not_end_a_multirun(tmp_path):
    there = set(ROOT.iterdir())
    done = run_script(
        "-m", *QUICK, "dataset=avatars", "limit=1", "sampler.steps=2,0,3", f"output_root={tmp_path}", check=False
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "sampler.steps is 0" in done.stderr
    assert len(list(tmp_path.rglob("summary.json"))) == 2
    table = done.stdout.strip().splitlines()[-3:]
    assert "sampler.steps=2" in table[0] and table[0].endswith("1 images")
    assert "sampler.steps=0" in table[1] and "must be a whole number" in table[1]
    assert set(ROOT.iterdir()) == there, "no multirun.yaml in the repository"
    assert (tmp_path / "multirun" / "multirun.yaml").exists()


@pytest.mark.long
def test_an_online_logger_without_a_key_is_refused_first(tmp_path):
    env = {k: v for k, v in os.environ.items() if not k.startswith("WANDB")} | {"HOME": str(tmp_path)}
    options = [*QUICK, "dataset=avatars", "limit=1", "logger=wandb", f"output_root={tmp_path}"]
    for more, said in (({}, "needs a key"), ({"WANDB_MODE": "nowhere"}, "logger.mode (or WANDB_MODE) is 'nowhere'")):
        done = run_script(*options, *([] if more else ["logger.mode=online"]), check=False, env=env | more)
        assert done.returncode == 1 and said in done.stderr and done.stderr.count("\n") == 1
    assert not list(tmp_path.rglob("per_image.jsonl"))
