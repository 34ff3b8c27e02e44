"""What a model is before it is loaded: its weights, what identifies it, and the process that it was trained on."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor

from isdiff.checks import BadValue, Side, Text, Whole, check_choice, one_of
from isdiff.component import Component
from isdiff.diffusion.schedule import Flow, Schedule, VariancePreserving, named_betas
from isdiff.errors import UserError
from isdiff.io.fingerprint import weights_fingerprint
from isdiff.io.hub import is_hub_id
from isdiff.paths import located
from isdiff.prediction import Prediction
from isdiff.priors.base import OnPixels, Prior
from isdiff.priors.conditioning import Conditioning
from isdiff.trajectory import Task

ScheduleName = Annotated[str, one_of("linear", "scaled_linear", "cosine")]

NOTHING = "nothing"  # in the place of weights: there are none
OWN, FLOW = "own", "flow"  # the process that samplers walk
RANDOM = "random"  # in the place of weights: untrained ones, to check sizes and speed
SUITED = ("start", "late", "lambda", "checkpoint", "tau")
NO_MODEL = "no network"


@dataclass(eq=False)
class Model(Component, ABC):
    """A model as a configuration names it; ``load`` gives the prior that samples.

    Args:
        name: for messages and folders, and for the command that gets the weights.
        weights: a file or folder, or what else a subclass takes.
        image_size: side of its images; None: any height and width.
        noise_schedule: ``linear``, ``scaled_linear`` or ``cosine``.
        num_timesteps: length of its process.
        how: the command that gets the weights, where it is not ``isdiff weights get``.
        isdiff: values that suit the model, which ``configs/isdiff`` looks up: start, late, lambda, checkpoint, tau.
        path: ``own``, the process it was trained on, or ``flow``: asked at the levels of rectified flow.
    Attributes:
        num_classes: a number of classes, one of which has to be given with each image; None for none.
        latent: whether it works in a latent space.
        takes_text: whether it draws from texts, so that methods ask it with a prompt and keep the known region.
        sees_hole: whether its network receives the mask.
        differentiable: whether gradients flow through it.
        text_guidance: classifier-free guidance that suits it where there is text.
    """

    name: Text
    weights: Text
    image_size: Side | None
    noise_schedule: ScheduleName = "linear"
    num_timesteps: Whole = 1000
    how: str | None = None
    isdiff: Mapping[str, float] | None = None
    path: str = OWN

    not_hashed: ClassVar[tuple[str, ...]] = ("name", "weights", "how", "isdiff")
    paths: ClassVar[tuple[str, ...]] = (OWN,)  # that it can be asked on
    labels = ("knows",)  # the images that it was trained on, for people
    num_classes = None  # type: int | None
    text_guidance = 1.0
    latent = takes_text = sees_hole = False
    differentiable = True

    def __post_init__(self) -> None:
        self.weights = str(self.weights)
        check_choice("path", self.path, self.paths)
        check_keys("isdiff", self.isdiff, SUITED)
        try:
            _ = self.own_schedule
        except ValueError as error:
            raise BadValue(f"num_timesteps is {self.num_timesteps}: {error}") from None

    @cached_property
    def schedule(self) -> Schedule:
        return Flow(num_timesteps=self.num_timesteps) if self.path == FLOW else self.own_schedule

    @cached_property
    def own_schedule(self) -> VariancePreserving:
        """The process that its network was trained on."""
        return VariancePreserving(named_betas(self.noise_schedule, self.num_timesteps))

    def check_method(self, method: str, conditioning: Conditioning | None) -> None:
        """Refuse methods that need a model of another kind; those that work on pixels have no ``conditioning``."""
        if conditioning is None and self.latent:
            raise UserError(f"method {method} works on pixels; model {self.name} is a latent model")
        if conditioning is not None and not self.latent:
            some = "avatars64_latent, sd2_inpainting, sd15_inpainting or powerpaint"
            raise UserError(f"method {method} needs a latent model: model={some}, not {self.name}")

    def missing(self) -> list[str]:
        """One line for every file or folder that is not here, with the command that gets it."""
        return [] if self.weights in (RANDOM, NOTHING) else lacking(self.weights, self.name, self.how)

    def fingerprint(self) -> dict[str, Any]:
        return super().fingerprint() | {"weights": self.identity()}

    def identity(self) -> str:
        return NOTHING if self.weights == NOTHING else identity(self.weights, self.name)

    @abstractmethod
    def load(
        self, device: torch.device, precision: str = "fp32", *, pad_to: int = 4, compile: bool | str = False,
        conditioning: Conditioning | None = None, enough: int = 50,
    ) -> Prior:  # fmt: skip
        """Load the model onto ``device``.

        Args:
            pad_to: batches are filled up to a multiple of it.
            compile: with torch.compile; ``graphs``: and as one CUDA graph.
            enough: known vectors that seeds should have to go by.
        """


def identity(weights: str, name: str) -> str:
    return f"random {name}" if weights == RANDOM else weights_fingerprint(weights, name=name)


def lacking(weights: str, name: str, how: str | None = None) -> list[str]:
    if located(weights).exists() or is_hub_id(weights):
        return []
    return [f"weights {weights} are missing: {how or f'isdiff weights get {name}'}"]


def check_keys(key: str, given: Any, allowed: tuple[str, ...]) -> None:
    """Refuse entries that nobody reads."""
    if given is not None and not isinstance(given, Mapping):
        raise BadValue(f"{key} is {given!r}; it must have {', '.join(allowed)}")
    if spare := [name for name in given or {} if name not in allowed]:
        raise BadValue(f"{key} has no {spare[0]}; there are {', '.join(allowed)}")


class NoPrior(OnPixels):
    """Takes pictures as they are and answers nothing."""

    def predict(self, states: Sequence[Tensor], timesteps: Sequence[float], tasks: Sequence[Task]) -> list[Prediction]:
        raise UserError("a network is asked where there is none; give another model")


class NoModel(Model):
    """No network and no weights, for methods that ask for none."""

    def __init__(self) -> None:
        super().__init__(NO_MODEL, NOTHING, None)

    def load(self, device: torch.device, precision: str = "fp32", **options: Any) -> NoPrior:
        return NoPrior()


class LoadedModel(Model):
    """A loaded prior with what it does not say itself: the size of its images and the process it was trained on.

    Args:
        prior: on its device, in its precision.
        image_size: side of its images; None: any height and width.
        differentiable: whether gradients flow through it.
    """

    not_hashed = (*Model.not_hashed, "prior")

    def __init__(
        self, prior: Prior, image_size: Side | None, noise_schedule: ScheduleName = "linear",
        num_timesteps: Whole = 1000, isdiff: Mapping[str, float] | None = None, name: Text = "loaded",
        differentiable: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(name, NOTHING, image_size, noise_schedule, num_timesteps, None, isdiff)
        self.prior, self.differentiable = prior, differentiable

    def check_method(self, method: str, conditioning: Conditioning | None) -> None:
        """The caller knows what the prior takes."""

    def identity(self) -> str:
        return f"loaded {id(self.prior)}"

    def load(self, device: torch.device, precision: str = "fp32", **options: Any) -> Prior:
        return self.prior
