"""What a prior is: a diffusion model as the engine and its callers see it, and how many images a call of it serves."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from isdiff.errors import UserError
from isdiff.prediction import Prediction
from isdiff.trajectory import Task


class Prior(Protocol):
    """A loaded diffusion model: it predicts clean images for a batch of noisy ones.

    Pixel models take tasks and give pictures as they are; latent ones have a space of their own between.
    """

    def prepare(self, task: Task, prompt: str = "") -> Task:
        """The task in the model's own space, with what ``prompt`` asks for."""

    def predict(self, states: Sequence[Tensor], timesteps: Sequence[float], tasks: Sequence[Task]) -> list[Prediction]:
        """One network call for a batch in which every state (C, H, W) is at its own timestep."""

    def decode(self, states: Sequence[Tensor], tasks: Sequence[Task]) -> Sequence[Tensor]:
        """What people see of clean states: (3, H, W) each, about [-1, 1]."""


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
    """A task in latent space: ``image`` (4, h, w) are the masked image's latents, ``hole`` the mask channel."""

    # (1 or 2, tokens, E), the embedded prompts; two for classifier-free guidance, the negative one first
    context: Tensor | None = None
    tokens: Tensor | None = None  # (tokens,) bool, those of the user's prompt
    # the hole at the sizes of attention layers, (gh, gw) bool each, from the largest to the smallest
    holes: tuple[Tensor, ...] = ()
    hidden: Tensor | None = None  # (1, H, W) bool, the hole in the picture

    @property
    def pixel_hole(self) -> Tensor:
        assert self.hidden is not None
        return self.hidden

    def reference(self, picture: Tensor) -> Tensor:
        """Both sides from the decoded picture, in which the autoencoder's colour shifts cancel."""
        return picture


WORTH = 1.03  # a larger batch must be so much faster, or smaller ones, which refill sooner, are as good


def seconds(prior: Prior, task: Task, timestep: float, size: int) -> float:
    """Of one network call with ``size`` images, the faster of two after one to warm up."""
    taken = []
    for _ in range(3):
        begun = time.perf_counter()
        prior.predict([task.image] * size, [timestep] * size, [task] * size)
        if task.image.device.type == "cuda":
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - begun)
    return min(taken[1:])


@torch.inference_mode()
def best_batch_size(
    prior: Prior, task: Task, timestep: float, most: int, measured: Callable[..., float] = seconds
) -> int:
    """The smallest of 1, 2, 4, ... images a call, at most ``most``, that no larger one beats in time an image.

    Doubles as long as that pays, and stops where memory runs out.

    Args:
        task: any image, as the model takes it.
        measured: seconds of a call with (prior, task, timestep, size).
    """
    best, least = 1, measured(prior, task, timestep, 1)
    size = 2
    while size <= most:
        try:
            each = measured(prior, task, timestep, size) / size
        except torch.cuda.OutOfMemoryError:
            torch.cuda.empty_cache()
            break
        if each * WORTH > least and size > 2 * best:
            break  # two doublings in a row that brought nothing
        if each * WORTH <= least:
            best, least = size, each
        size *= 2
    return best


class Halving:
    """Calls ``part`` on as many images at once as fit.

    Each time that memory runs out it halves their number, for as long as the model stays loaded. ``part`` leads from
    columns of equal length, one entry an image, to one answer an image.
    """

    def __init__(self, part: Callable[..., list[Any]]) -> None:
        self.part = part
        self.most: int | None = None  # images per call, once memory has run out

    def __call__(self, *columns: Sequence[Any]) -> list[Any]:
        """The answers of ``part`` for all images, in their order."""
        answers: list[Any] = []
        size = self.most or len(columns[0])
        while (done := len(answers)) < len(columns[0]):
            try:
                answers += self.part(*(column[done : done + size] for column in columns))
                continue
            except torch.cuda.OutOfMemoryError:
                if min(size, len(columns[0]) - done) == 1:
                    raise
            # After the exception is gone, and with it the frames that hold what was computed so far.
            torch.cuda.empty_cache()
            self.most = size = max(1, size // 2)
        return answers
