"""Samplers published for known regions: one rule for many, DING and FlowChef; DPS, PiGDM and MMPS ask for gradients."""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import Tensor

from isdiff.checks import Flag, Number, Share, Whole, one_of
from isdiff.diffusion.grid import Grid
from isdiff.known import KnownRegion
from isdiff.prediction import Prediction
from isdiff.samplers.base import Pull, Sampler, Steps, steps_down
from isdiff.samplers.solvers import noise_shares
from isdiff.trajectory import Trajectory

FRESH: dict[str, Callable[[float], float]] = {  # h, of the noise level that is stepped to
    "constant": lambda sigma: 1.0,
    "sigma": lambda sigma: sigma,
    "signal": lambda sigma: (1 - sigma) ** 0.5,
}


@dataclass(eq=False)
class TwoCurves(Sampler):
    """Many published samplers are one rule with two curves; ``docs/methods.md`` has the names that are rows of it.

    With the clean prediction ``x0``, its projection ``p = x0 + w (project(x0) - x0)`` and the noise ``e`` in the noisy
    image, a step is ``x <- alpha_s p + sigma_s (sqrt(1 - h^2) e + h z)``: ``w`` says how firmly known pixels are held,
    ``h`` how much of the noise is fresh.
    """

    # h: ``constant``, ``sigma`` (the level's) or ``signal``, sqrt(1 - sigma), times ``fresh_scale``
    fresh: Annotated[str, one_of(*FRESH)] = "constant"
    fresh_scale: Share = 1.0  # see there
    # w is the sigma of a level to this power, times ``weight_scale``; 0: known pixels are replaced
    weight_power: Number = 0.0
    weight_scale: Number = 1.0  # see there
    weight_at: Annotated[str, one_of("old", "new")] = "old"  # the level of the prediction, or the new one
    noise_of: Annotated[str, one_of("clean", "projected")] = "clean"  # the prediction whose noise ``e`` is
    fresh_known: Flag = True  # whether known pixels get fresh noise too
    clamp: Flag = False  # whether predictions are clamped to [-1, 1]
    draws: Whole = 1  # predictions, each of fresh noise, that a step's is the mean of; more than 1 needs h = 1
    # the result: the state after the last step; its projected prediction; or the bare prediction
    ends: Annotated[str, one_of("state", "projected", "prediction")] = "state"
    # standard deviation that known pixels are taken to have; they are then held less firmly at low levels
    noise: Number = 0.0

    def __post_init__(self) -> None:
        if self.draws > 1 and (self.fresh != "constant" or self.fresh_scale != 1):
            raise ValueError(f"draws is {self.draws}; more than one draw needs fresh=constant and fresh_scale=1")
        self.calls_per_step = self.draws

    def fingerprint(self) -> dict[str, Any]:
        found = super().fingerprint()
        return found if self.noise else {key: value for key, value in found.items() if key != "noise"}

    def __call__(self, tr: Trajectory, grid: Grid, known: KnownRegion) -> Steps:
        projected = tr.x
        for t, s in steps_down(tr, grid, known):
            found = []
            for draw in range(self.draws):
                if draw:
                    tr.x = grid.noised(projected, tr.noise(), t)
                tr.x = known.enter(tr, grid, t)
                prediction = yield tr.x, t
                x0 = prediction.x0(tr.x, grid, t)
                found.append(known.clean(x0.clamp(-1, 1) if self.clamp else x0))
            tr.x0 = found[0] if self.draws == 1 else torch.stack(found).mean(0)
            projected = self.projected(tr, grid, known, t if self.weight_at == "old" else s)
            if s < 0 and self.ends != "state":
                tr.x = tr.x0 if self.ends == "prediction" else projected
                continue
            tr.x = grid.alpha(s) * projected + grid.sigma(s) * self.mixed_noise(tr, grid, t, s, projected)

    def projected(self, tr: Trajectory, grid: Grid, known: KnownRegion, index: int) -> Tensor:
        assert tr.x0 is not None
        weight = self.weight_scale * grid.sigma(index) ** self.weight_power
        if self.noise:  # Flower's: the share of a known pixel in the mean of it and the prediction, by their variances
            variance = 1 / (1 + (grid.alpha(index) / grid.sigma(index)) ** 2)
            weight *= variance / (variance + self.noise**2)
        whole = known.project(tr, tr.x0)
        return whole if weight == 1 else tr.x0 + weight * (whole - tr.x0)

    def mixed_noise(self, tr: Trajectory, grid: Grid, t: int, s: int, projected: Tensor) -> Tensor:
        assert tr.x0 is not None
        fresh, h = tr.noise(), self.fresh_scale * FRESH[self.fresh](grid.sigma(s))
        if h == 1 and self.fresh_known:
            return fresh
        of = projected if self.noise_of == "projected" else tr.x0
        predicted = grid.noise_in(tr.x, of, t)
        mixed = (1 - h**2) ** 0.5 * predicted + h * fresh
        return mixed if self.fresh_known else tr.task.compose(mixed, predicted)


