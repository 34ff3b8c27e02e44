"""Prompts to what a text-conditional U-Net sees, with PowerPaint's task prompts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from isdiff.errors import UserError

# PowerPaint v1's learned words, in the order of their rows in the embedding table; each stands for ten vectors.
TASK_WORDS = ("P_ctxt", "P_shape", "P_obj")
VECTORS = 10
QUALITY = ", worst quality, low quality, normal quality, bad quality, blurry "
TASKS = ("text-guided", "shape-guided", "object-removal", "image-outpainting", "context-aware")


@dataclass(frozen=True)
class PromptPair:
    """What stands for one image's prompt: ``weight`` of the first text's embedding, the rest of the second's."""

    prompts: tuple[str, str]
    negative: tuple[str, str]
    weight: float = 1.0

    @classmethod
    def plain(cls, prompt: str, negative: str) -> PromptPair:
        return cls((prompt, prompt), (negative, negative))


def powerpaint_prompts(task: str, prompt: str, negative: str, fitting_degree: float = 1.0) -> PromptPair:
    """PowerPaint v1's prompts of a task (official demo; ``context-aware`` is IOPaint's).

    Args:
        fitting_degree: in [0, 1]; only ``shape-guided`` has two different prompts to mix.
    Raises:
        ValueError: an unknown task.
    """
    if task == "text-guided":
        return PromptPair.plain(f"{prompt} P_obj", f"{negative}{QUALITY}P_obj")
    if task == "shape-guided":
        negatives = f"{negative}{QUALITY}P_shape", f"{negative}{QUALITY}P_ctxt"
        return PromptPair((f"{prompt} P_shape", f"{prompt} P_ctxt"), negatives, fitting_degree)
    if task in ("object-removal", "image-outpainting"):
        return PromptPair.plain(f"empty scene blur {prompt} P_ctxt", f"{negative} P_obj")
    if task == "context-aware":
        return PromptPair.plain(f"{prompt} P_ctxt", negative)
    raise ValueError(f"latent.task is {task!r}; PowerPaint has {', '.join(TASKS)}")


def expand_task_words(text: str) -> str:
    """``P_obj`` becomes ``P_obj_0 P_obj_1 ... P_obj_9``, the strings that PowerPaint's tokenizer knows."""
    for word in TASK_WORDS:
        text = text.replace(word, " ".join(f"{word}_{i}" for i in range(VECTORS)))
    return text


class TextEncoder:
    """A CLIP tokenizer and text model; every text is encoded once.

    Args:
        tokenizer, model: of a diffusers pipeline.
    """

    def __init__(self, tokenizer, model) -> None:
        self.tokenizer, self.model = tokenizer, model.eval().requires_grad_(False)
        self.cache: dict[str, Tensor] = {}

    @cached_property
    def length(self) -> int:
        return min(self.tokenizer.model_max_length, self.model.config.max_position_embeddings)

    def ids(self, text: str) -> list[int]:
        """Token ids with start and end.

        Raises:
            UserError: more than the model takes; diffusers would cut the rest off.
        """
        ids = self.tokenizer(expand_task_words(text)).input_ids
        if len(ids) > self.length:
            raise UserError(
                f"the prompt {text[:60]!r}... has {len(ids)} tokens, the text encoder takes {self.length}; shorten it"
            )
        return ids

    def encode(self, text: str) -> Tensor:
        """(tokens, E) float32, the model's last hidden state."""
        if text not in self.cache:
            self.ids(text)
            padded = self.tokenizer(
                expand_task_words(text), padding="max_length", max_length=self.length, return_tensors="pt"
            )
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
