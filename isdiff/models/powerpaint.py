"""PowerPaint v1 as its authors published it: a U-Net and a text encoder in files of their own, without the rest."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from isdiff.checks import BadValue, check_text
from isdiff.errors import Missing, UserError
from isdiff.io.fingerprint import remembered_sha256, weights_fingerprint
from isdiff.io.hub import SUMS, verify
from isdiff.io.models import fill, open_weights
from isdiff.models.base import RANDOM, lacking
from isdiff.models.latent import LatentModel
from isdiff.models.pipeline import check_words, load_pipeline
from isdiff.nets.drawings import TASK_WORDS, VECTORS
from isdiff.paths import located

FILES = ("unet/unet.safetensors", "text_encoder/text_encoder.safetensors")
EMBEDDING = "embeddings.token_embedding."
PREFIX = "text_model."  # of the text encoder's tensors, in files and in transformers before 5


@dataclass(eq=False)
class PowerPaintModel(LatentModel):
    """PowerPaint v1: its own U-Net and text encoder, the rest from its base.

    Args:
        weights: a folder with ``unet/unet.safetensors`` and ``text_encoder/text_encoder.safetensors``.
        base: Stable Diffusion 1.5 inpainting, of which it takes autoencoder, scheduler and tokenizer: a diffusers
            folder, a single file, or an id on the hub.
        revision, variant: of the base.
    """

    base: str = ""

    not_hashed = (*LatentModel.not_hashed, "base")

    def __post_init__(self) -> None:
        check_text("base", self.base)
        self.base = str(self.base)
        if RANDOM in (self.weights, self.base):
            raise BadValue(f"weights or base is random; {self.name} has no sizes for untrained weights")
        super().__post_init__()

    def missing(self) -> list[str]:
        files = (lacking(f"{self.weights}/{file}", self.name, self.how) for file in FILES)
        return [*next(filter(None, files), []), *lacking(self.base, Path(self.base).name)]

    def identity(self) -> str:
        """Of both files and the base together."""
        files = [located(self.weights) / file for file in FILES]
        base = weights_fingerprint(self.base, name=self.name, revision=self.revision, variant=self.variant)
        if base == "missing" or not all(file.is_file() for file in files):
            return "missing"
        return hashlib.sha256("\n".join([*map(remembered_sha256, files), base]).encode()).hexdigest()

    def pipeline(self) -> Any:
        if things := self.missing():
            raise Missing(things)
        folder = located(self.weights)
        if (folder / SUMS).exists():
            verify(folder, remembered_sha256)
        pipeline = load_pipeline(self.base, self.revision, self.variant)
        unet, text = (folder / file for file in FILES)
        fill(pipeline.unet.float(), open_weights(unet)[0], unet)
        add_task_words(pipeline, with_task_words(open_weights(text)[0], text), text)
        check_words(pipeline)
        return pipeline


def with_task_words(tensors: Mapping[str, Tensor], source: Path) -> dict[str, Tensor]:
    """A text encoder's tensors without prefix and with one table of words.

    The authors keep the base's words and the learned ones apart. Each learned word stands for ``VECTORS`` rows after
    the base's, in the order of ``TASK_WORDS``.
    """
    found = {name.removeprefix(PREFIX): value for name, value in tensors.items() if not name.endswith("position_ids")}
    names = [f"{EMBEDDING}wrapped.weight", *(f"{EMBEDDING}trainable_embeddings.{word}" for word in TASK_WORDS)]
    parts = [found.pop(name, torch.empty(0)) for name in names]
    rows = len(parts[0])
    for name, part, count in zip(names, parts, (rows, *[VECTORS] * len(TASK_WORDS)), strict=True):
        if part.dim() != 2 or part.shape != (count, parts[0].shape[-1]):
            raise UserError(f"weights {source} have no words of PowerPaint: {name} is {tuple(part.shape)}")
    return found | {f"{EMBEDDING}weight": torch.cat(parts)}


def add_task_words(pipeline: Any, tensors: Mapping[str, Tensor], source: Path) -> None:
    """Give the pipeline's tokenizer the learned words and its text encoder ``tensors``."""
    net = pipeline.text_encoder
    pipeline.tokenizer.add_tokens([f"{word}_{i}" for word in TASK_WORDS for i in range(VECTORS)])
    net.resize_token_embeddings(len(pipeline.tokenizer), mean_resizing=False)
    names = {name.removeprefix(PREFIX): name for name in net.state_dict()}
    fill(net.float(), {names.get(name, name): value for name, value in tensors.items()}, source)
