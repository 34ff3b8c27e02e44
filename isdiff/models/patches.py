"""The patch prior as a model: no weights, any size."""

from __future__ import annotations

from typing import Any

import torch

from isdiff.checks import BadValue, check_number, check_whole
from isdiff.errors import UserError
from isdiff.models.base import FLOW, NOTHING, OWN, Model
from isdiff.priors.conditioning.base import Conditioning
from isdiff.priors.patches.prior import PatchPrior, PatchSettings


class PatchModel(Model):
    """The picture's own known patches as a model (:mod:`isdiff.priors.patches.prior`).

    Args:
        window: side of the windows that are compared, in cells; odd.
        rows: how far up or down patches come from: standard deviation as a share of the height.
        columns: the same sideways, in units of the hole's depth.
        shift: by how much the mean colour of a patch may differ: standard deviation, pictures being in [-1, 1].
        edge: differences of colour at the hole's edge that are evened out, likewise; 0: none.
    """

    paths = (OWN, FLOW)
    differentiable = False  # windows are chosen

    def __init__(
        self,
        name: str = "patches",
        noise_schedule: str = "linear",
        num_timesteps: int = 1000,
        window: int = PatchSettings.window,
        rows: float = PatchSettings.rows,
        columns: float = PatchSettings.columns,
        shift: float = PatchSettings.shift,
        edge: float = PatchSettings.edge,
        isdiff: dict[str, float] | None = None,
        path: str = OWN,
    ) -> None:
        super().__init__(name, NOTHING, None, noise_schedule, num_timesteps, None, isdiff, path)
        check_whole("window", window)
        if window % 2 == 0:
            raise BadValue(f"window is {window}; it must be odd")
        for key, value in (("rows", rows), ("columns", columns)):
            check_number(key, value, low=1e-3)
        for key, value in (("shift", shift), ("edge", edge)):
            check_number(key, value)
        self.settings = PatchSettings(window=window, rows=rows, columns=columns, shift=shift, edge=edge)

    def check_method(self, method: str, conditioning: Conditioning | None) -> None:
        if conditioning is not None:
            raise UserError(f"method {method} needs a latent model; model=patches is for methods that work on pixels")

    def identity(self) -> str:
        return NOTHING

    def load(self, device: torch.device, precision: str = "fp32", **options: Any) -> PatchPrior:
        """Nothing is loaded; patches are always compared in float32, and options of networks do not matter."""
        return PatchPrior(self.schedule.levels, self.settings)
