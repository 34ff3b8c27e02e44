"""A prior that the caller has loaded, as a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from isdiff.models.base import NOTHING, Model
from isdiff.priors.base import Prior
from isdiff.priors.conditioning.base import Conditioning


class LoadedModel(Model):
    """A loaded prior with what it does not say itself: the size of its images and the process it was trained on.

    Args:
        prior: on its device, in its precision.
        image_size: side of its images; None: any height and width.
        differentiable: whether gradients flow through it.
    """

    not_hashed = (*Model.not_hashed, "prior")

    def __init__(
        self,
        prior: Prior,
        image_size: int | None,
        noise_schedule: str = "linear",
        num_timesteps: int = 1000,
        isdiff: Mapping[str, float] | None = None,
        name: str = "loaded",
        differentiable: bool = True,
    ) -> None:
        super().__init__(name, NOTHING, image_size, noise_schedule, num_timesteps, None, isdiff)
        self.prior, self.differentiable = prior, differentiable

    def check_method(self, method: str, conditioning: Conditioning | None) -> None:
        """The caller knows what the prior takes."""

    def identity(self) -> str:
        return f"loaded {id(self.prior)}"

    def load(self, device: torch.device, precision: str = "fp32", **options: Any) -> Prior:
        return self.prior
