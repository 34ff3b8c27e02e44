"""Prompts to what a text-conditional U-Net sees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from isdiff.errors import UserError


@dataclass(frozen=True)
class PromptPair:
    """What stands for one image's prompt: ``weight`` of the first text's embedding, the rest of the second's."""

    prompts: tuple[str, str]
    negative: tuple[str, str]
    weight: float = 1.0

    @classmethod
    def plain(cls, prompt: str, negative: str) -> PromptPair:
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
