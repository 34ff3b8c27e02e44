"""Progress that a person can read: a bar with the time left on a terminal, a line now and then in a log file."""

from __future__ import annotations

import sys
import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

SECONDS_BETWEEN_LINES = 30.0


def clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}"


class Reporter:
    """Counts work done out of ``total`` units; a context manager.

    Args:
        done: units finished before this process started (they do not count towards the speed).
    """

    def __init__(self, title: str, total: int, *, done: int = 0, unit: str = "image") -> None:
        self.title, self.total, self.done, self.unit = title, total, done, unit
        self.first, self.start = done, time.monotonic()
        self.last_line = self.start
        console = Console(stderr=True)
        self.bar = (
            Progress(
                TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}"),
                TimeRemainingColumn(), console=console,
            )
            if console.is_terminal
            else None
        )  # fmt: skip

    def __enter__(self) -> Reporter:
        if self.bar:
            self.bar.start()
            self.task = self.bar.add_task(self.title, total=self.total, completed=self.done, note="")
        return self

    def __exit__(self, *exc: object) -> None:
        if self.bar:
            self.bar.stop()
        elif self.done > self.first:
            self.print_line()

    def advance(self, amount: float = 1, note: str = "") -> None:
        self.done += amount
        now = time.monotonic()
        speed = (self.done - self.first) / max(now - self.start, 1e-9)
        if self.bar:
            self.bar.update(self.task, completed=self.done, note=note or f"{speed:.1f} {self.unit}/s")
        elif now - self.last_line > SECONDS_BETWEEN_LINES:
            self.last_line = now
            self.print_line(note)

    def print_line(self, note: str = "") -> None:
        elapsed = time.monotonic() - self.start
        speed = (self.done - self.first) / max(elapsed, 1e-9)
        left = f"{clock((self.total - self.done) / speed)} left" if speed else "time left unknown"
        text = f"{self.title}: {self.done:.0f}/{self.total} {self.unit}s, {speed:.2f}/s, {left} {note}"
        print(text.rstrip(), file=sys.stderr, flush=True)
