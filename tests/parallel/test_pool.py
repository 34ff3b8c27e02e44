"""Several processes, and signals."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT
from process_parts import below, gone, needs_proc

from isdiff.errors import UserError
from isdiff.parallel import pool

LONG = ["dataset=avatars", "method=ddnm", "sampler.repeat=1", "sampler.steps=1000", "limit=4", "metrics.names=null"]


def started(process: subprocess.Popen, workers: int) -> list[int]:
    """The sampling processes, once they have been at it for a while."""
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and process.poll() is None:
        busy = [pid for pid, (line, _) in below(process.pid).items() if b"spawn_main" in line]
        if len(busy) >= workers:
            time.sleep(6)
            return busy
        time.sleep(0.2)
    raise AssertionError("no sampling processes")


def start(out: Path, *overrides: str) -> subprocess.Popen:
    command = [sys.executable, "scripts/run.py", *LONG, f"output_root={out}", *overrides]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True)


@pytest.mark.slow
@needs_proc
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT])
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
@needs_proc
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
