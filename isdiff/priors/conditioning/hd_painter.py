"""HD-Painter (Manukyan et al. 2023): attention that heeds the prompt in the hole, and a score that guides steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from isdiff.checks import BadValue, check_flag
from isdiff.priors.base import LatentTask
from isdiff.priors.conditioning.attention import Attended, install, rasg_score
from isdiff.priors.conditioning.base import Conditioning
from isdiff.priors.text import PromptPair

CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)


def shrink(hole: np.ndarray, factor: int) -> np.ndarray:
    """Bicubic reduction of a mask as Pillow does it, (H // factor, W // factor), 0..255."""
    height, width = hole.shape
    image = Image.fromarray(hole.astype(np.uint8) * 255)
    return np.asarray(image.resize((width // factor, height // factor), Image.Resampling.BICUBIC))


@dataclass(eq=False)
class HDPainter(Conditioning):
    """HD-Painter: attention that is reweighed, and steps that are guided, by the prompt.

    Args:
        positive_prompt: added to every prompt.
        painta: self-attention is reweighed by what the prompt attends to.
        rasg: the network's answer comes with the gradient of the prompt's attention to the hole.
    """

    guidance_scale: float = 7.5
    positive_prompt: str = ""
    painta: bool = True
    rasg: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_flag("painta", self.painta)
        check_flag("rasg", self.rasg)
        if self.guidance_scale <= 1:
            raise BadValue(f"guidance_scale is {self.guidance_scale:g}; HD-Painter needs one above 1")
        if not isinstance(self.positive_prompt, str):
            raise BadValue(f"positive_prompt is {self.positive_prompt!r}; it must be a text")
        self.gradients = self.rasg

    def prompts(self, prompt: str) -> PromptPair:
        return super().prompts(", ".join(text for text in (prompt, self.positive_prompt) if text))

    def unit(self, factor: int, levels: int) -> int:
        return factor * 8

    def reduced(self, hole: np.ndarray, factor: int) -> tuple[np.ndarray, np.ndarray]:
        blanked = cv2.dilate(hole.astype(np.uint8), CROSS).astype(bool)
        return blanked, shrink(blanked, factor) > 0

    def extras(self, prompt: str, blanked: np.ndarray, factor: int) -> dict[str, Any]:
        holes = tuple(torch.from_numpy(shrink(blanked, factor * 2**i) > 127) for i in range(4))
        assert self.text is not None, "prompts were embedded"
        return {"holes": holes, "tokens": self.text.attended(prompt, self.prompts(prompt).prompts[0])}

    def fitted(self, unet: nn.Module) -> nn.Module:
        return install(unet)

    def watch(self, x: Tensor, t: Tensor, tasks: Sequence[LatentTask]) -> Attended:
        """The layers at a half and a quarter of the latents' size, and what they need to know."""
        cells, reweigh = x.shape[2] * x.shape[3], t > 500
        holes = {cells >> (2 * i): torch.stack([task.holes[i] for task in tasks]).to(x.device) for i in range(4)}
        tokens = torch.stack([task.tokens for task in tasks if task.tokens is not None]).float().to(x.device)
        painta = frozenset({cells >> 2, cells >> 4}) if self.painta and reweigh.any() else frozenset[int]()
        return Attended(holes, tokens, reweigh, painta, rasg=cells >> 4 if self.gradients else 0)

    def scores(self, watched: Attended, x: Tensor) -> Sequence[Tensor | None]:
        if not self.gradients:
            return super().scores(watched, x)
        total = rasg_score(watched.logits, watched.tokens, watched.holes[watched.rasg]).sum()
        return list(torch.autograd.grad(total, x)[0])
