"""What a prior is: a diffusion model as the engine and its callers see it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from isdiff.errors import UserError
from isdiff.prediction import Prediction
from isdiff.trajectory import Task


class Prior(Protocol):
    """Pixel models take tasks and give pictures as they are; latent ones have a space of their own between."""

    def prepare(self, task: Task, prompt: str = "") -> Task:
        """The task as the model takes it: in its own space, with what ``prompt`` asks for.

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
        """The task as it is."""
        if prompt:
            raise UserError("this model takes no prompt")
        return task

    def decode(self, states: Sequence[Tensor], tasks: Sequence[Task]) -> Sequence[Tensor]:
        """States are pictures already."""
        return states
