"""How many images a network call serves: what pays, and what fits into memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from isdiff.priors.base import Prior
from isdiff.trajectory import Task

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

    Each time that memory runs out it halves their number, for as long as the model stays loaded.

    Args:
        part: from columns of equal length, one entry an image, to one answer an image.
    """

    def __init__(self, part: Callable[..., list[Any]]) -> None:
        self.part = part
        self.most: int | None = None  # images per call, once memory has run out

    def __call__(self, *columns: Sequence[Any]) -> list[Any]:
        """The answers of ``part`` for all images, in their order.

        Raises:
            torch.cuda.OutOfMemoryError: a single image does not fit.
        """
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
