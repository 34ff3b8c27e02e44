"""What a prior is: a diffusion model as the engine and its callers see it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from isdiff.errors import UserError
from isdiff.prediction import Prediction
from isdiff.trajectory import Task


class Prior(Protocol):
    """A loaded diffusion model: it predicts clean images for a batch of noisy ones.

    Pixel models take tasks and give pictures as they are; latent ones have a space of their own between.
    """

    def prepare(self, task: Task, prompt: str = "") -> Task:
        """The task in the model's own space, with what ``prompt`` asks for.

        Raises:
            UserError: a size, a mask or a prompt that the model cannot take.
        """
        ...

    def predict(self, states: Sequence[Tensor], timesteps: Sequence[float], tasks: Sequence[Task]) -> list[Prediction]:
        """One network call for a batch in which every state (C, H, W) is at its own timestep."""
        ...

    def decode(self, states: Sequence[Tensor], tasks: Sequence[Task]) -> Sequence[Tensor]:
        """What people see of clean states: (3, H, W) each, about [-1, 1]."""
        ...


class OnPixels:
    """A prior whose space is that of pictures, and which takes no prompt."""

    def prepare(self, task: Task, prompt: str = "") -> Task:
        if prompt:
            raise UserError("this model takes no prompt")
        return task

    def decode(self, states: Sequence[Tensor], tasks: Sequence[Task]) -> Sequence[Tensor]:
        return states


@dataclass(frozen=True, eq=False)
class LatentTask(Task):
    """A task in latent space: ``image`` (4, h, w) are the masked image's latents, ``hole`` the mask channel.

    Attributes:
        context: (1 or 2, tokens, E), the embedded prompts; two for classifier-free guidance, the negative one first.
        tokens: (tokens,) bool, those of the user's prompt.
        holes: the hole at the sizes of attention layers, (gh, gw) bool each, from the largest to the smallest.
        hidden: (1, H, W) bool, the hole in the picture.
    """

    context: Tensor | None = None
    tokens: Tensor | None = None
    holes: tuple[Tensor, ...] = ()
    hidden: Tensor | None = None

    @property
    def pixel_hole(self) -> Tensor:
        assert self.hidden is not None
        return self.hidden

    def reference(self, picture: Tensor) -> Tensor:
        """Both sides from the decoded picture, in which the autoencoder's colour shifts cancel."""
        return picture
