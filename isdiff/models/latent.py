"""Latent inpainting models of diffusers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from isdiff.checks import BadValue, check_number
from isdiff.component import plain
from isdiff.devices import DTYPES, compiled
from isdiff.errors import UserError
from isdiff.io.fingerprint import weights_fingerprint
from isdiff.models.base import RANDOM, Model, check_keys
from isdiff.models.pipeline import load_pipeline, random_pipeline
from isdiff.priors.conditioning import Conditioning, TextEncoder
from isdiff.priors.latent import LatentPrior


@dataclass(eq=False)
class LatentModel(Model):
    """An inpainting model in the layout of diffusers.

    Args:
        weights: a diffusers folder, a single file, an id on the hub, or ``random``.
        revision: of an id on the hub.
        variant: of the files in a folder or on the hub.
        text_guidance: classifier-free guidance that ``latent.guidance_scale=auto`` means where there is text.
        random: sizes of ``unet``, ``vae`` and ``text``, for random weights.
    """

    noise_schedule: str = "scaled_linear"
    revision: str | None = None
    variant: str | None = None
    text_guidance: float = 7.5
    random: Mapping[str, Any] | None = None

    not_hashed = (*Model.not_hashed, "path", "revision", "variant", "text_guidance", "random")
    latent = sees_hole = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("text_guidance", self.text_guidance, 1)
        check_keys("random", self.random, ("unet", "vae", "text"))
        for key in ("revision", "variant"):
            if (value := getattr(self, key)) is not None and not isinstance(value, str):
                raise BadValue(f"{key} is {value!r}; it must be a text or null")

    def fingerprint(self) -> dict[str, Any]:
        return super().fingerprint() | ({"random": plain(self.random)} if self.weights == RANDOM else {})

    def identity(self) -> str:
        if self.weights == RANDOM:
            return RANDOM
        return weights_fingerprint(self.weights, name=self.name, revision=self.revision, variant=self.variant)

    def load(
        self, device: torch.device, precision: str = "fp32", *, pad_to: int = 4, compile: bool | str = False,
        conditioning: Conditioning | None = None, enough: int = 50,
    ) -> LatentPrior:  # fmt: skip
        """The U-Net in ``precision``, the autoencoder and the text encoder in float32, none of them to be trained."""
        if compile == "graphs":
            raise UserError("runtime.compile is graphs, which is for models of pixels; give true or false")
        pipeline = self.pipeline()
        text = None if pipeline.text_encoder is None else TextEncoder(pipeline.tokenizer, pipeline.text_encoder)
        asking = (conditioning or Conditioning()).reading(text)
        for module, dtype in ((pipeline.unet, DTYPES[precision]), (pipeline.vae, torch.float32)):
            # Not diffusers' own ``to``, which warns of modules to be kept in float32 also where it lists none.
            nn.Module.to(module.eval().requires_grad_(False), device=device, dtype=dtype)
        if text is not None:
            text.model.eval().requires_grad_(False).to(device=device, dtype=torch.float32)
        unet: Any = asking.fitted(pipeline.unet)
        if compile:
            unet = compiled(unet, device)
        velocity = self.velocity_table(getattr(pipeline, "scheduler", None))
        return LatentPrior(unet, pipeline.vae, asking, device, pad_to=pad_to, enough=enough, velocity=velocity)

    def pipeline(self) -> Any:
        if self.weights != RANDOM:
            return load_pipeline(self.weights, self.revision, self.variant)
        if not self.random:
            raise UserError(f"model {self.name} cannot have random weights: its configuration lists no sizes")
        return random_pipeline(self.random)

    def velocity_table(self, scheduler: Any) -> Tensor | None:
        """alphas_cumprod where a pipeline's scheduler says that its U-Net predicts velocity; None for noise."""
        kind = "epsilon" if scheduler is None else scheduler.config.get("prediction_type", "epsilon")
        if kind not in ("epsilon", "v_prediction"):
            raise UserError(f"model {self.name} predicts {kind!r}; epsilon and v_prediction can be used")
        return None if kind == "epsilon" else self.own_schedule.alphas_cumprod
