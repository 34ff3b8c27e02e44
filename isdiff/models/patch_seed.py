"""What the patches of a picture make of its hole, as a seed for other models."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from isdiff.checks import check_number, check_whole
from isdiff.diffusion.walk import TimestepPlan
from isdiff.engine import Engine
from isdiff.known.ddnm import NullSpace
from isdiff.models.patches import PatchModel
from isdiff.priors.patches.prior import PatchPrior
from isdiff.samplers.ddim import DDIM
from isdiff.seeds.base import PerTask, Seed
from isdiff.seeds.fills import check_picture
from isdiff.trajectory import Stream, Task


class PatchSeed(Seed):
    """A short run of DDNM on the patch prior (:class:`isdiff.models.patches.PatchModel`); asks no network.

    Args:
        steps: of it.
        eta: share of fresh noise in each, in [0, 1].
    """

    pictures_only = True

    def __init__(self, steps: int = 12, eta: float = 0.85) -> None:
        check_whole("steps", steps)
        check_number("eta", eta, high=1)
        self.walk, self.sampler, self.model = TimestepPlan(steps), DDIM(eta), PatchModel()
        self.grid = self.walk.grid(self.model.schedule)
        self.prepared: PerTask[Task] = PerTask()  # patches, for all attempts

    @cached_property
    def prior(self) -> PatchPrior:
        return self.model.load(torch.device("cpu"))

    def fill(self, task: Task, stream: Stream) -> Tensor:
        check_picture(task)
        if task not in self.prepared:
            self.prepared[task] = self.prior.prepare(task)
        engine = Engine(
            self.prior, self.grid, self.sampler, NullSpace(), self.walk.plan, stream=lambda seed, name, attempt: stream
        )
        (result,) = engine.run([self.prepared[task]])
        return result.x
