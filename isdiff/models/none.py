"""In the place of a model, for methods that ask for none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from isdiff.errors import UserError
from isdiff.models.base import NOTHING, Model
from isdiff.prediction import Prediction
from isdiff.priors.base import OnPixels
from isdiff.priors.conditioning.base import Conditioning
from isdiff.trajectory import Task

NO_MODEL = "no network"


class NoPrior(OnPixels):
    """Takes pictures as they are and answers nothing."""

    def predict(self, states: Sequence[Tensor], timesteps: Sequence[float], tasks: Sequence[Task]) -> list[Prediction]:
        """Refuse: there is no network."""
        raise UserError("a network is asked where there is none; give another model")


class NoModel(Model):
    """No network and no weights; pictures of any size."""

    def __init__(self) -> None:
        super().__init__(NO_MODEL, NOTHING, None)

    def check_method(self, method: str, conditioning: Conditioning | None) -> None:
        """Methods that need a network never get here."""

    def identity(self) -> str:
        return NOTHING

    def load(self, device: torch.device, precision: str = "fp32", **options: Any) -> NoPrior:
        """Nothing is loaded."""
        return NoPrior()
