"""Distances between sets of images in the embeddings of CLIP and DINOv2, by ``transformers``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from isdiff.io.hub import model_files
from isdiff.metrics.base import DEVICE, Absent, FeatureExtractor, FrechetMetric, SetMetric, load_once, load_pretrained
from isdiff.metrics.samples import KernelStatistic, gaussian_kernel
from isdiff.paths import located


def load_clip(folder: Path) -> tuple[Any, Any]:
    """Load CLIP's image half and its image processor from a folder."""
    return load_pretrained("CLIPVisionModelWithProjection", "AutoImageProcessor", folder)


def load_dinov2(folder: Path) -> tuple[Any, Any]:
    """Load DINOv2 and its image processor from a folder."""
    return load_pretrained("Dinov2Model", "AutoImageProcessor", folder)


@dataclass(frozen=True)
class Embeddings(FeatureExtractor):
    """An image's embedding, after the model's own resizing.

    Attributes:
        folder: of the model.
        load: gives the model and its image processor.
    """

    folder: Path
    load: Callable[[Path], tuple[Any, Any]]

    @property
    def name(self) -> str:  # type: ignore[override]
        return self.folder.name

    def weights(self) -> list[Path]:
        if not self.folder.is_dir():
            raise Absent(f"{self.folder} of a metric is missing: isdiff weights get {self.folder.name}")
        return list(model_files(self.folder))

    @torch.inference_mode()
    def features(self, images: list[np.ndarray]) -> np.ndarray:
        model, processor = load_once(self.load, self.version, self.folder)
        found = []
        for i in range(0, len(images), 16):
            seen = model(**processor(images=images[i : i + 16], return_tensors="pt").to(DEVICE.get()))
            found.append(seen.image_embeds if "image_embeds" in seen else seen.pooler_output)
        return torch.cat(found).float().cpu().numpy()


class CMMD(SetMetric):
    """CLIP maximum mean discrepancy (Jayasumana et al. 2024), unbiased, x1000, on OpenAI's ViT-L/14 at 224 pixels.

    Their code uses ViT-L/14 at 336 pixels: values of the two cannot be compared.

    Args:
        model: folder of CLIP.
    """

    name, title = "cmmd", "CMMD x1000 (ViT-L/14, 224 pixels)"

    def __init__(self, model: str) -> None:
        self.folder = located(model)

    @property
    def extractor(self) -> FeatureExtractor:
        return Embeddings(self.folder, load_clip)

    def between(self, results: np.ndarray, truths: np.ndarray) -> KernelStatistic:
        results, truths = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (results, truths))
        return KernelStatistic(results, truths, 1000.0, kernel=gaussian_kernel)


class FDDINOv2(FrechetMetric):
    """Frechet distance of DINOv2 ViT-L/14 embeddings (Stein et al. 2023).

    Args:
        model: folder of DINOv2.
    """

    name, title = "fd_dinov2", "FD (DINOv2 ViT-L/14)"

    def __init__(self, model: str) -> None:
        self.folder = located(model)

    @property
    def extractor(self) -> FeatureExtractor:
        return Embeddings(self.folder, load_dinov2)
