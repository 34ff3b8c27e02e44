"""The one sampling loop.

Every image is a trajectory with its own plan, position, noise and attempts. A tick gathers all live trajectories into
one network batch, whatever timestep each is at, and moves each one step on; steps that need no network run in
between, and a finished image's place is taken by the next one at once. The step itself is the method's affair and sees
a single image, so nothing can leak between images.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor

from isdiff.diffusion.timesteps import Grid
from isdiff.methods.base import Method, Prediction
from isdiff.refine import Refinement
from isdiff.seeds.base import NoiseStart, Start
from isdiff.trajectory import Attempt, Stream, Task, Trajectory


class Prior(Protocol):
    """A diffusion model: answers for a batch in which every image is at its own timestep."""

    def __call__(
        self, images: Sequence[Tensor], timesteps: Sequence[int], tasks: Sequence[Task]
    ) -> list[Prediction]: ...


@dataclass(frozen=True)
class Result:
    """A finished image: ``picture`` (3, H, W) in [-1, 1] as the sampler left it, and how it came about.

    ``x`` (C, H, W) is the same in the model's own space.

    ``seconds`` is this image's share of the time of every tick it took part in; ``chosen`` is the attempt used.
    ``failure`` says why there is no picture to use (then ``x`` and ``picture`` hold whatever was there).
    """

    task: Task
    x: Tensor
    picture: Tensor
    calls: int
    seconds: float
    attempts: tuple[Attempt, ...]
    chosen: int
    failure: str | None = None


NOT_FINITE = (
    "the network's answers are not finite numbers (NaN or infinite); check its weights, or try runtime.precision=fp32"
)


class Engine:
    """
    Args:
        prior: the network.
        grid: timesteps and noise levels.
        method: the step rule.
        plan: from the number of steps left to the list of indices to walk, e.g. ``resampling_plan``.
        start: first state of each attempt; pure noise by default.
        refinement: judges attempts at a checkpoint; None lets the first one run through.
        batch_size: most images in one network call.
        run_seed: with an image's id it fixes all of the image's noise.
        stream: source of noise, replaceable to replay recorded noise.
        progress: called after every network batch with the number of images in it.
        pictures: from states (C, H, W) and their tasks to what people see; by default the states are pictures.
    """

    def __init__(
        self,
        prior: Prior,
        grid: Grid,
        method: Method,
        plan: Callable[[int], Sequence[int]],
        *,
        start: Start | None = None,
        refinement: Refinement | None = None,
        batch_size: int = 16,
        run_seed: int = 0,
        stream: Callable[[int, str, int], Stream] = Stream,
        progress: Callable[[int], None] = lambda count: None,
        pictures: Callable[[Sequence[Tensor], Sequence[Task]], Sequence[Tensor]] = lambda states, tasks: states,
    ) -> None:
        self.prior, self.grid, self.method, self.plan = prior, grid, method, plan
        self.start, self.refinement = start or NoiseStart(), refinement
        self.batch_size, self.run_seed, self.stream, self.pictures = batch_size, run_seed, stream, pictures
        self.progress = progress

    def calls_expected(self) -> int:
        """Network calls of an image whose first attempt passes."""
        first = self.start.begin_index(0, self.grid)
        plan = self.plan(first + 1)
        return sum(later < earlier for earlier, later in pairwise(plan))

    @torch.inference_mode()
    def run(self, tasks: Iterable[Task]) -> Iterator[Result]:
        """Yield results as they finish, in no particular order."""
        waiting = iter(tasks)
        live: list[Trajectory] = []
        while True:
            while len(live) < self.batch_size and (task := next(waiting, None)) is not None:
                live.append(self.begin(task))
            if not live:
                return
            self.tick(live)
            done = [tr for tr in live if tr.finished]
            yield from map(self.result, done, self.timed_pictures(done))
            live = [tr for tr in live if not tr.finished]

    def timed_pictures(self, done: list[Trajectory]) -> Sequence[Tensor]:
        begun = time.perf_counter()
        for tr in done:
            # Both: a method's clamping can hide an infinite answer, and its own arithmetic can overflow.
            tr.broken = not (tr.finite and torch.isfinite(tr.x).all())
        pictures = self.pictures([tr.x for tr in done], [tr.task for tr in done])
        share = (time.perf_counter() - begun) / max(1, len(done))
        for tr in done:
            tr.seconds += share
        return pictures

    def begin(self, task: Task, before: Trajectory | None = None) -> Trajectory:
        """The first state of the next attempt at ``task``."""
        history = list(before.attempts) if before else []
        stream = self.stream(self.run_seed, task.id, len(history))
        x, index = self.start.begin(task, stream, len(history), self.grid)
        tr = Trajectory(task, stream, tuple(self.plan(index + 1)), x)
        tr.attempts = [*history, Attempt(self.grid.timesteps[index])]
        if before:
            tr.calls, tr.seconds, tr.best = before.calls, before.seconds, before.best
        return tr

    def tick(self, live: list[Trajectory]) -> None:
        """One network call for all of ``live`` and every step that follows from it; replaces restarted entries."""
        begun = time.perf_counter()
        inputs = [self.method.network_input(tr, self.grid) for tr in live]
        timesteps = [self.grid.timesteps[tr.index] for tr in live]
        answers = self.prior(inputs, timesteps, [tr.task for tr in live])
        due = []
        for slot, (tr, answer) in enumerate(zip(live, answers, strict=True)):
            tr.calls += 1
            finite = torch.isfinite(answer.noise).all()
            tr.finite = finite if tr.finite is None else tr.finite & finite
            index = tr.index
            tr.x = self.method.down(tr, self.grid, answer)
            tr.position += 1
            if self.refinement and self.refinement.due(tr, index, self.grid):
                due.append(slot)
        for slot in due:
            live[slot].broken = not live[slot].finite
        due = [slot for slot in due if not live[slot].broken]
        pictures = self.pictures([live[slot].x0 for slot in due], [live[slot].task for slot in due])
        for slot, picture in zip(due, pictures, strict=True):
            live[slot] = self.refine(live[slot], picture)
        for tr in live:
            while not tr.finished and not tr.needs_network:
                tr.x = self.method.up(tr, self.grid)
                tr.position += 1
        share = (time.perf_counter() - begun) / len(live)
        for tr in live:
            tr.seconds += share
        self.progress(len(live))

    def refine(self, tr: Trajectory, picture: Tensor) -> Trajectory:
        """The trajectory to go on with: this attempt, a fresh one, or after the last the best of all."""
        assert self.refinement is not None
        if self.refinement.judge(tr, picture):
            return tr
        if len(tr.attempts) < self.refinement.attempts:
            return self.begin(tr.task, tr)
        best = tr.best
        assert best is not None
        best.calls, best.seconds, best.attempts = tr.calls, tr.seconds, tr.attempts
        return best

    def result(self, tr: Trajectory, picture: Tensor) -> Result:
        judged = [a.dce for a in tr.attempts if a.dce is not None]
        last = len(tr.attempts) - 1
        passed = not judged or (self.refinement is not None and judged[-1] <= self.refinement.tau)
        chosen = last if passed else judged.index(min(judged))
        failure = NOT_FINITE if tr.broken else None
        return Result(tr.task, tr.x, picture, tr.calls, tr.seconds, tuple(tr.attempts), chosen, failure)
