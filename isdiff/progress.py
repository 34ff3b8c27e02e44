"""Progress that a person can read: a bar with the time left on a terminal, a line now and then in a log file."""

import sys
import time
from collections.abc import Callable, Mapping
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, Progress

FIRST_LINE, SECONDS_BETWEEN_LINES = 3.0, 30.0


def clock(seconds: float) -> str:
    """Write a time as ``0:01:30``."""
    return str(timedelta(seconds=round(seconds)))


class Reporter:
    """Counts work done out of ``total`` units; a context manager.

    A unit may be made of smaller steps (an image of network calls): after ``expect(steps a unit)``, ``work(steps)``
    moves the estimate of the time left, and ``finish(steps)`` completes a unit that took so many. ``done`` units were
    finished before; ``listen`` hears ``numbers`` whenever they change.
    """

    def __init__(
        self, title: str, total: int, *, done: int = 0, unit: str = "image",
        listen: Callable[[Mapping[str, float]], None] = lambda numbers: None, quiet: bool = False,
    ) -> None:  # fmt: skip
        self.title, self.total, self.unit, self.listen = title, total, unit, listen
        self.detail: Callable[[], str] = str  # what else is said behind the number of units
        self.first, self.done, self.start = done, float(done), time.monotonic()
        self.next_line = self.start + FIRST_LINE
        self.warm: tuple[float, float] | None = None  # when the first steps were made, and what was done then
        self.steps_expected, self.steps, self.all_steps = 1.0, 0.0, 0.0
        self.bar = Progress("{task.description}", BarColumn(), "{task.fields[note]}", console=Console(stderr=True))
        self.quiet, self.has_bar = quiet, self.bar.console.is_terminal and not quiet

    def __enter__(self) -> "Reporter":
        if self.has_bar:
            self.bar.start()
            self.task = self.bar.add_task(self.title, total=max(self.total, 1), completed=self.first, note="")
        return self

    def __exit__(self, *exc: object) -> None:
        if self.has_bar:
            self.bar.stop()
        elif self.done > self.first:
            self.print_line()

    def expect(self, steps: float) -> None:
        self.steps_expected = max(steps, 1.0)

    def work(self, steps: float) -> None:
        self.steps += steps
        self.all_steps += steps
        self.show()

    def finish(self, steps: float) -> None:
        self.steps = max(0.0, self.steps - steps)
        self.advance()

    def drop(self, count: int) -> None:
        self.total -= count

    def advance(self, amount: float = 1) -> None:
        self.done += amount
        self.show()

    def show(self) -> None:
        now = time.monotonic()
        self.warm = self.warm or (now, self.estimate())
        if self.has_bar:
            self.bar.update(self.task, completed=self.estimate(), note=self.text())
        elif now > self.next_line:
            self.next_line = now + SECONDS_BETWEEN_LINES
            self.print_line()
        self.listen(self.numbers())

    def estimate(self) -> float:
        """Return the units done, parts of units included; never past the next to last step."""
        return min(self.done + self.steps / self.steps_expected, max(self.done, self.total - 0.01))

    def numbers(self) -> dict[str, float]:
        """Return units done and in all, steps, and once they are known seconds a unit and seconds left.

        The speed is of the time since the first steps, which warm up what they use.
        """
        found = {"done": self.done, "total": float(self.total), "steps": self.all_steps}
        begun, before = self.warm or (self.start, self.estimate())
        made, passed = self.estimate() - before, time.monotonic() - begun
        if made > 0 and passed > 0.1:  # else it would say nothing
            each = passed / made
            found |= {"seconds_each": each, "seconds_left": (self.total - self.estimate()) * each}
        return found

    def text(self) -> str:
        said, numbers = [f"{self.done:.0f}/{self.total} {self.unit}s"], self.numbers()
        said += filter(None, [self.detail()])
        if each := numbers.get("seconds_each"):
            said.append(f"{1 / each:.2f}/s" if each <= 10 else f"{each:.0f} s each")
        if self.done < self.total:
            said.append(f"{clock(numbers['seconds_left'])} left" if each else "time left unknown")
        return ", ".join(said)

    def print_line(self) -> None:
        if not self.quiet:
            print(f"{self.title}: {self.text()}", file=sys.stderr, flush=True)
