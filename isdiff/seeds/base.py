"""Where a trajectory begins: pure noise, or a seed composed with the image and noised to a start step."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor

from isdiff.diffusion.grid import Grid
from isdiff.trajectory import Stream, Task


class Start(ABC):
    """Chooses the first state of each attempt."""

    @abstractmethod
    def begin(self, task: Task, stream: Stream, attempt: int, grid: Grid) -> tuple[Tensor, int]:
        """The noisy image (C, H, W) that attempt number ``attempt`` (from 0) starts with, and its index in the grid."""

    def begin_index(self, attempt: int, grid: Grid) -> int:
        """The index alone; default: the noisiest."""
        return len(grid) - 1


class NoiseStart(Start):
    """The vanilla start: ``x_T = eps`` at the noisiest step."""

    def begin(self, task: Task, stream: Stream, attempt: int, grid: Grid) -> tuple[Tensor, int]:
        return stream.normal(like=task.image), self.begin_index(attempt, grid)


class Seed(ABC):
    """Fills holes with something drawn from the image itself."""

    @abstractmethod
    def fill(self, task: Task, stream: Stream) -> Tensor:
        """(C, H, W), of which only the pixels inside the hole are used."""


class SeededStart(Start):
    """IS-Diff's start (Eqs. 5 and 7): known pixels and a seed in the hole, noised to a step that falls with attempts.

    Args:
        seed: fills the hole.
        start: start step of the first attempt, as a fraction of the process (1 = the noisiest step).
        lam: how much earlier each further attempt starts, likewise (the paper's lambda): less noise, stronger seed.
    """

    def __init__(self, seed: Seed, start: float = 1.0, lam: float = 0.05) -> None:
        self.seed, self.start, self.lam = seed, start, lam

    def begin(self, task: Task, stream: Stream, attempt: int, grid: Grid) -> tuple[Tensor, int]:
        index = self.begin_index(attempt, grid)
        composed = task.compose(self.seed.fill(task, stream))
        return grid.noised(composed, stream.normal(like=composed), index), index

    def begin_index(self, attempt: int, grid: Grid) -> int:
        return grid.index_at(self.start - attempt * self.lam)
