"""A network of a variance-preserving process, asked at the levels of rectified flow.

The noisy image ``(1 - s) x0 + s noise`` is scaled to unit variance and handed to the network at the timestep with the
same ratio of noise to signal. So every flow method runs on every network of the other kind, and makes real pictures.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

import torch
from torch import Tensor

from isdiff.prediction import Prediction
from isdiff.priors.base import Prior
from isdiff.trajectory import Task

MOST = 20.0  # noise to signal; beyond it networks were hardly trained


class FlowPath:
    """A prior for samplers that walk flow levels.

    Args:
        prior: predicts noise.
        alphas_cumprod: (T,) float64, of its process.
        num_timesteps: what a flow timestep is divided by to get ``s``.
        most: the largest ratio of noise to signal at which the network is asked.
    """

    def __init__(self, prior: Prior, alphas_cumprod: Tensor, num_timesteps: int = 1000, most: float = MOST) -> None:
        self.prior, self.num_timesteps, self.most = prior, num_timesteps, most
        self.ratios = ((1 - alphas_cumprod) / alphas_cumprod).sqrt().tolist()

    def prepare(self, task: Task, prompt: str = "") -> Task:
        return self.prior.prepare(task, prompt)

    def decode(self, states: Sequence[Tensor], tasks: Sequence[Task]) -> Sequence[Tensor]:
        return self.prior.decode(states, tasks)

    def ratio(self, s: float) -> float:
        return min(max(s / (1 - s) if s < 1 else self.most, self.ratios[0]), self.most)

    def timestep(self, ratio: float) -> float:
        """Where the network's own process has this ratio, linear between its timesteps."""
        low = min(max(bisect_right(self.ratios, ratio) - 1, 0), len(self.ratios) - 2)
        return low + (ratio - self.ratios[low]) / (self.ratios[low + 1] - self.ratios[low])

    def predict(self, states: Sequence[Tensor], timesteps: Sequence[float], tasks: Sequence[Task]) -> list[Prediction]:
        levels = [timestep / self.num_timesteps for timestep in timesteps]
        ratios = [self.ratio(s) for s in levels]
        scaled = [x / ((1 - s) ** 2 + s**2) ** 0.5 for x, s in zip(states, levels, strict=True)]
        answers = self.prior.predict(scaled, [self.timestep(ratio) for ratio in ratios], tasks)
        found = []
        for x, u, s, ratio, answer in zip(states, scaled, levels, ratios, answers, strict=True):
            clean = torch.sub((1 + ratio**2) ** 0.5 * u, answer.noise, alpha=ratio)
            found.append(Prediction((x - (1 - s) * clean) / s, clean=clean))
        return found
