"""Where a trajectory begins: pure noise, or a seed composed with the image and noised to a start step."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from torch import Tensor

from isdiff.checks import Number, Share
from isdiff.component import Component
from isdiff.diffusion.grid import Grid
from isdiff.trajectory import Stream, Task, Trajectory

V = TypeVar("V")


class PerTask(WeakKeyDictionary[Task, V]):
    """What is kept of a task for all of its attempts, and goes when the task does; a pickled one is empty."""

    def of(self, task: Task, make: Callable[[Task], V]) -> V:
        """What is kept of ``task``, made at the first time."""
        if task not in self:
            self[task] = make(task)
        return self[task]

    def __reduce__(self) -> tuple[Any, ...]:
        return PerTask, ()


class Start(Component, ABC):
    """Chooses the first state of each attempt.

    Attributes:
        needs_truth: whether tasks must come with what lies beneath their holes.
        enough: known vectors that it should have to go by; of fewer, a latent model gives less clean ones too.
    """

    needs_truth = False
    enough = 50

    @abstractmethod
    def begin(self, task: Task, stream: Stream, attempt: int, grid: Grid) -> tuple[Tensor, int]:
        """The noisy image (C, H, W) that attempt number ``attempt`` (from 0) starts with, and its index in the grid."""

    def fraction(self, attempt: int) -> float:
        """The start step of an attempt as a fraction of the process; default: the noisiest."""
        return 1.0

    def begin_index(self, attempt: int, grid: Grid) -> int:
        """The index alone; default: the noisiest."""
        return len(grid) - 1

    def composed(self, task: Task, stream: Stream) -> Tensor | None:
        """The clean image (C, H, W) that an attempt begins with before it is noised; None where there is none."""
        return None

    def improve(self, tr: Trajectory, grid: Grid) -> Generator[Any, Any, None]:
        """Replace ``tr.x`` and ``tr.start`` before the sampler walks, asking the network as a sampler does."""
        yield from ()

    def calls(self, grid: Grid) -> int:
        """The network calls of ``improve`` in the first attempt."""
        return 0


class NoiseStart(Start):
    """The vanilla start: ``x_T = eps`` at the noisiest step."""

    def begin(self, task: Task, stream: Stream, attempt: int, grid: Grid) -> tuple[Tensor, int]:
        return stream.normal(like=task.image), self.begin_index(attempt, grid)


class Seed(Component, ABC):
    """Fills holes with something drawn from the image itself.

    Attributes:
        needs_truth, enough: as for :class:`Start`.
        pictures_only: whether it fills pictures alone, and not the latent spaces of models.
    """

    labels = ("enabled",)
    pictures_only = False
    needs_truth = False
    enough = 50

    @abstractmethod
    def fill(self, task: Task, stream: Stream) -> Tensor:
        """(C, H, W), of which only the pixels inside the hole are used."""


class FilledStart(Start):
    """Known pixels and a seed in the hole, without noise: all that methods without a network do."""

    def __init__(self, seed: Seed) -> None:
        self.seed = seed
        self.needs_truth, self.enough = seed.needs_truth, seed.enough

    def begin(self, task: Task, stream: Stream, attempt: int, grid: Grid) -> tuple[Tensor, int]:
        return task.compose(self.seed.fill(task, stream)), self.begin_index(attempt, grid)


@dataclass(eq=False)
class SeededStart(Start):
    """IS-Diff's start (Eqs. 5 and 7): known pixels and a seed in the hole, noised to a step that attempts lower."""

    seed: Seed  # fills the hole
    step: Share = 1.0  # start step of the first attempt, as a fraction of the process (1 = the noisiest step)
    lambda_: Number = 0.05  # by how much lower each further attempt's start step is: less noise, stronger seed

    def __post_init__(self) -> None:
        self.needs_truth, self.enough = self.seed.needs_truth, self.seed.enough

    def fraction(self, attempt: int) -> float:
        return self.step - attempt * self.lambda_

    def begin(self, task: Task, stream: Stream, attempt: int, grid: Grid) -> tuple[Tensor, int]:
        index = self.begin_index(attempt, grid)
        composed = self.composed(task, stream)
        return grid.noised(composed, stream.normal(like=composed), index), index

    def begin_index(self, attempt: int, grid: Grid) -> int:
        return grid.index_at(self.fraction(attempt))

    def composed(self, task: Task, stream: Stream) -> Tensor:
        return task.compose(self.seed.fill(task, stream))
