"""What a criterion is."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor

from isdiff.component import Component


class Criterion(Component, ABC):
    """Says how badly the content of a hole goes with its surroundings: the smaller, the better."""

    @abstractmethod
    def __call__(self, prediction: Tensor, image: Tensor, hole: Tensor) -> float:
        """Say how badly the picture inside the hole fits; lower is better.

        Args:
            prediction: (3, H, W), about [-1, 1]; what it shows inside the hole is judged.
            image: (3, H, W), of which only the known pixels may be used.
            hole: (1, H, W), bool.
        """
