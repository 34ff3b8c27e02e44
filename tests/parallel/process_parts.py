"""Processes that tests start, found in ``/proc``."""

import time
from collections.abc import Iterable
from pathlib import Path

import pytest

needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")


def stat(pid: int | str) -> list[str]:
    """State, parent and so on of a process; as of one that has ended where it is gone."""
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return ["Z", "0"]


def below(pid: int) -> dict[int, tuple[bytes, list[bytes]]]:
    """Command line and environment of every process below ``pid``, by its id."""
    parents = {int(entry.name): int(stat(entry.name)[1]) for entry in Path("/proc").iterdir() if entry.name.isdigit()}
    ours = {pid}
    while more := {one for one, parent in parents.items() if parent in ours} - ours:
        ours |= more
    found = {}
    for one in ours - {pid}:
        try:
            place = Path("/proc") / str(one)
            found[one] = (place / "cmdline").read_bytes(), (place / "environ").read_bytes().split(b"\0")
        except OSError:  # it has ended meanwhile
            continue
    return found


def gone(pids: Iterable[int], seconds: float = 20) -> bool:
    """Whether all have ended, after a while."""
    deadline = time.monotonic() + seconds
    while (left := [pid for pid in pids if stat(pid)[0] != "Z"]) and time.monotonic() < deadline:
        time.sleep(0.2)
    return not left
