"""LanPaint (Zheng, Lan & Wang, TMLR 2025) and LanPaint 2.1: Langevin iterations before every deterministic step.

At one level they move hole and known pixels together, so that both come to fit. In each region the stiff, linear part
of the dynamics is solved exactly, while the rest of the force stands still.
"""

import math
from collections.abc import Generator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Annotated, NamedTuple

import torch
from torch import Tensor

from isdiff.checks import Count, Number, check_number
from isdiff.diffusion.grid import Grid
from isdiff.known import KnownRegion, start_noise
from isdiff.prediction import Prediction
from isdiff.samplers.base import Sampler, Steps, steps_down
from isdiff.trajectory import Trajectory

Timed = Annotated[float, partial(check_number, low=1e-6)]

Calls = Generator[tuple[Tensor, int], Prediction, None]


@dataclass(eq=False)
class LanPaint(Sampler):
    """LanPaint: underdamped Langevin iterations before each step bring hole and known region together."""

    inner_steps: Count = 5  # K, Langevin iterations a step, each with a network call of its own
    step_size: Timed = 0.15  # eta, time of an iteration in units of the noise's variance
    friction: Timed = 15.0  # f; 15 is nearly overdamped, below 2 the iterations oscillate
    # lambda, how far known pixels are pushed past the image by the network's error on them, so that they pull the
    # hole along; 0 leaves them to the noised image alone
    known_weight: Number = 8.0
    exponent: Number = 1.0  # p, of the noise's variance in the time of an iteration
    signal_share: Number = 0.0  # alpha, how much of the signal's variance counts into the hole's own step

    def __post_init__(self) -> None:
        self.calls_per_step = 1 + self.inner_steps

    def __call__(self, tr: Trajectory, grid: Grid, known: KnownRegion) -> Steps:
        chain = known_chain(tr, grid)
        for t, s in steps_down(tr, grid, known):
            tr.x = tr.task.compose(known.enter(tr, grid, t), chain[t])
            if self.inner_steps:
                yield from self.explore(tr, grid, t)
            prediction = yield tr.x, t
            tr.x0 = known.clean(prediction.x0(tr.x, grid, t))
            tr.x = grid.noised(known.project(tr, tr.x0), grid.noise_in(tr.x, tr.x0, t), s)
        tr.x = tr.task.compose(tr.x)

    def explore(self, tr: Trajectory, grid: Grid, t: int) -> Calls:
        """The iterations at level ``t``.

        A full move with the first force; then half a move, a new force, its kick, and the other half of the move with
        the force from before.
        """
        full, half = (self.oscillator(tr, grid, t, part) for part in (1.0, 0.5))
        velocity = tr.noise()
        force = self.force((yield tr.x, t), tr, grid, t, full)
        velocity = full.move(tr, force, velocity)
        for _ in range(1, self.inner_steps):
            velocity = half.move(tr, force, velocity)
            new = self.force((yield tr.x, t), tr, grid, t, full)
            velocity = half.move(tr, force, velocity + full.kick * (new - force))
            force = new

    def force(self, prediction: Prediction, tr: Trajectory, grid: Grid, t: int, oscillator: "Oscillator") -> Tensor:
        """What the score leaves beside the oscillator's own ``-stiffness * x``."""
        target = pushed(tr, prediction.x0(tr.x, grid, t), self.known_weight)
        score = (grid.alpha(t) * target - tr.x) / grid.sigma(t) ** 2
        return score + oscillator.stiffness * tr.x

    def oscillator(self, tr: Trajectory, grid: Grid, t: int, part: float) -> "Oscillator":
        """Of a move over ``part`` of an iteration; the two regions differ in stiffness and in time."""
        noise, signal = grid.sigma(t) ** 2, grid.alpha(t) ** 2
        widened = noise + self.signal_share * signal
        hole, known = (
            coefficients(stiffness, self.step_size * spread**self.exponent, self.friction, part)
            for stiffness, spread in ((1 / widened, widened), ((1 + self.known_weight) / noise, noise))
        )
        mask, like = tr.task.hole.to(tr.x.device), tr.x.new_tensor
        return Oscillator(*(torch.where(mask, like(a), like(b)) for a, b in zip(hole, known, strict=True)))


def pushed(tr: Trajectory, x0: Tensor, weight: float) -> Tensor:
    """What the score points to: the prediction in the hole, outside ``(1 + weight) image - weight prediction``."""
    return tr.task.compose(x0, (1 + weight) * tr.task.image - weight * x0)


