"""Flow-matching models of diffusers."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any

import torch

from isdiff.checks import BadValue, Flag, Number, one_of
from isdiff.devices import DTYPES, compiled
from isdiff.diffusion.grid import Grid
from isdiff.errors import UserError
from isdiff.models.base import check_keys
from isdiff.models.latent import DiffusersModel
from isdiff.models.pipeline import load_pipeline
from isdiff.priors.conditioning import Conditioning
from isdiff.priors.families import FAMILIES, Family
from isdiff.priors.flow import TIMES, FlowPrior

SCHEDULER = "FlowMatchEulerDiscreteScheduler"
SETTINGS = (
    "shift", "use_dynamic_shifting", "base_shift", "max_shift", "base_image_seq_len", "max_image_seq_len",
    "shift_terminal", "time_shift_type", "use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas",
)  # fmt: skip
PIXELS = 16  # a side of a token, in all families


@dataclass(frozen=True, eq=False)
class Levels:
    """The levels that diffusers' scheduler visits as a family's pipeline sets it."""

    family: type[Family]
    settings: Mapping[str, Any]  # the scheduler's; others are diffusers' defaults
    tokens: int  # of an image
    num_timesteps: int = TIMES

    def levels(self, timestep: float) -> tuple[float, float]:
        sigma = timestep / self.num_timesteps
        return 1 - sigma, sigma

    def grid(self, steps: int, spacing: str) -> Grid:
        """From sigma 1 down; the spacing is the scheduler's own."""
        from diffusers import FlowMatchEulerDiscreteScheduler

        try:
            scheduler: Any = FlowMatchEulerDiscreteScheduler(**self.settings)
            self.family.set_levels(scheduler, steps, self.tokens)
        except (TypeError, ValueError) as error:
            raise UserError(f"model.scheduler does not fit {SCHEDULER} ({error})") from None
        sigmas, timesteps = scheduler.sigmas[:-1].tolist()[::-1], scheduler.timesteps.tolist()[::-1]
        return Grid(tuple(timesteps), tuple(1 - s for s in sigmas), tuple(sigmas), self.num_timesteps)


@dataclass(eq=False)
class FlowModel(DiffusersModel):
    """A model that draws from a text, or fills holes.

    ``image_size`` is a multiple of 16; with a shift by size the noise levels follow from it.
    """

    family: Annotated[str, one_of(*FAMILIES)] = "sd3"  # how the network is asked
    scheduler: Mapping[str, Any] | None = None  # settings of its scheduler, as in ``scheduler/scheduler_config.json``
    guidance: Number | None = None  # that the network is told, where guidance is distilled into it (FLUX.1); null: none
    tiling: Flag = False  # whether the autoencoder works tile by tile, which saves memory and changes results a little

    takes_text = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self.sees_hole = FAMILIES[self.family].fills
        check_keys("scheduler", self.scheduler, SETTINGS)
        if self.image_size is None or self.image_size % PIXELS:
            raise BadValue(f"image_size is {self.image_size}; it must be a multiple of {PIXELS}")

    @cached_property
    def schedule(self) -> Levels:
        return self.levels(self.scheduler or {})

    def levels(self, settings: Mapping[str, Any]) -> Levels:
        assert self.image_size is not None
        return Levels(FAMILIES[self.family], settings, (self.image_size // PIXELS) ** 2)

    def check_method(self, method: str, conditioning: Conditioning | None) -> None:
        """Refuse methods that ask with more than a prompt."""
        if type(conditioning) is not Conditioning:
            given = "none" if conditioning is None else type(conditioning).__name__
            raise UserError(f"method {method} asks with {given}; model {self.name} takes a plain Conditioning")

    def load(
        self, device: torch.device, precision: str = "fp32", *, pad_to: int = 4, compile: bool | str = False,
        conditioning: Conditioning | None = None, enough: int = 50,
    ) -> FlowPrior:  # fmt: skip
        """Transformer and text encoders in ``precision``, the autoencoder in float32, none of them to be trained.

        On a GPU the text encoders wait in the computer's memory while no text is read.
        """
        self.check_loading(compile)
        cls = FAMILIES[self.family]
        pipe = load_pipeline(self.weights, self.revision, self.variant, cls.pipeline, DTYPES[precision])
        self.check_pipeline(pipe)
        for part in pipe.components.values():
            if isinstance(part, torch.nn.Module):
                part.eval().requires_grad_(False)
        pipe.transformer.to(device)
        pipe.vae.to(device=device, dtype=torch.float32)
        if self.tiling:
            pipe.vae.enable_tiling()
        family = cls(pipe, self.guidance)
        if compile:
            family.network = compiled(pipe.transformer, device)
        return FlowPrior(family, conditioning or Conditioning(), device, pad_to=pad_to, enough=enough)

    def check_pipeline(self, pipe: Any) -> None:
        """Refuse weights that the configuration does not describe."""
        own = pipe.scheduler
        if type(own).__name__ != SCHEDULER:
            raise UserError(f"model {self.name} has a {type(own).__name__}; it must be a {SCHEDULER}")
        its = self.levels({key: own.config[key] for key in SETTINGS if key in own.config}).grid(10, "")
        if any(abs(a - b) > 1e-6 for a, b in zip(its.sigmas, self.schedule.grid(10, "").sigmas, strict=True)):
            file = "scheduler/scheduler_config.json"
            raise UserError(f"model {self.name}: {file} gives other noise levels than model.scheduler; copy its values")
        if pipe.transformer.config.get("guidance_embeds", False) != (self.guidance is not None):
            told = "needs a number as" if self.guidance is None else "takes no"
            raise UserError(f"model {self.name}: this network {told} model.guidance")
