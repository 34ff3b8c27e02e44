"""Several processes, signals, and disks that do not do as asked."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import ROOT

from isdiff.errors import UserError
from isdiff.parallel import pool

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
