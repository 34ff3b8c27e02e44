"""Several processes, signals, and disks that do not do as asked."""

import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from configured import RECORD
from conftest import ROOT, run_script
from PIL import Image

from isdiff.errors import UserError
from isdiff.parallel import pool
from isdiff.progress import Reporter
from isdiff.runs.store import RunFolder

LONG = ["dataset=avatars", "method=ddnm", "sampler.repeat=1", "sampler.steps=1000", "limit=4", "metrics.names=null"]
QUICK = ["model=avatars64", "method=ddnm", "sampler.repeat=1", "sampler.steps=2", "metrics.names=null"]


def children(pid: int) -> list[int]:
    """Processes below ``pid``, at any depth."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except (OSError, IndexError):
                continue
            if parent == pid:
                found += [int(entry.name), *children(int(entry.name))]
    return found


def alive(pid: int) -> bool:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def start(out: Path, *overrides: str) -> subprocess.Popen:
    command = [sys.executable, "scripts/run.py", *LONG, f"output_root={out}", *overrides]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True)


def started(process: subprocess.Popen, workers: int) -> list[int]:
    """The sampling processes, once they have been at it for a while."""
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and process.poll() is None:
        busy = []
        for pid in children(process.pid):
            with suppress(OSError):  # it has ended meanwhile
                busy += [pid] if b"spawn_main" in (Path("/proc") / str(pid) / "cmdline").read_bytes() else []
        if len(busy) >= workers:
            time.sleep(6)
            return busy
        time.sleep(0.2)
    raise AssertionError("no sampling processes")


def gone(pids: list[int], seconds: float = 15) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and any(map(alive, pids)):
        time.sleep(0.2)
    return not any(map(alive, pids))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_no_sampling_process_outlives_the_run(tmp_path, sent):
    process = start(tmp_path, "runtime.workers=2")
    workers = started(process, 2)
    if sent == signal.SIGINT:
        os.killpg(process.pid, sent)  # what Ctrl-C does
    else:
        process.send_signal(sent)
    _, said = process.communicate(timeout=30)
    assert gone(workers) and process.returncode != 0
    assert "Traceback" not in said
    if sent == signal.SIGINT:
        assert process.returncode == 130 and "the same command goes on from here" in said


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_others_make_the_images_of_a_killed_process(tmp_path):
    process = start(tmp_path, "runtime.workers=2", "sampler.steps=200", "runtime.batch_size=1", "limit=6")
    os.kill(started(process, 2)[0], signal.SIGKILL)
    _, said = process.communicate(timeout=200)
    assert process.returncode == 0 and "Traceback" not in said, said
    assert len(list(tmp_path.rglob("images/*.png"))) == 6


def deadly(item: Path, place: int, tell) -> tuple[str, int]:
    """Kills its process where there is nothing yet in the place of ``item``, and leaves something there."""
    tell(item.name)
    if not item.exists():
        item.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return item.name, place


@pytest.mark.parametrize("died", [0, pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)])
def test_a_pool_goes_on_after_deaths_but_not_for_ever(tmp_path, monkeypatch, died):
    monkeypatch.setattr(pool, "RETRIES", 1)
    items, heard = [tmp_path / name for name in "abcd"], []
    for item in items[died:]:
        item.touch()

    def make():
        return pool.in_processes(deadly, items, 1, lambda *told: heard.append(told))

    if died > 1:
        with pytest.raises(UserError, match="processes died 2 times, perhaps for lack of memory; what is finished"):
            make()
    else:
        assert make() == [("a", 0), ("b", 0), ("c", 0), ("d", 0)]
        assert dict(heard) == {0: "a", 1: "b", 2: "c", 3: "d"} and len(heard) >= 4


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


def test_nothing_that_is_added_meanwhile_is_lost(tmp_path):
    """Two run folders on the same place, as two processes have them: one adds, one tidies."""
    adding, tidying = RunFolder(tmp_path / "run"), RunFolder(tmp_path / "run")
    pixel = np.zeros((1, 1, 3), np.uint8)
    stop = threading.Event()

    def tidy():
        while not stop.is_set():
            tidying.tidy([f"im{i}" for i in reversed(range(150))])

    thread = threading.Thread(target=tidy)
    thread.start()
    for i in range(150):
        adding.add(pixel, {"id": f"im{i}", **RECORD})
    stop.set()
    thread.join()
    assert len(adding.records()) == 150


def test_a_record_after_a_torn_line_is_read(tmp_path):
    store = RunFolder(tmp_path)
    store.records_path.write_text('{"id": "torn')
    store.add(np.zeros((1, 1, 3), np.uint8), {"id": "whole", **RECORD})
    assert list(store.records()) == ["whole"]


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".x", "a\\b", "a\0b"])
def test_no_id_leads_out_of_the_folder(tmp_path, name):
    with pytest.raises(UserError, match="is no file name"):
        RunFolder(tmp_path).image_path(name)


# The disk


def test_an_occupied_output_folder(tmp_path):
    (tmp_path / "out").write_text("a file")
    done = run_script(*QUICK, "dataset=avatars", "limit=1", f"output_root={tmp_path / 'out'}", check=False)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "a file is in the place of a folder" in done.stderr


def test_a_file_that_cannot_grow(tmp_path):
    """As on a full disk, every write fails; what was done before stays."""
    options = [*QUICK, "dataset=avatars", f"output_root={tmp_path}"]
    run_script(*options, "limit=1")
    before = {p: p.read_bytes() for p in tmp_path.rglob("*.png") if p.parent.name == "images"}

    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))

    done = run_script(*options, "limit=2", check=False, preexec_fn=limited)
    assert done.returncode == 1 and "Traceback" not in done.stderr and "may not grow so large" in done.stderr
    assert {p: p.read_bytes() for p in tmp_path.rglob("*.png") if p.parent.name == "images"} == before
    assert not list(tmp_path.rglob("*.tmp"))
    assert run_script(*options, "limit=2").returncode == 0


@pytest.mark.parametrize(
    "device, message",
    [("cuda:99", "torch sees"), ("toaster", "it must be auto, cpu, cuda or cuda:1"), ("xla", "does not work here")],
)
def test_devices_that_are_not_here(device, message):
    from isdiff.devices import resolve_device

    with pytest.raises(UserError, match=message):
        resolve_device(device)


# Several runs in one command


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
    done = run_script(*options, "logger.mode=online", check=False, env=env)
    assert done.returncode == 1 and "needs a key" in done.stderr and done.stderr.count("\n") == 1
    done = run_script(*options, check=False, env=env | {"WANDB_MODE": "nowhere"})
    assert done.returncode == 1 and "logger.mode (or WANDB_MODE) is 'nowhere'" in done.stderr
    assert not list(tmp_path.rglob("per_image.jsonl"))


# Progress


def test_steps_move_the_estimate_and_units_complete_it(capsys):
    report = Reporter("sampling", 4)
    report.expect(10)
    report.work(5)
    assert report.estimate() == pytest.approx(0.5) and "left" in report.text()
    report.work(15)
    report.finish(12)
    assert report.done == 1 and report.estimate() == pytest.approx(1.8)
    for _ in range(3):
        report.work(10)
        report.finish(10)
    assert report.done == 4 and "4/4 images" in report.text() and "left" not in report.text()
    report.work(1000)
    assert report.estimate() == 4
    assert "unknown" in Reporter("idle", 3).text()
