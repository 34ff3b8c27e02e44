"""How well a picture shows what was asked for: cosines of images and prompts in the space of a model of both."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from isdiff.errors import UserError
from isdiff.io.models import load_caption_net
from isdiff.metrics.attributes import batches
from isdiff.metrics.base import MeanSample, Metric, Sample, Unavailable


def score(images: Tensor, texts: Tensor) -> np.ndarray:
    """CLIP score (Hessel et al. 2021) of rows of embeddings, 0..100: ``100 max(cos, 0)``."""
    return 100 * torch.cosine_similarity(images.float(), texts.float()).clamp(min=0).double().numpy()


class TextMetric(Metric):
    """
    Args:
        folder: the model of images and texts.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)

    def asked(self, prompts: Sequence[str]) -> list[str]:
        """
        Raises:
            Unavailable: nothing was asked for.
        """
        if not any(prompts):
            raise Unavailable("the run has no prompts")
        return list(prompts)


class CaptionScore(TextMetric):
    """CLIP score in the encoders of the small latent model of drawn faces (``captions.safetensors``); 64x64."""

    name, title = "caption_score", "caption score ↑"

    @torch.inference_mode()
    def measure(self, results: list[np.ndarray], truths: list[np.ndarray], prompts: Sequence[str] = ()) -> Sample:
        asked = self.asked(prompts)
        if results[0].shape[:2] != (64, 64):
            raise Unavailable("measures 64x64 drawings only")
        try:
            net, tokenizer = load_caption_net(self.folder)
        except UserError as error:
            raise Unavailable(str(error)) from None
        ids = tokenizer(asked, padding="max_length", truncation=True, return_tensors="pt").input_ids
        pictures = torch.cat([net.images(x) for x in batches(results)])
        texts = torch.cat([net.captions(part) for part in ids.split(64)])
        return MeanSample(score(pictures, texts))


class CLIPScore(TextMetric):
    """CLIP score with OpenAI's ViT-L/14 (``isdiff weights get clip_vit_l14``); prompts are cut after 77 tokens."""

    name, title = "clip_score", "CLIP score (ViT-L/14) ↑"

    @torch.inference_mode()
    def measure(self, results: list[np.ndarray], truths: list[np.ndarray], prompts: Sequence[str] = ()) -> Sample:
        asked = self.asked(prompts)
        if not self.folder.is_dir():
            raise Unavailable(f"{self.folder} is not here: isdiff weights get {self.folder.name}")
        from transformers import CLIPModel, CLIPProcessor

        try:
            model = CLIPModel.from_pretrained(self.folder, local_files_only=True).eval()
            processor = CLIPProcessor.from_pretrained(self.folder, local_files_only=True)
        except Exception as error:  # damaged files raise many things
            reason = " ".join(str(error).split())[:200]
            raise Unavailable(f"{self.folder} holds no whole CLIP model ({reason}); get it again") from None
        values = []
        for i in range(0, len(results), 16):
            inputs = processor(
                text=asked[i : i + 16], images=results[i : i + 16], padding=True, truncation=True, return_tensors="pt"
            )
            found = model(**inputs)
            values.append(score(found.image_embeds, found.text_embeds))
        return MeanSample(np.concatenate(values))
