"""How a latent model is asked: prompts, classifier-free guidance, masks as diffusers reduces them; PowerPaint."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor, nn

from isdiff.checks import FromOne, Share, one_of
from isdiff.component import Component
from isdiff.errors import UserError
from isdiff.nets.drawings import TASK_WORDS, VECTORS
from isdiff.priors.base import LatentTask


@dataclass(frozen=True)
class PromptPair:
    """What stands for one image's prompt: ``weight`` of the first text's embedding, the rest of the second's."""

    prompts: tuple[str, str]
    negative: tuple[str, str]
    weight: float = 1.0

    @classmethod
    def plain(cls, prompt: str, negative: str) -> "PromptPair":
        return cls((prompt, prompt), (negative, negative))


class TextEncoder:
    """The CLIP tokenizer and text model of a diffusers pipeline; every text is encoded once."""

    def __init__(self, tokenizer: Any, model: Any) -> None:
        self.tokenizer, self.model = tokenizer, model
        self.length = min(tokenizer.model_max_length, model.config.max_position_embeddings)
        self.cache: dict[str, Tensor] = {}

    def ids(self, text: str) -> list[int]:
        ids = self.tokenizer(text).input_ids
        if len(ids) > self.length:
            raise UserError(
                f"the prompt {text[:60]!r}... has {len(ids)} tokens, the text encoder takes {self.length}; shorten it"
            )
        return ids

    def encode(self, text: str) -> Tensor:
        """(tokens, E) float32, the model's last hidden state."""
        if text not in self.cache:
            self.ids(text)
            padded = self.tokenizer(text, padding="max_length", max_length=self.length, return_tensors="pt")
            with torch.inference_mode(False), torch.no_grad():
                self.cache[text] = self.model(padded.input_ids.to(self.model.device))[0][0].float()
        return self.cache[text]

    def mixed(self, texts: tuple[str, str], weight: float) -> Tensor:
        first, second = map(self.encode, texts)
        return first if texts[0] == texts[1] else weight * first + (1 - weight) * second

    def context(self, pair: PromptPair, guided: bool) -> Tensor:
        """(2, tokens, E), negative then positive, for classifier-free guidance; (1, tokens, E) without."""
        positive = self.mixed(pair.prompts, pair.weight)
        return torch.stack([self.mixed(pair.negative, pair.weight), positive] if guided else [positive])

    def attended(self, prompt: str, full: str) -> Tensor:
        """(tokens,) bool: the tokens of ``prompt`` and the end of ``full``, which begins with it (HD-Painter)."""
        chosen = torch.zeros(self.length, dtype=torch.bool)
        chosen[1 : len(self.ids(prompt)) - 1] = True
        chosen[len(self.ids(full)) - 1] = True
        return chosen


@dataclass(eq=False)
class Conditioning(Component):
    """How a latent model is asked: with a prompt, or with nothing."""

    guidance_scale: FromOne = 1.0  # classifier-free guidance (Ho & Salimans 2022); 1 asks the network once
    negative_prompt: str = ""  # what is not asked for
    text: TextEncoder | None = None  # the text encoder; None for models that get ``context`` with each task

    not_hashed = ("text",)  # the model's
    whole = False  # whether cells are hole that are only partly; published code asks one pixel of each
    gradients = False  # whether scores are taken from the network's answer, for which it must keep gradients

    def __post_init__(self) -> None:
        self.guidance_scale = float(self.guidance_scale)

    def reading(self, text: TextEncoder | None) -> "Conditioning":
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


QUALITY = ", worst quality, low quality, normal quality, bad quality, blurry "
TASKS = ("text-guided", "shape-guided", "object-removal", "image-outpainting", "context-aware")


def powerpaint_prompts(task: str, prompt: str, negative: str, fitting_degree: float = 1.0) -> PromptPair:
    """The prompts of one of ``TASKS`` (official demo; ``context-aware`` is IOPaint's); ``shape-guided`` mixes two."""
    if task == "text-guided":
        return PromptPair.plain(f"{prompt} P_obj", f"{negative}{QUALITY}P_obj")
    if task == "shape-guided":
        negatives = f"{negative}{QUALITY}P_shape", f"{negative}{QUALITY}P_ctxt"
        return PromptPair((f"{prompt} P_shape", f"{prompt} P_ctxt"), negatives, fitting_degree)
    if task in ("object-removal", "image-outpainting"):
        return PromptPair.plain(f"empty scene blur {prompt} P_ctxt", f"{negative} P_obj")
    return PromptPair.plain(f"{prompt} P_ctxt", negative)


def expand_task_words(text: str) -> str:
    """``P_obj`` becomes ``P_obj_0 P_obj_1 ... P_obj_9``, the strings that PowerPaint's tokenizer knows."""
    for word in TASK_WORDS:
        text = text.replace(word, " ".join(f"{word}_{i}" for i in range(VECTORS)))
    return text


@dataclass(eq=False)
class PowerPaint(Conditioning):
    """PowerPaint: learned words for each of its tasks stand beside the prompt."""

    task: Annotated[str, one_of(*TASKS)] = "context-aware"
    fitting_degree: Share = 1.0  # of ``shape-guided``: how closely the object fills the hole, in [0, 1]

    def prompts(self, prompt: str) -> PromptPair:
        pair = powerpaint_prompts(self.task, prompt, self.negative_prompt, self.fitting_degree)
        first, second, negative, other = map(expand_task_words, (*pair.prompts, *pair.negative))
        return PromptPair((first, second), (negative, other), pair.weight)
