"""``torchrun -m isdiff run``: several processes make what one makes, also where some of them die."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from configured import tiny_images, tiny_words
from conftest import ROOT
from PIL import Image
from process_parts import below, gone, needs_proc, stat

from isdiff.cli import main
from isdiff.config.composing import compose_run
from isdiff.parallel import pool
from isdiff.parallel.pool import own_gpu
from isdiff.runs.report import CIRCUMSTANCES
from isdiff.runs.run import execute

TIMES = ("seconds_per_image", "images_per_second", *CIRCUMSTANCES)


@pytest.fixture(scope="module")
def place(tmp_path_factory, golden_net):
    path = tmp_path_factory.mktemp("ranks")
    tiny_images(path, golden_net, 9)
    for name in ("broken", "im3"):  # one more that cannot be read, and one in the middle
        (path / "images" / f"{name}.png").write_bytes(b"no image")
    (path / "good").mkdir()
    for i in (0, 1, 2, 4, 5, 6, 7, 8):
        Image.open(path / "images" / f"im{i}.png").save(path / "good" / f"im{i}.png")
    return path


def overrides(place: Path, out: Path, images: str, *more: str) -> list[str]:
    return [
        *tiny_words(place), f"dataset.path={place / images}", "method=ddnm+isdiff", "sampler.steps=10",
        "metrics.names=[ssim]", "metrics.bootstrap=20", f"output_root={out}", *more,
    ]  # fmt: skip


def left(folder: Path) -> dict:
    """What a run leaves, without times and places."""
    (path,) = folder.rglob("summary.json")
    summary = json.loads(path.read_text())
    for key in TIMES:
        del summary[key]
    records = [json.loads(line) for line in (path.parent / "per_image.jsonl").read_text().splitlines()]
    for record in records:
        del record["seconds"]
    files = {p.name: p.read_bytes() for p in path.parent.rglob("*") if p.suffix in (".png", ".yaml", ".npy")}
    return {"summary": json.dumps(summary), "records": json.dumps(records), "folder": path.parent.name} | files


def test_each_process_has_the_gpu_of_its_place(monkeypatch):
    monkeypatch.setattr("isdiff.parallel.pool.resolve_device", lambda name: torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    for named, place, found in (("auto", 2, "cuda:2"), ("cuda", 5, "cuda:1"), ("cuda:3", 0, "cuda:3")):
        cfg = compose_run([f"runtime.device={named}"])
        own_gpu(cfg.runtime, place)
        assert cfg.runtime.device == found


def test_ranks_but_the_first_have_nothing_to_do(monkeypatch, capsys):
    values = {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "RANK": "1"}
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    assert main(["run", "no", "such", "words"]) == 0 and capsys.readouterr() == ("", "")
    for name, value in (("RANK", "0"), ("WORLD_SIZE", "4")):
        monkeypatch.setenv(name, value)
    assert main(["run"]) == 1 and "torchrun was given several machines" in capsys.readouterr().err
    assert pool.launched == 1


def torchrun(count: int, *arguments: str, **options) -> subprocess.Popen:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={count}", *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def once_under_way(process: subprocess.Popen, out: Path, count: int) -> dict[int, int]:
    """The ranks, once some images are there."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        lists = list(out.rglob("per_image.jsonl"))
        if lists and lists[0].read_text().count("\n") >= count:
            own = {pid: env for pid, (_, env) in below(process.pid).items() if stat(pid)[1] == str(process.pid)}
            return {int(v[5:]): pid for pid, env in own.items() for v in env if v.startswith(b"RANK=")}
        time.sleep(0.1)
    raise AssertionError(f"no images: {process.communicate()}")


def stamps(out: Path) -> dict[str, int]:
    return {p.name: p.stat().st_mtime_ns for p in out.rglob("images/*.png") if not p.name.startswith(".")}


LONG = ("method=ddnm", "sampler.steps=60", "sampler.repeat=1", "runtime.batch_size=1")


@pytest.mark.slow
def test_a_multirun_of_several_ranks(place, tmp_path):
    """Three runs, of which one is not possible; two ranks, of which one speaks."""
    words = overrides(place, tmp_path / "ranks", "images", "sampler.steps=10", "seed=1,x,0")
    process = torchrun(2, "-m", "isdiff", "run", "-m", *words)
    out, err = process.communicate(timeout=250)
    assert process.returncode and "seed is 'x'" in err
    assert out.count("results:") == 2 and out.count(": 8 images, 2 failed") == 2
    (other,) = (path.parent for path in (tmp_path / "ranks").rglob("summary.json") if '"seed": 1' in path.read_text())
    shutil.rmtree(other)
    execute(compose_run(overrides(place, tmp_path / "alone", "images")))
    assert left(tmp_path / "ranks") == left(tmp_path / "alone")


@pytest.mark.long
@needs_proc
def test_torchrun_goes_on_where_a_killed_rank_left_it(place, tmp_path):
    words = overrides(place, tmp_path / "ranks", "good", *LONG)
    process = torchrun(2, "--max-restarts=1", "-m", "isdiff", "run", *words)
    pids = once_under_way(process, tmp_path, 2)
    os.kill(pids[0], signal.SIGKILL)
    before = stamps(tmp_path)
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    assert out.count("results:") == 1 and "8 images" in out
    after = stamps(tmp_path)
    assert len(after) == 8 and 2 <= len(before) < 8 and before.items() <= after.items(), "nothing was made twice"
    execute(compose_run(overrides(place, tmp_path / "alone", "good", *LONG)))
    assert left(tmp_path / "ranks") == left(tmp_path / "alone")


@pytest.mark.long
@needs_proc
def test_ranks_end_with_torchrun_and_one_process_goes_on(place, tmp_path):
    words = overrides(place, tmp_path, "good", *LONG)
    process = torchrun(2, "-m", "isdiff", "run", *words)
    pids = once_under_way(process, tmp_path, 2)
    process.kill()
    process.communicate(timeout=30)
    assert gone(pids.values())
    before = stamps(tmp_path)
    outcome = execute(compose_run(words))
    assert outcome.summary["n"] == 8 and before.items() <= stamps(tmp_path).items()
