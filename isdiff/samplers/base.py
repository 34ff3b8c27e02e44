"""What a sampler is: a generator that walks one image along its plan.

It yields the noisy image and its index in the grid whenever it wants the network, and is sent the
:class:`~isdiff.prediction.Prediction`; in between it does what the step needs, climbs included. It keeps ``tr.x``, the
state, and ``tr.x0``, the latest clean prediction, up to date, and ends with ``tr.x`` as the result. The engine batches
what the generators of many images yield; a paused generator is a snapshot to which an image can return.

A sampler with ``pulls`` may then yield a :class:`Pull`, and is sent the gradient that it asks for.
"""

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from torch import Tensor

from isdiff.component import Component
from isdiff.diffusion.grid import Grid
from isdiff.known import KnownRegion
from isdiff.trajectory import Trajectory


@dataclass(frozen=True)
class Pull:
    """A question about the latest answer: the gradient of ``vector . x0`` by the noisy image, (C, H, W) as both.

    ``x0`` is the clean prediction of that answer, so this is the transposed Jacobian times ``vector``.
    """

    vector: Tensor


Steps = Generator[Any, Any, None]  # yields (noisy image, index) or Pull; is sent a Prediction or a Tensor


class Sampler(Component, ABC):
    """How an image moves from one noise level to the next. Holds the settings; keeps no state of any image."""

    labels = ("steps", "spacing", "jump", "repeat")  # the walk's
    calls_per_step = 1
    pulls = False  # whether it asks for gradients

    def check(self, grid: Grid) -> None:
        """Refuse, by a ``UserError``, a grid that the sampler cannot walk."""

    @abstractmethod
    def __call__(self, tr: Trajectory, grid: Grid, known: KnownRegion) -> Steps:
        """Walk ``tr`` along ``tr.plan``; ``known`` says what happens to the known region on the way."""


class Fill(Sampler):
    """Asks for no network: what an image begins with is its result."""

    calls_per_step = 0

    def __call__(self, tr: Trajectory, grid: Grid, known: KnownRegion) -> Steps:
        yield from ()


def steps_down(tr: Trajectory, grid: Grid, known: KnownRegion) -> Iterator[tuple[int, int]]:
    """The steps down of the plan, (from, to) in indices of the grid; the climbs of resampling are done in between."""
    for t, s in pairwise(tr.plan):
        if s > t:
            tr.x = known.renoise(tr, grid, s)
        else:
            tr.soften(grid.timesteps[t] / grid.num_timesteps)
            yield t, s
