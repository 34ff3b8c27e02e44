"""The way through the noise levels: which timesteps a sampler visits, and in which order.

A *plan* is the list of indices of a grid that one image walks along, with -1 for the clean image; a rise in it is a
re-noising jump.
"""

from __future__ import annotations

from typing import Any

from isdiff.checks import BadValue, check_choice, check_whole
from isdiff.component import Component
from isdiff.diffusion.grid import Grid
from isdiff.diffusion.schedule import SPACINGS, Schedule


def resampling_plan(steps: int, jump: int = 1, repeat: int = 1) -> tuple[int, ...]:
    """Indices from ``steps - 1`` down to -1 with jumps back up (RePaint, Sec. 4.2; DDNM's time travel).

    From every multiple of ``jump`` below ``steps - jump`` the plan climbs ``jump`` indices and comes down again,
    ``repeat - 1`` times. Network calls are the falls of the plan: ``resampling_plan(100, 10, 10)`` has 910.
    """
    plan: list[int] = []
    for t in range(steps - 1, -1, -1):
        plan.append(t)
        if t % jump == 0 and t < steps - jump:
            plan += [*range(t + 1, t + jump + 1), *range(t + jump - 1, t - 1, -1)] * (repeat - 1)
    return (*plan, -1)


class TimestepPlan(Component):
    """The timesteps of a sampler and the order in which it visits them.

    Args:
        steps: how many timesteps.
        spacing: ``leading`` (multiples of T // steps), ``trailing`` (from the noisiest), ``linspace`` (from the
            first to the last, rounded) or ``even`` (the same, not rounded).
        jump: resampling climbs so many of them ...
        repeat: ... so often; 1: no resampling.
    """

    def __init__(self, steps: int = 100, spacing: str = "leading", jump: int = 10, repeat: int = 1) -> None:
        for key, value in (("steps", steps), ("jump", jump), ("repeat", repeat)):
            check_whole(key, value)
        check_choice("spacing", spacing, tuple(SPACINGS))
        self.steps, self.spacing, self.jump, self.repeat = steps, spacing, jump, repeat

    def fingerprint(self) -> dict[str, Any]:
        found = super().fingerprint()
        return found if self.repeat > 1 else {key: value for key, value in found.items() if key != "jump"}

    def grid(self, schedule: Schedule) -> Grid:
        if self.steps > schedule.num_timesteps:
            raise BadValue(f"steps is {self.steps}; the model has only {schedule.num_timesteps} timesteps")
        return schedule.grid(self.steps, self.spacing)

    def plan(self, steps: int) -> tuple[int, ...]:
        """Indices of the grid from ``steps - 1`` down to -1, climbs included."""
        return resampling_plan(steps, self.jump, self.repeat)

    @property
    def name(self) -> str:
        """For folders: ``100x10`` are 100 steps, resampled ten times."""
        return f"{self.steps}x{self.repeat}"

    def __str__(self) -> str:
        """For people: ``100 steps, resampling (10, 10)``."""
        loops = f", resampling ({self.jump}, {self.repeat})" if self.repeat > 1 else ""
        return f"{self.steps} step{'s' * (self.steps > 1)}{loops}"
