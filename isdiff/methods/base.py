"""What a method is: a rule for one step of one image.

The engine calls, for a fall of the plan, ``network_input``, then the network, then ``down``; for a rise, ``up``. Each
gets the trajectory ``tr`` (with its task, its noise stream and its state ``x``) and two indices into the grid, and
returns a new (C, H, W) tensor. A method keeps no state of its own.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor

from isdiff.diffusion.timesteps import Grid
from isdiff.trajectory import Trajectory


@dataclass(frozen=True)
class Prediction:
    """The network's answer for one image.

    Attributes:
        noise: (C, H, W), the noise that the network sees in it.
        variance: (C, H, W) in [-1, 1], if it is learned.
        score: (C, H, W), gradient of a log-likelihood by which the step is to be guided, e.g. a classifier's.
    """

    noise: Tensor
    variance: Tensor | None = None
    score: Tensor | None = None

    def guided_noise(self, abar: float) -> Tensor:
        """``noise`` moved along ``score``, for deterministic steps (Dhariwal & Nichol 2021, Alg. 2)."""
        return self.noise if self.score is None else self.noise - math.sqrt(1 - abar) * self.score


class Method(ABC):
    """A rule for the known region; see the module's text."""

    def network_input(self, tr: Trajectory, grid: Grid) -> Tensor:
        """The noisy image that the network sees at ``tr.index``; default: ``tr.x`` as it is."""
        return tr.x

    @abstractmethod
    def down(self, tr: Trajectory, grid: Grid, prediction: Prediction) -> Tensor:
        """From ``tr.index`` to the lower ``tr.next_index``; sets ``tr.x0`` to the predicted clean image."""

    @abstractmethod
    def up(self, tr: Trajectory, grid: Grid) -> Tensor:
        """From ``tr.index`` to the higher ``tr.next_index`` by adding noise, without the network."""
