"""The patch prior as a model without weights, and as a seed for other models."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from isdiff.checks import BadValue, Number, Positive, Share, Side, Text, Whole
from isdiff.diffusion.schedule import TimestepPlan
from isdiff.engine import Engine
from isdiff.known import NullSpace
from isdiff.models.base import FLOW, NOTHING, OWN, Model
from isdiff.priors.patches.prior import PatchPrior, PatchSettings
from isdiff.samplers.solvers import DDIM
from isdiff.seeds.base import PerTask, Seed
from isdiff.seeds.fills import check_picture
from isdiff.trajectory import Stream, Task


@dataclass(eq=False)
class PatchModel(Model):
    """The picture's own known patches as a model of any size; arguments have the meaning of ``PatchSettings``."""

    name: Text = "patches"
    weights: Text = field(default=NOTHING, init=False)
    image_size: Side | None = field(default=None, init=False)
    how: str | None = field(default=None, init=False)
    window: Whole = PatchSettings.window
    rows: Positive = PatchSettings.rows
    columns: Positive = PatchSettings.columns
    shift: Number = PatchSettings.shift
    edge: Number = PatchSettings.edge

    paths = (OWN, FLOW)
    differentiable = False  # windows are chosen

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.window % 2 == 0:
            raise BadValue(f"window is {self.window}; it must be odd")
        self.settings = PatchSettings(
            self.window, rows=self.rows, columns=self.columns, shift=self.shift, edge=self.edge
        )

    def load(self, device: torch.device, precision: str = "fp32", **options: Any) -> PatchPrior:
        """Nothing is loaded; patches are always compared in float32, and options of networks do not matter."""
        return PatchPrior(self.schedule.levels, self.settings)


@dataclass(eq=False)
class PatchSeed(Seed):
    """A short run of DDNM on the patch prior (:class:`PatchModel`); asks no network."""

    steps: Whole = 12
    eta: Share = 0.85  # of fresh noise in each

    pictures_only = True

    def __post_init__(self) -> None:
        self.walk, self.sampler, self.model = TimestepPlan(self.steps), DDIM(self.eta), PatchModel()
        self.grid = self.walk.grid(self.model.schedule)
        self.prepared: PerTask[Task] = PerTask()  # patches, for all attempts

    @cached_property
    def prior(self) -> PatchPrior:
        return self.model.load(torch.device("cpu"))

    def fill(self, task: Task, stream: Stream) -> Tensor:
        check_picture(task)
        engine = Engine(
            self.prior, self.grid, self.sampler, NullSpace(), self.walk.plan, stream=lambda seed, name, attempt: stream
        )
        (result,) = engine.run([self.prepared.of(task, self.prior.prepare)])
        return result.x
