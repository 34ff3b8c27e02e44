"""Samplers published for rectified flow: DING and FlowChef."""

from __future__ import annotations

from isdiff.checks import check_choice, check_number
from isdiff.diffusion.grid import Grid
from isdiff.known import KnownRegion
from isdiff.samplers.base import Sampler, Steps, steps_down
from isdiff.trajectory import Trajectory


class DING(Sampler):
    """DING (ICLR 2026): known pixels are drawn around the noised image, hole pixels around the step's mean.

    Two network calls a step: the second one, at a proposal, says which noise the known pixels have. The last step's
    result is the bare prediction, as published.

    Args:
        tau: fresh noise of a step to the level s: ``default``, s sqrt(s), or ``square``, s^2 (on flow levels).
        noise: standard deviation that known pixels are taken to have; 0: none.
    """

    calls_per_step = 2

    def __init__(self, tau: str = "square", noise: float = 0.0) -> None:
        check_choice("tau", tau, ("default", "square"))
        check_number("noise", noise)
        self.tau, self.observed_noise = tau, noise

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
            if self.observed_noise:
                spread = (self.observed_noise * grid.alpha(s)) ** 2
                variance = 1 / (1 / spread + 1 / tau**2)
                known_pixels = variance * (known_pixels / spread + mean / tau**2) + variance**0.5 * fresh
            tr.x = tr.task.compose(mean + tau * fresh, known_pixels)


class FlowChef(Sampler):
    """FlowChef: the state itself is moved by the error on known pixels, then steps with the velocity from before.

    Args:
        strength: k, by which share of the error known pixels of the state are moved, in every step but the last.
    """

    def __init__(self, strength: float = 1.0) -> None:
        check_number("strength", strength)
        self.strength = strength

    def __call__(self, tr: Trajectory, grid: Grid, known: KnownRegion) -> Steps:
        for t, s in steps_down(tr, grid, known):
            prediction = yield tr.x, t
            tr.x0 = known.clean(prediction.x0(tr.x, grid, t))
            error = 0.0 if s < 0 else self.strength * (tr.x0 - tr.task.compose(tr.x0))
            # On flow levels this is Euler's step; elsewhere DDIM's, whose direction is the same.
            tr.x = grid.noised(tr.x0, grid.noise_in(tr.x, tr.x0, t), s) - error