def known_chain(tr: Trajectory, grid: Grid) -> dict[int, Tensor]:
    """The image at every level up to the plan's first, as one walk of the forward process from the clean image up."""
    chain = {-1: tr.task.image}
    for low, high in pairwise(range(-1, tr.plan[0] + 1)):
        ratio = grid.alpha(high) / grid.alpha(low)
        chain[high] = ratio * chain[low] + math.sqrt(grid.noise_between(low, high)) * tr.noise()
    return chain


class Oscillator(NamedTuple):
    """The exact move over a time of ``dx = q dt``, ``dq = G (C - A x) dt - G q dt + G sqrt(2) dW``.

    With ``v = q / sqrt(G)`` (standard normal in equilibrium), ``G = f ** 2 A`` and the distance ``d`` to the rest at
    ``C / A``, the solution is linear in ``d``, ``v`` and two normals. All coefficients are (1, H, W).
    """

    stiffness: Tensor  # A
    kick: Tensor  # what a new force changes a velocity by, ``sqrt(G)`` times the time of a whole iteration
    keep: Tensor  # ``d`` that is left
    drive: Tensor  # velocity that turns into way
    calm: Tensor  # velocity that is left
    shake: Tensor  # of the first normal on the way
    both: Tensor  # of the first normal on the velocity
    stir: Tensor  # of the second normal on the velocity

    def move(self, tr: Trajectory, force: Tensor, velocity: Tensor) -> Tensor:
        """Move ``tr.x`` under a force that stands still; returns the velocity after it."""
        first, second = tr.noise(), tr.noise()
        width = self.stiffness.sqrt()
        away = force / self.stiffness - tr.x
        tr.x = tr.x + (1 - self.keep) * away + (self.drive * velocity + self.shake * first) / width
        return self.drive * width * away + self.calm * velocity + self.both * first + self.stir * second


def coefficients(stiffness: float, time: float, friction: float, part: float) -> tuple[float, ...]:
    """Those of an :class:`Oscillator` in one region, for a move that takes ``part`` of an iteration's ``time``."""
    h = stiffness * time * part
    a = friction**2 * h / 2
    spread = 1 - 4 / friction**2
    root = a * math.sqrt(abs(spread))
    if spread > 0:  # exponentials of differences: a hyperbolic cosine alone would overflow
        rise, fall = math.exp(root - a), math.exp(-root - a)
        even, odd = (rise + fall) / 2, (rise - fall) / (2 * root)
    elif spread < 0:
        even, odd = math.exp(-a) * math.cos(root), math.exp(-a) * math.sin(root) / root
    else:
        even = odd = math.exp(-a)
    keep, drive = even + a * odd, friction * h * odd
    calm = keep - friction * drive
    shake = math.sqrt(max(0.0, 1 - keep**2 - drive**2))
    both = friction * drive**2 / shake if shake else 0.0
    stir = math.sqrt(max(0.0, 1 - drive**2 - calm**2 - both**2))
    return stiffness, friction * math.sqrt(stiffness) * time, keep, drive, calm, shake, both, stir


@dataclass(eq=False)
class LanPaint2(Sampler):
    """LanPaint 2.1: overdamped, with a constant step and fewer iterations where there is less noise."""

    inner_steps: Count = 5  # at pure noise, each with a network call; fewer at lower levels, none in the last step
    step_size: Number = 0.2  # time of an iteration
    known_weight: Number = 5.0  # lambda, how far known pixels are pushed past the image by the network's error on them

    def __post_init__(self) -> None:
        self.calls_per_step = 1 + self.inner_steps  # at most

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
            tr.x0 = known.clean(prediction.x0(tr.x, grid, t))
            clean = tr.task.compose(tr.x0)
            tr.x = grid.noised(clean, grid.noise_in(tr.x, clean, t), s)

    def explore(self, tr: Trajectory, grid: Grid, t: int, scale: float, signal: float, count: int) -> Calls:
        """The iterations at a level; moves are of the state scaled to unit variance."""
        known = torch.tensor((1 + self.known_weight) / (1 - signal))
        stiffness = torch.where(tr.task.hole, 1 / (1 - signal), known.to(tr.x))

        def force(prediction: Prediction, x: Tensor) -> Tensor:
            target = pushed(tr, prediction.x0(tr.x, grid, t), self.known_weight)
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
