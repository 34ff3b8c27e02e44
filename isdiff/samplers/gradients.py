"""Samplers that ask for gradients through the network: DPS, PiGDM and MMPS, on DDIM's steps."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import torch
from torch import Tensor

from isdiff.checks import check_number, check_whole
from isdiff.diffusion.grid import Grid
from isdiff.known import KnownRegion
from isdiff.prediction import Prediction
from isdiff.samplers.base import Pull, Sampler, Steps, steps_down
from isdiff.samplers.first_order import noise_shares
from isdiff.trajectory import Trajectory

Question = Generator[Any, Any, Tensor]


class Guided(Sampler):
    """DDIM's steps, each moved by what the error on known pixels says of the state.

    Args:
        eta: DDIM's share of fresh noise, in [0, 1].
    """

    pulls = True

    def __init__(self, eta: float = 1.0) -> None:
        check_number("eta", eta, high=1)
        self.eta = eta

    def __call__(self, tr: Trajectory, grid: Grid, known: KnownRegion) -> Steps:
        for t, s in steps_down(tr, grid, known):
            fresh = tr.noise()
            prediction: Prediction = yield tr.x, t
            tr.x0 = x0 = prediction.x0(tr.x, grid, t)
            moved = yield from self.correct(tr, grid, t, x0)
            sigma, kept = noise_shares(grid, t, s, self.eta)
            tr.x = grid.alpha(s) * tr.x0 + kept * grid.noise_in(tr.x, tr.x0, t) + sigma * fresh + moved

    def correct(self, tr: Trajectory, grid: Grid, t: int, x0: Tensor) -> Question:
        """What the next state is moved by, (C, H, W); may replace ``tr.x0``."""
        raise NotImplementedError


class DPS(Guided):
    """Diffusion posterior sampling (Chung et al., ICLR 2023): against the gradient of the error's norm.

    Args:
        eta: see :class:`Guided`.
        strength: how far.
    """

    def __init__(self, eta: float = 1.0, strength: float = 1.0) -> None:
        super().__init__(eta)
        check_number("strength", strength)
        self.strength = strength

    def correct(self, tr: Trajectory, grid: Grid, t: int, x0: Tensor) -> Question:
        error = x0 - tr.task.compose(x0)
        gradient = yield Pull(error / error.norm().clamp(min=1e-12))
        return -self.strength * gradient


class PiGDM(Guided):
    """Pseudo-inverse guidance (Song et al., ICLR 2023), Algorithm 1, for known pixels without noise."""

    def correct(self, tr: Trajectory, grid: Grid, t: int, x0: Tensor) -> Question:
        gradient = yield Pull(tr.task.compose(x0) - x0)
        return grid.alpha(t) * gradient


class MMPS(Guided):
    """Moment matching posterior sampling (Rozet et al., NeurIPS 2024): the clean prediction given the known pixels.

    Their covariance is ``sigma^2 / alpha`` times the network's Jacobian; the system is solved by conjugate gradients.

    Args:
        eta: see :class:`Guided`.
        iterations: of the solver, each with a backward pass.
        noise: standard deviation that known pixels are taken to have.
    """

    def __init__(self, eta: float = 1.0, iterations: int = 3, noise: float = 0.01) -> None:
        super().__init__(eta)
        check_whole("iterations", iterations)
        check_number("noise", noise)
        self.iterations, self.noise = iterations, noise

    def correct(self, tr: Trajectory, grid: Grid, t: int, x0: Tensor) -> Question:
        scale = grid.sigma(t) ** 2 / max(grid.alpha(t), 1e-4)
        known = (~tr.task.hole).to(x0)
        residual = tr.task.compose(x0) - x0
        solution, direction, spread = torch.zeros_like(x0), residual, residual.square().sum()
        going = torch.ones_like(spread, dtype=torch.bool)  # decided on the device, so nothing waits for it
        for _ in range(self.iterations):
            image = yield Pull(direction)
            applied = known * (self.noise**2 * direction + scale * image)
            curvature = (direction * applied).sum()
            going = going & (curvature > 0) & (spread > 1e-20)  # a network's Jacobian need not be positive
            step = spread / curvature
            solution = torch.where(going, solution + step * direction, solution)
            residual = torch.where(going, residual - step * applied, residual)
            spread, before = residual.square().sum(), spread
            direction = torch.where(going, residual + spread / before * direction, direction)
        moved = yield Pull(solution)
        tr.x0 = x0 + scale * moved
        return torch.zeros_like(x0)
