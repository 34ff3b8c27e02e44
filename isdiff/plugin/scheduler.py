"""A pipeline's scheduler: the levels that it visits, and what its steps are given."""

import copy
import functools
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from isdiff.diffusion.grid import Grid
from isdiff.errors import UserError
from isdiff.prediction import Prediction

FLOW = ("FlowMatchEulerDiscreteScheduler",)
DIFFUSION = (
    "DDIMScheduler", "DDPMScheduler", "DEISMultistepScheduler", "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler", "EulerAncestralDiscreteScheduler", "EulerDiscreteScheduler", "LCMScheduler",
    "LMSDiscreteScheduler", "PNDMScheduler", "UniPCMultistepScheduler",
)  # fmt: skip
PREDICTS = {"epsilon": "noise", "v_prediction": "velocity", "sample": "clean"}
UNKNOWN = {"stochastic_sampling": True, "invert_sigmas": True, "use_flow_sigmas": True, "timestep_type": "continuous",
           "skip_prk_steps": False}  # fmt: skip


def check_known(scheduler: Any, known: Sequence[str]) -> None:
    """Refuse a scheduler of which it is not known that its levels and steps fit."""
    name = type(scheduler).__name__
    if name not in known:
        raise UserError(f"the pipeline has a {name}; isdiff.apply takes {', '.join(known)} here")
    for key, value in UNKNOWN.items():
        if scheduler.config.get(key) == value:
            raise UserError(f"the {name} has {key}={value}; isdiff.apply does not take it so, set another value")


def grid_of(scheduler: Any) -> Grid:
    """The levels of a scheduler whose timesteps are set, in its own scale: what ``add_noise`` makes of image and noise.

    Those of rectified flow are (1 - sigma, sigma).
    """
    if predicts(scheduler) == "flow":
        timesteps, sigmas = scheduler.timesteps, scheduler.sigmas[:-1].tolist()
        levels = [1 - sigma for sigma in sigmas], sigmas
    else:
        timesteps = torch.unique_consecutive(scheduler.timesteps.cpu())
        one = torch.ones(len(timesteps), 1, dtype=torch.float64)
        parts = (one, 0 * one), (0 * one, one)
        levels = tuple(scheduler.add_noise(*part, timesteps).flatten().tolist() for part in parts)
    ascending = [tuple(values[::-1]) for values in (timesteps.tolist(), *levels)]
    return Grid(ascending[0], ascending[1], ascending[2], scheduler.config.num_train_timesteps)


def predicts(scheduler: Any) -> str:
    """What the network behind a scheduler says, in the words of :class:`Prediction`."""
    if type(scheduler).__name__ in FLOW:
        return "flow"
    kind = scheduler.config.get("prediction_type", "epsilon")
    if kind not in PREDICTS:
        raise UserError(f"the pipeline's model predicts {kind!r}; {', '.join(PREDICTS)} can be used")
    return PREDICTS[kind]


def repeats(scheduler: Any) -> bool:
    """Whether it asks twice at the second timestep (PNDM's linear multistep method)."""
    return hasattr(scheduler, "plms_timesteps")


def repeating(timesteps: Tensor, first: int) -> Tensor:
    """The timesteps of such a scheduler for a beginning at number ``first``: the one after it stands twice."""
    each = torch.unique_consecutive(timesteps)
    return torch.cat([each[: first + 1], each[first + 1 : first + 2], each[first + 1 :]])


class Watched:
    """A copy of a scheduler that remembers what its latest step was given.

    Args:
        first: number of the timestep, from the noisiest, at which the attempt began.
        history: of a paused copy, with which the first step goes on; a pipeline sets its scheduler back before.
    Attributes:
        steps: how many there were.
        output, sample: the network's answer, after guidance, and the noisy latents that it is about.
    """

    def __init__(self, scheduler: Any, first: int = 0, history: dict[str, Any] | None = None) -> None:
        self.scheduler, self.steps = copy.deepcopy(scheduler), 0
        self.output, self.sample = torch.empty(0), torch.empty(0)
        step, set_timesteps = self.scheduler.step, self.scheduler.set_timesteps

        @functools.wraps(step)  # pipelines look at its signature
        def noting(model_output: Tensor, timestep: Any, sample: Tensor, *args: Any, **kwargs: Any) -> Any:
            if history and not self.steps:
                vars(self.scheduler).update(history)
            self.steps, self.output, self.sample = self.steps + 1, model_output, sample
            return step(model_output, timestep, sample, *args, **kwargs)

        @functools.wraps(set_timesteps)
        def set_from_first(*args: Any, **kwargs: Any) -> None:
            set_timesteps(*args, **kwargs)
            if repeats(self.scheduler):
                self.scheduler.timesteps = repeating(self.scheduler.timesteps, first)

        self.scheduler.step, self.scheduler.set_timesteps = noting, set_from_first

    def clean(self, grid: Grid, index: int) -> Tensor:
        """The clean latents (B, C, h, w) float32 that the latest answer implies."""
        alpha, sigma, kind = grid.alpha(index), grid.sigma(index), predicts(self.scheduler)
        scale = 1.0 if kind == "flow" else math.hypot(alpha, sigma)  # networks of diffusion preserve variance
        sample = self.sample.float() / scale
        said = Prediction.of(self.output.float(), kind, sample, alpha / scale, sigma / scale)
        return (sample - sigma / scale * said.noise) / (alpha / scale) if said.clean is None else said.clean

    def history(self) -> dict[str, Any]:
        """What the next step goes by: earlier answers of multistep solvers, counters."""
        own = ("step", "set_timesteps")
        return copy.deepcopy({key: value for key, value in vars(self.scheduler).items() if key not in own})


def rows_of(value: Any, count: int, rows: Sequence[int]) -> Any:
    """A history, or a value of one, that was of ``count`` images, of these among them alone."""
    if isinstance(value, Tensor) and value.ndim == 4 and len(value) == count:
        return value[list(rows)]
    if type(value) is list:
        return [rows_of(inner, count, rows) for inner in value]
    if type(value) is dict:
        return {key: rows_of(inner, count, rows) for key, inner in value.items()}
    return value
