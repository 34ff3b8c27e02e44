"""How many images a network call should serve."""

from __future__ import annotations

import time
from collections.abc import Callable

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
