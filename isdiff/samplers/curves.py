"""Many published samplers for known regions without noise are one rule with two curves.

With the clean prediction ``x0``, its projection ``p = x0 + w (project(x0) - x0)`` and the noise ``e`` in the noisy
image, a step is ``x <- alpha_s p + sigma_s (sqrt(1 - h^2) e + h z)``: ``w`` says how firmly known pixels are held,
``h`` how much of the noise is fresh. ``docs/methods.md`` has the names that are rows of this rule.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from isdiff.checks import check_choice, check_flag, check_number, check_whole
from isdiff.diffusion.grid import Grid
from isdiff.known import KnownRegion
from isdiff.samplers.base import Sampler, Steps, steps_down
from isdiff.trajectory import Trajectory

FRESH: dict[str, Callable[[float], float]] = {  # h, of the noise level that is stepped to
    "constant": lambda sigma: 1.0,
    "sigma": lambda sigma: sigma,
    "signal": lambda sigma: (1 - sigma) ** 0.5,
}


@dataclass(eq=False)
class TwoCurves(Sampler):
    """The rule of this module.

    Args:
        fresh: h: ``constant``, ``sigma`` (the level's) or ``signal``, sqrt(1 - sigma), times ``fresh_scale``.
        fresh_scale: see there, in [0, 1].
        weight_power: w is the sigma of a level to this power, times ``weight_scale``; 0: known pixels are replaced.
        weight_scale: see there.
        weight_at: the ``old`` level, that of the prediction, or the ``new`` one.
        noise_of: whose noise ``e`` is: of the ``clean`` prediction or of the ``projected`` one.
        fresh_known: whether known pixels get fresh noise too.
        clamp: whether predictions are clamped to [-1, 1].
        draws: predictions, each of fresh noise, that a step's prediction is the mean of; more than 1 needs h = 1.
        ends: the result: the ``state`` after the last step; its ``projected`` prediction; or the bare ``prediction``.
    """

    fresh: str = "constant"
    fresh_scale: float = 1.0
    weight_power: float = 0.0
    weight_scale: float = 1.0
    weight_at: str = "old"
    noise_of: str = "clean"
    fresh_known: bool = True
    clamp: bool = False
    draws: int = 1
    ends: str = "state"

    def __post_init__(self) -> None:
        check_choice("fresh", self.fresh, tuple(FRESH))
        check_choice("noise_of", self.noise_of, ("clean", "projected"))
        check_choice("ends", self.ends, ("state", "projected", "prediction"))
        check_choice("weight_at", self.weight_at, ("old", "new"))
        check_number("weight_power", self.weight_power)
        check_number("weight_scale", self.weight_scale)
        check_flag("fresh_known", self.fresh_known)
        check_flag("clamp", self.clamp)
        check_whole("draws", self.draws)
        if self.draws > 1 and (self.fresh != "constant" or self.fresh_scale != 1):
            raise ValueError(f"draws is {self.draws}; more than one draw needs fresh=constant and fresh_scale=1")
        check_number("fresh_scale", self.fresh_scale, high=1)
        self.calls_per_step = self.draws

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
            projected = self.project(tr, grid, known, t if self.weight_at == "old" else s)
            if s < 0 and self.ends != "state":
                tr.x = tr.x0 if self.ends == "prediction" else projected
                continue
            tr.x = grid.alpha(s) * projected + grid.sigma(s) * self.noise(tr, grid, t, s, projected)

    def project(self, tr: Trajectory, grid: Grid, known: KnownRegion, index: int) -> Tensor:
        assert tr.x0 is not None
        weight = self.weight_scale * grid.sigma(index) ** self.weight_power
        whole = known.project(tr, tr.x0)
        return whole if weight == 1 else tr.x0 + weight * (whole - tr.x0)

    def noise(self, tr: Trajectory, grid: Grid, t: int, s: int, projected: Tensor) -> Tensor:
        assert tr.x0 is not None
        fresh, h = tr.noise(), self.fresh_scale * FRESH[self.fresh](grid.sigma(s))
        if h == 1 and self.fresh_known:
            return fresh
        of = projected if self.noise_of == "projected" else tr.x0
        predicted = grid.noise_in(tr.x, of, t)
        mixed = (1 - h**2) ** 0.5 * predicted + h * fresh
        return mixed if self.fresh_known else tr.task.compose(mixed, predicted)
