"""Dynamic selective refinement (paper Sec. III-C): judge an attempt at a checkpoint, keep it or try a stronger seed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from isdiff.checks import check_number, check_whole
from isdiff.component import Component
from isdiff.criteria import Criterion
from isdiff.diffusion.grid import Grid
from isdiff.errors import UserError
from isdiff.trajectory import Task


class Refinement(Component):
    """Judges attempts at a checkpoint and says which one is kept.

    Args:
        criterion: what is measured; DCE in the paper.
        attempts: N, the number of attempts before the best one is taken.
        tau: an attempt of which the criterion says at most this passes.
        checkpoint: the step at which attempts are judged, as a fraction of the process.
        margin: a retry is kept only where the criterion falls by at least this share of the first attempt's value;
            otherwise the first attempt is. 0: as in the paper, however little it falls.
    """

    labels = ("enabled",)

    def __init__(
        self,
        criterion: Criterion,
        attempts: int = 3,
        tau: float = 2.5,
        checkpoint: float = 0.65,
        margin: float = 0.0,
    ) -> None:
        check_whole("attempts", attempts)
        check_number("tau", tau)
        check_number("checkpoint", checkpoint, high=1)
        check_number("margin", margin, high=1)
        self.criterion, self.attempts, self.tau, self.checkpoint = criterion, attempts, tau, checkpoint
        self.margin = margin

    def fingerprint(self) -> dict[str, Any]:
        found = super().fingerprint()
        return found if self.margin else {key: value for key, value in found.items() if key != "margin"}

    def due(self, index: int, grid: Grid) -> bool:
        """Whether the prediction made at ``index`` may be judged: the first at or below the checkpoint is."""
        return index <= grid.index_at(self.checkpoint)

    def judge(self, task: Task, picture: Tensor) -> float:
        """What the criterion says of an attempt whose prediction looks like ``picture`` (C, H, W)."""
        value = self.criterion(picture, task.reference(picture), task.pixel_hole)
        if not math.isfinite(value):
            name = type(self.criterion).__name__
            raise UserError(f"{name} says {value} of an attempt at {task.id}; a criterion must give finite numbers")
        return value

    def passes(self, value: float) -> bool:
        """Whether an attempt with this value is kept at once."""
        return value <= self.tau

    def decide(self, values: Sequence[float]) -> int | None:
        """Which of the attempts with these values is kept; None where another one is to be made.

        It is the one that passes, else the best (of equals the first), and the first where no other is better by the
        margin.
        """
        passed = self.passes(values[-1])
        if not passed and len(values) < self.attempts:
            return None
        best = len(values) - 1 if passed else min(range(len(values)), key=values.__getitem__)
        return best if values[best] <= values[0] * (1 - self.margin) else 0
