"""LanPaint 2.1: as LanPaint, but overdamped, with a constant step and fewer iterations where there is less noise."""

from __future__ import annotations

import math
from collections.abc import Generator

import torch
from torch import Tensor

from isdiff.checks import check_number, check_whole
from isdiff.diffusion.grid import Grid
from isdiff.known.base import KnownRegion
from isdiff.known.blended import start_noise
from isdiff.prediction import Prediction
from isdiff.samplers.base import Sampler, Steps, steps_down
from isdiff.trajectory import Trajectory


class LanPaint2(Sampler):
    """
    Args:
        inner_steps: iterations at pure noise, each with a network call; fewer at lower levels, none in the last step.
        step_size: time of an iteration.
        known_weight: lambda, how far known pixels are pushed past the image by the network's error on them.
    Raises:
        ValueError: a value that cannot work.
    """

    def __init__(self, inner_steps: int = 5, step_size: float = 0.2, known_weight: float = 5.0) -> None:
        check_whole("inner_steps", inner_steps, 0)
        check_number("step_size", step_size)
        check_number("known_weight", known_weight)
        self.inner_steps, self.step_size, self.known_weight = inner_steps, step_size, known_weight
        self.calls_per_step = 1 + inner_steps  # at most

    def __call__(self, tr: Trajectory, grid: Grid, known: KnownRegion) -> Steps:
        noise = start_noise(tr, grid)
        for t, s in steps_down(tr, grid, known):
            scale = math.hypot(grid.alpha(t), grid.sigma(t))  # 1 where variance is preserved
            signal = (grid.alpha(t) / scale) ** 2
            tr.x = tr.task.compose(tr.x, grid.noised(tr.task.image, noise, t))
            count = round(round(self.inner_steps * (1 - signal), 6)) if s >= 0 else 0  # 2.5 is 2
            if count:
                yield from self.explore(tr, grid, t, scale, signal, count)
            prediction = yield tr.x, t
            x0 = known.clean(prediction.x0(tr.x, grid, t))
            tr.x0 = x0
            clean = tr.task.compose(x0)
            tr.x = grid.noised(clean, (tr.x - grid.alpha(t) * clean) / grid.sigma(t), s)

    def explore(
        self, tr: Trajectory, grid: Grid, t: int, scale: float, signal: float, count: int
    ) -> Generator[tuple[Tensor, int], Prediction, None]:
        """The iterations at a level; moves are of the state scaled to unit variance."""
        known = torch.tensor((1 + self.known_weight) / (1 - signal))
        stiffness = torch.where(tr.task.hole, 1 / (1 - signal), known.to(tr.x))

        def force(prediction: Prediction, x: Tensor) -> Tensor:
            x0 = prediction.x0(tr.x, grid, t)
            target = tr.task.compose(x0, (1 + self.known_weight) * tr.task.image - self.known_weight * x0)
            return (math.sqrt(signal) * target - x) / (1 - signal) + stiffness * x

        def move(x: Tensor, force: Tensor, time: float) -> Tensor:
            kept = (-stiffness * time).exp()
            return kept * x + (1 - kept) / stiffness * force + ((1 - kept**2) / stiffness).sqrt() * tr.noise()

        x = tr.x / scale
        old = force((yield tr.x, t), x)
        x = move(x, old, self.step_size)
        for _ in range(1, count):
            x = move(x, old, self.step_size / 2)
            tr.x = x * scale
            new = force((yield tr.x, t), x)
            x = move(x + (new - old) * self.step_size, old, self.step_size / 2)
            old = new
        tr.x = x * scale