@dataclass(eq=False)
class DING(Sampler):
    """DING (ICLR 2026): known pixels are drawn around the noised image, hole pixels around the step's mean.

    Two network calls a step: the second one, at a proposal, says which noise the known pixels have. The last step's
    result is the bare prediction, as published.
    """

    # fresh noise of a step to the level s: ``default``, s sqrt(s), or ``square``, s^2 (on flow levels)
    tau: Annotated[str, one_of("default", "square")] = "square"
    noise: Number = 0.0  # standard deviation that known pixels are taken to have; 0: none

    calls_per_step = 2

    def __call__(self, tr: Trajectory, grid: Grid, known: KnownRegion) -> Steps:
        for t, s in steps_down(tr, grid, known):
            prediction = yield tr.x, t
            tr.x0 = known.clean(prediction.x0(tr.x, grid, t))
            if s < 0:
                tr.x = tr.x0
                continue
            sigma = grid.sigma(s)
            tau = sigma * (1 - grid.alpha(s)) ** (0.5 if self.tau == "default" else 1.0)
            mean = grid.alpha(s) * tr.x0 + (sigma**2 - tau**2) ** 0.5 * grid.noise_in(tr.x, tr.x0, t)
            proposal = mean + tau * tr.noise()
            second = yield proposal, s
            there = grid.noise_in(proposal, second.x0(proposal, grid, s), s)
            known_pixels, fresh = grid.noised(tr.task.image, there, s), tr.noise()
            if self.noise:
                spread = (self.noise * grid.alpha(s)) ** 2
                variance = 1 / (1 / spread + 1 / tau**2)
                known_pixels = variance * (known_pixels / spread + mean / tau**2) + variance**0.5 * fresh
            tr.x = tr.task.compose(mean + tau * fresh, known_pixels)


@dataclass(eq=False)
class FlowChef(Sampler):
    """FlowChef: the state itself is moved by the error on known pixels, then steps with the velocity from before."""

    strength: Number = 1.0  # k, by which share of the error known pixels of the state move, in every step but the last

    def __call__(self, tr: Trajectory, grid: Grid, known: KnownRegion) -> Steps:
        for t, s in steps_down(tr, grid, known):
            prediction = yield tr.x, t
            tr.x0 = known.clean(prediction.x0(tr.x, grid, t))
            error = 0.0 if s < 0 else self.strength * (tr.x0 - tr.task.compose(tr.x0))
            # On flow levels this is Euler's step; elsewhere DDIM's, whose direction is the same.
            tr.x = grid.noised(tr.x0, grid.noise_in(tr.x, tr.x0, t), s) - error


Question = Generator[Any, Any, Tensor]


@dataclass(eq=False)
class Guided(Sampler):
    """DDIM's steps, each moved by what the error on known pixels says of the state."""

    eta: Share = 1.0  # DDIM's share of fresh noise

    pulls = True

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


@dataclass(eq=False)
class DPS(Guided):
    """Diffusion posterior sampling (Chung et al., ICLR 2023): against the gradient of the error's norm."""

    strength: Number = 1.0  # how far

    def correct(self, tr: Trajectory, grid: Grid, t: int, x0: Tensor) -> Question:
        error = x0 - tr.task.compose(x0)
        gradient = yield Pull(error / error.norm().clamp(min=1e-12))
        return -self.strength * gradient


class PiGDM(Guided):
    """Pseudo-inverse guidance (Song et al., ICLR 2023), Algorithm 1, for known pixels without noise."""

    def correct(self, tr: Trajectory, grid: Grid, t: int, x0: Tensor) -> Question:
        gradient = yield Pull(tr.task.compose(x0) - x0)
        return grid.alpha(t) * gradient


@dataclass(eq=False)
class MMPS(Guided):
    """Moment matching posterior sampling (Rozet et al., NeurIPS 2024): the clean prediction given the known pixels.

    Their covariance is ``sigma^2 / alpha`` times the network's Jacobian; the system is solved by conjugate gradients.
    """

    iterations: Whole = 3  # of the solver, each with a backward pass
    noise: Number = 0.01  # standard deviation that known pixels are taken to have

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
