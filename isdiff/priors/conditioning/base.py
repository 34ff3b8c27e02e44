"""The plain way to ask an inpainting pipeline: a prompt, classifier-free guidance, masks reduced as diffusers does."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor, nn

from isdiff.checks import check_number
from isdiff.component import Component
from isdiff.errors import UserError
from isdiff.priors.base import LatentTask
from isdiff.priors.text import PromptPair, TextEncoder


@dataclass(eq=False)
class Conditioning(Component):
    """How a latent model is asked: with a prompt, or with nothing.

    Args:
        guidance_scale: classifier-free guidance (Ho & Salimans 2022); 1 asks the network once.
        negative_prompt: what is not asked for.
        text: the text encoder; None for models that get ``context`` with each task.
    """

    guidance_scale: float = 1.0
    negative_prompt: str = ""
    text: TextEncoder | None = None

    not_hashed = ("text",)  # the model's
    whole = False  # whether cells are hole that are only partly; published code asks one pixel of each
    gradients = False  # whether scores are taken from the network's answer, for which it must keep gradients

    def __post_init__(self) -> None:
        check_number("guidance_scale", self.guidance_scale, low=1)
        self.guidance_scale = float(self.guidance_scale)

    def reading(self, text: TextEncoder | None) -> Conditioning:
        """The same with a model's text encoder."""
        bound = copy.copy(self)
        bound.text = text
        return bound

    def prompts(self, prompt: str) -> PromptPair:
        """What stands for a prompt."""
        return PromptPair.plain(prompt, self.negative_prompt)

    def embedded(self, prompt: str) -> Tensor:
        """(1 or 2, tokens, E): the prompt's embedding, the negative one first where there is guidance."""
        if self.text is None:
            raise UserError("this model has no text encoder; prompts and guidance_scale need one")
        return self.text.context(self.prompts(prompt), self.guidance_scale > 1)

    def unit(self, factor: int, levels: int) -> int:
        """What divides the sides of images, for ``factor`` pixels a cell and a U-Net of so many levels."""
        return factor * 2 ** (levels - 1)

    def reduced(self, hole: np.ndarray, factor: int) -> tuple[np.ndarray, np.ndarray]:
        """The hole (H, W) bool as it is blanked in the image, and at the size of the latents."""
        return hole, hole[::factor, ::factor]

    def extras(self, prompt: str, blanked: np.ndarray, factor: int) -> dict[str, Any]:
        """Further fields of the task."""
        return {}

    def fitted(self, unet: nn.Module) -> nn.Module:
        """The U-Net with what this way of asking needs inside it."""
        return unet

    def watch(self, x: Tensor, t: Tensor, tasks: Sequence[LatentTask]) -> Any:
        """What attention layers are to know in one call, handed to them as keyword ``attended``; None for nothing."""
        return None

    def scores(self, watched: Any, x: Tensor) -> Sequence[Tensor | None]:
        """A guiding gradient for each image of a call."""
        return [None] * len(x)
