"""How well a picture shows what was asked for: cosines of images and prompts in the space of a model of both."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isdiff.io.hub import model_files
from isdiff.io.models import load_caption_net
from isdiff.metrics.attributes import batches
from isdiff.metrics.base import DEVICE, Absent, Features, PairMetric, Unavailable, load_once, load_pretrained
from isdiff.metrics.samples import MeanStatistic, Statistic
from isdiff.paths import located


def score(images: Tensor, texts: Tensor) -> np.ndarray:
    """A hundredth of the CLIP score (Hessel et al. 2021) of rows of embeddings: ``max(cos, 0)``."""
    return torch.cosine_similarity(images.float(), texts.float()).clamp(min=0).cpu().numpy()


class TextMetric(PairMetric):
    """A score of images and texts.

    Args:
        model: folder of the model of images and texts.
    """

    prompted = True
    higher_is_better = True

    def __init__(self, model: str) -> None:
        self.folder = located(model)

    def sample(self, seen: Features) -> Statistic:
        assert seen.values is not None
        return MeanStatistic(100 * seen.values.astype(np.float64), (0.0, 100.0))


class CaptionScore(TextMetric):
    """CLIP score in the encoders of the small latent model of drawn faces (``captions.safetensors``); 64x64."""

    name, title = "caption_score", "caption score"

    def weights(self) -> list[Path]:
        path = self.folder / "captions.safetensors"
        if not path.exists():
            raise Absent(f"{path} of a metric is missing: python scripts/train.py train=avatars64_captions")
        return [path, *(file for part in ("text_encoder", "tokenizer") for file in model_files(self.folder / part))]

    @torch.inference_mode()
    def values(self, results: list[np.ndarray], truths: list[np.ndarray], prompts: Sequence[str] = ()) -> np.ndarray:
        if results[0].shape[:2] != (64, 64):
            raise Unavailable("measures 64x64 drawings only")
        net, tokenizer = load_once(load_caption_net, self.version, self.folder)
        tokens = tokenizer(list(prompts), padding="max_length", truncation=True, return_tensors="pt")
        ids = tokens.input_ids.to(DEVICE.get())
        pictures = torch.cat([net.images(x) for x in batches(results)])
        texts = torch.cat([net.captions(part) for part in ids.split(64)])
        return score(pictures, texts)


def load_clip(folder: Path) -> tuple[Any, Any]:
    """Load CLIP and its processor from a folder."""
    return load_pretrained("CLIPModel", "CLIPProcessor", folder)


class CLIPScore(TextMetric):
    """CLIP score with OpenAI's ViT-L/14 (``isdiff weights get clip_vit_l14``); prompts are cut after 77 tokens.

    The title names the revision of ``models/manifest.yaml``: scores of two models are not to be compared.
    """

    name, title = "clip_score", "CLIP score (ViT-L/14, revision 32bd6428)"
    remedy = "isdiff weights get {}"  # what brings the folder

    def weights(self) -> list[Path]:
        if not self.folder.is_dir():
            raise Absent(f"{self.folder} of a metric is missing: {self.remedy.format(self.folder.name)}")
        return list(model_files(self.folder))

    @torch.inference_mode()
    def values(self, results: list[np.ndarray], truths: list[np.ndarray], prompts: Sequence[str] = ()) -> np.ndarray:
        model, processor = load_once(load_clip, self.version, self.folder)
        found = []
        for i in range(0, len(results), 16):
            texts, pictures = list(prompts[i : i + 16]), results[i : i + 16]
            inputs = processor(text=texts, images=pictures, padding=True, truncation=True, return_tensors="pt")
            seen = model(**inputs.to(DEVICE.get()))
            found.append(score(seen.image_embeds, seen.text_embeds))
        return np.concatenate(found)


class HPSv2(CLIPScore):
    """Human Preference Score v2 (Wu et al. 2023): the same score in a CLIP ViT-H/14 tuned to what people prefer.

    The folder decides whether it is v2 or v2.1, and reports should say which.
    """

    name, title = "hpsv2", "HPSv2"
    remedy = "put HPSv2 or HPSv2.1 there, in the layout of transformers' CLIPModel with its processor"
