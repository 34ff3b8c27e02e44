"""LanPaint (Zheng, Lan & Wang, TMLR 2025): Langevin iterations before every deterministic step.

At one level they move hole and known pixels together, so that both come to fit. The dynamics is underdamped; in each
region its stiff, linear part is solved exactly, as a damped oscillator that noise kicks, while the rest of the force
stands still.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from isdiff.checks import check_number, check_whole
from isdiff.diffusion.grid import Grid
from isdiff.known.base import KnownRegion
from isdiff.prediction import Prediction
from isdiff.samplers.base import Sampler, Steps, steps_down
from isdiff.trajectory import Trajectory

MARGIN = 1e-6  # least step and friction


class LanPaint(Sampler):
    """LanPaint: Langevin iterations before each step bring hole and known region together.

    Args:
        inner_steps: K, Langevin iterations a step, each with a network call of its own.
        step_size: eta, time of an iteration in units of the noise's variance.
        friction: f; 15 is nearly overdamped, below 2 the iterations oscillate.
        known_weight: lambda, how far known pixels are pushed past the image by the network's error on them, so that
            they pull the hole along; 0 leaves them to the noised image alone.
        exponent: p, of the noise's variance in the time of an iteration.
        signal_share: alpha, how much of the signal's variance counts into the hole's own step.
    """

    def __init__(
        self,
        inner_steps: int = 5,
        step_size: float = 0.15,
        friction: float = 15.0,
        known_weight: float = 8.0,
        exponent: float = 1.0,
        signal_share: float = 0.0,
    ) -> None:
        check_whole("inner_steps", inner_steps, 0)
        for name, value in (("step_size", step_size), ("friction", friction)):
            check_number(name, value, MARGIN)
        for name, value in (("known_weight", known_weight), ("exponent", exponent), ("signal_share", signal_share)):
            check_number(name, value)
        self.inner_steps, self.step_size, self.friction = inner_steps, step_size, friction
        self.known_weight, self.exponent, self.signal_share = known_weight, exponent, signal_share
        self.calls_per_step = 1 + inner_steps

    def __call__(self, tr: Trajectory, grid: Grid, known: KnownRegion) -> Steps:
        chain = known_chain(tr, grid)
        for t, s in steps_down(tr, grid, known):
            tr.x = tr.task.compose(known.enter(tr, grid, t), chain[t])
            if self.inner_steps:
                yield from self.explore(tr, grid, t)
            prediction = yield tr.x, t
            tr.x0 = known.clean(prediction.x0(tr.x, grid, t))
            noise = (tr.x - grid.alpha(t) * tr.x0) / grid.sigma(t)
            tr.x = grid.noised(known.project(tr, tr.x0), noise, s)
        tr.x = tr.task.compose(tr.x)

    def explore(self, tr: Trajectory, grid: Grid, t: int) -> Generator[tuple[Tensor, int], Prediction, None]:
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

    def force(self, prediction: Prediction, tr: Trajectory, grid: Grid, t: int, oscillator: Oscillator) -> Tensor:
        """What the score leaves beside the oscillator's own ``-stiffness * x``.

        In the hole it pulls towards the prediction, outside towards ``(1 + known_weight) image - known_weight
        prediction``.
        """
        x0 = prediction.x0(tr.x, grid, t)
        target = tr.task.compose(x0, (1 + self.known_weight) * tr.task.image - self.known_weight * x0)
        score = (grid.alpha(t) * target - tr.x) / grid.sigma(t) ** 2
        return score + oscillator.stiffness * tr.x

    def oscillator(self, tr: Trajectory, grid: Grid, t: int, part: float) -> Oscillator:
        """Of a move over ``part`` of an iteration; the two regions differ in stiffness and in time."""
        noise, signal = grid.sigma(t) ** 2, grid.alpha(t) ** 2
        widened = noise + self.signal_share * signal
        hole, known = (
            Oscillator.of(stiffness, self.step_size * spread**self.exponent, self.friction, part)
            for stiffness, spread in ((1 / widened, widened), ((1 + self.known_weight) / noise, noise))
        )
        return hole.where(tr.task.hole.to(tr.x.device), known, tr.x.dtype)


def known_chain(tr: Trajectory, grid: Grid) -> dict[int, Tensor]:
    """The image at every level up to the plan's first, as one walk of the forward process from the clean image up."""
    chain = {-1: tr.task.image}
    for low, high in pairwise(range(-1, tr.plan[0] + 1)):
        ratio = grid.alpha(high) / grid.alpha(low)
        chain[high] = ratio * chain[low] + math.sqrt(grid.noise_between(low, high)) * tr.noise()
    return chain


@dataclass(frozen=True)
class Oscillator:
    """The exact move over a time of ``dx = q dt``, ``dq = G (C - A x) dt - G q dt + G sqrt(2) dW``.

    With ``v = q / sqrt(G)`` (standard normal in equilibrium), ``G = f ** 2 A`` and the distance ``d`` to the rest at
    ``C / A``, the solution is linear in ``d``, ``v`` and two normals. Numbers are of one region, tensors (1, H, W) of
    both.

    Attributes:
        stiffness: A.
        kick: what a new force changes a velocity by, ``sqrt(G)`` times the time of a whole iteration.
        keep, drive, calm: ``d`` that is left, velocity that turns into way, velocity that is left.
        shake, both, stir: of the first normal on the way, of the first and of the second on the velocity.
    """

    stiffness: Any
    kick: Any
    keep: Any
    drive: Any
    calm: Any
    shake: Any
    both: Any
    stir: Any

    @classmethod
    def of(cls, stiffness: float, time: float, friction: float, part: float) -> Oscillator:
        """The oscillator of one move.

        Args:
            time: of a whole iteration.
            part: of it that the move takes.
        """
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
        kick = friction * math.sqrt(stiffness) * time
        return cls(stiffness, kick, keep=keep, drive=drive, calm=calm, shake=shake, both=both, stir=stir)

    def where(self, mask: Tensor, other: Oscillator, dtype: torch.dtype) -> Oscillator:
        """This one where ``mask`` is true, the other elsewhere."""

        def either(name: str) -> Tensor:
            a, b = (torch.tensor(getattr(each, name), dtype=dtype) for each in (self, other))
            return torch.where(mask, a, b)

        return Oscillator(**{each.name: either(each.name) for each in fields(self)})

    def move(self, tr: Trajectory, force: Tensor, velocity: Tensor) -> Tensor:
        """Move ``tr.x`` under a force that stands still; returns the velocity after it."""
        first, second = tr.noise(), tr.noise()
        width = self.stiffness.sqrt()
        away = force / self.stiffness - tr.x
        tr.x = tr.x + (1 - self.keep) * away + (self.drive * velocity + self.shake * first) / width
        return self.drive * width * away + self.calm * velocity + self.both * first + self.stir * second
