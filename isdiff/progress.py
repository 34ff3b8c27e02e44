"""Progress that a person can read: a bar with the time left on a terminal, a line now and then in a log file."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

FIRST_LINE, SECONDS_BETWEEN_LINES = 3.0, 30.0


def clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}"


class Reporter:
    """Counts work done out of ``total`` units; a context manager.

    A unit may be made of smaller steps (an image of network calls): after ``expect(steps a unit)``, ``work(steps)``
    moves the estimate of the time left from the first seconds on, and ``finish(steps)`` completes a unit that took so
    many.

    Args:
        done: units finished before this process started (they do not count towards the speed).
        listen: hears ``numbers`` whenever they change.
    """

    def __init__(
        self,
        title: str,
        total: int,
        *,
        done: int = 0,
        unit: str = "image",
        listen: Callable[[Mapping[str, float]], None] | None = None,
    ) -> None:
        self.title, self.total, self.unit, self.listen = title, total, unit, listen
        self.first, self.done, self.start = done, float(done), time.monotonic()
        self.next_line = self.start + FIRST_LINE
        self.warm: tuple[float, float] | None = None  # when the first steps were made, and what was done then
        self.steps_expected, self.steps, self.all_steps = 1.0, 0.0, 0.0
        console = Console(stderr=True)
        self.bar = (
            Progress(
                TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[note]}"), console=console
            )
            if console.is_terminal
            else None
        )  # fmt: skip

    def __enter__(self) -> Reporter:
        if self.bar:
            self.bar.start()
            self.task = self.bar.add_task(self.title, total=max(self.total, 1), completed=self.first, note="")
        return self

    def __exit__(self, *exc: object) -> None:
        if self.bar:
            self.bar.stop()
        elif self.done > self.first:
            self.print_line()

    def expect(self, steps: float) -> None:
        """A unit takes about so many steps."""
        self.steps_expected = max(steps, 1.0)

    def work(self, steps: float) -> None:
        """Steps of units that are not finished yet."""
        self.steps += steps
        self.all_steps += steps
        self.show()

    def finish(self, steps: float) -> None:
        """One unit is finished; ``steps`` of those counted by ``work`` were its."""
        self.steps = max(0.0, self.steps - steps)
        self.advance()

    def drop(self, count: int) -> None:
        """Units that cannot be made."""
        self.total -= count

    def advance(self, amount: float = 1) -> None:
        self.done += amount
        self.show()

    def show(self) -> None:
        now = time.monotonic()
        self.warm = self.warm or (now, self.estimate())
        if self.bar:
            self.bar.update(self.task, completed=self.estimate(), note=self.text())
        elif now > self.next_line:
            self.next_line = now + SECONDS_BETWEEN_LINES
            self.print_line()
        if self.listen:
            self.listen(self.numbers())

    def estimate(self) -> float:
        """Units done, parts of units included; never past the next to last step."""
        return min(self.done + self.steps / self.steps_expected, max(self.done, self.total - 0.01))

    def speed(self) -> float:
        """Units a second since the first steps, which warm up what they use; 0 before there are others."""
        begun, done = self.warm or (self.start, self.estimate())
        return (self.estimate() - done) / max(time.monotonic() - begun, 1e-9)

    def numbers(self) -> dict[str, float]:
        """Units done and in all, steps made by this process; seconds a unit and seconds left once they are known."""
        found = {"done": self.done, "total": float(self.total), "steps": self.all_steps}
        if (speed := self.speed()) > 0:
            found |= {"seconds_each": 1 / speed, "seconds_left": (self.total - self.estimate()) / speed}
        return found

    def text(self) -> str:
        """Where it stands, how fast it goes and how long it will take."""
        said, speed = [f"{self.done:.0f}/{self.total} {self.unit}s"], self.speed()
        if speed > 0:
            said.append(f"{speed:.2f}/s" if speed >= 0.1 else f"{1 / speed:.0f} s each")
        if self.done < self.total:
            said.append(f"{clock((self.total - self.estimate()) / speed)} left" if speed > 0 else "time left unknown")
        return ", ".join(said)

    def print_line(self) -> None:
        print(f"{self.title}: {self.text()}", file=sys.stderr, flush=True)
