"""Distances in the features of the attribute classifier: quality of drawn images, measured offline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from isdiff.io.models import load_attribute_net
from isdiff.metrics import base
from isdiff.metrics.base import DEVICE, Absent, FeatureExtractor, Features, Unavailable, load_once
from isdiff.nets.drawings import AttributeNet
from isdiff.paths import located


def at_once(image: np.ndarray) -> int:
    """How many images of this size take no more memory than 16 of 224x224."""
    return max(1, min(16, 16 * 224**2 // (image.shape[0] * image.shape[1])))


def batches(images: list[np.ndarray], size: int = 64) -> Iterator[Tensor]:
    """uint8 images as float32 batches (B, 3, H, W) in [-1, 1], on ``DEVICE``."""
    for start in range(0, len(images), size):
        stacked = np.stack(images[start : start + size])
        yield torch.from_numpy(stacked).to(DEVICE.get()).permute(0, 3, 1, 2).float() / 127.5 - 1


def map_distance(first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
    """The form of LPIPS without learned weights (Zhang et al. 2018, Eq. 1), (B,).

    The squared distance of feature maps whose channel vectors have unit length, averaged over positions and summed over
    the stages.
    """
    units = ((normalize(x), normalize(y)) for x, y in zip(first, second, strict=True))
    return sum(((x - y).square().sum(1).mean((1, 2)) for x, y in units), start=torch.zeros(()))


@dataclass(frozen=True)
class AttributeFeatures(FeatureExtractor):
    """The attribute classifier's view of 64x64 drawings: its 64-dimensional embeddings, and distances of feature maps.

    Args:
        path: the classifier's weights; None where none knows the images.
    """

    path: Path | None
    name = "attributes"

    def weights(self) -> list[Path]:
        if self.path is None:
            raise Unavailable("measures drawn images only")
        if not self.path.exists():
            how = f"python scripts/train.py train={self.path.parent.name}_classifier"
            raise Absent(f"weights {self.path} of a metric are missing: {how}")
        return [self.path]

    def net(self, images: list[np.ndarray]) -> AttributeNet:
        """Load the classifier, for images that it knows."""
        version = self.version
        if images[0].shape[:2] != (64, 64):
            raise Unavailable("measures 64x64 drawings only")
        return load_once(load_attribute_net, version, *self.weights())

    @torch.inference_mode()
    def extract(self, results: list[np.ndarray], truths: list[np.ndarray], prompts: Sequence[str] = ()) -> Features:
        net, parts = self.net(results), []
        for result, truth in zip(batches(results), batches(truths), strict=True):
            (a, first), (b, second) = net.features(result), net.features(truth)
            parts.append((map_distance(a, b), first, second))
        return Features(*(torch.cat(column).cpu().numpy() for column in zip(*parts, strict=True)))

    @torch.inference_mode()
    def features(self, images: list[np.ndarray]) -> np.ndarray:
        net = self.net(images)
        return torch.cat([net.features(x)[1] for x in batches(images)]).cpu().numpy()


class AttributeMetric(base.Metric):
    """A metric in the attribute classifier's features.

    Args:
        model: the shipped model whose feature network is used; None where none knows the images.
    """

    def __init__(self, model_root: str, model: str | None) -> None:
        self.path = None if model is None else located(Path(model_root) / model / "classifier.safetensors")

    @property
    def extractor(self) -> FeatureExtractor:
        return AttributeFeatures(self.path)


class Perceptual(AttributeMetric, base.MeanMetric):
    """LPIPS's form (Zhang et al. 2018, Eq. 1) without learned weights, in the classifier's feature maps."""

    name, title = "perceptual", "perceptual distance"


class Frechet(AttributeMetric, base.FrechetMetric):
    """Frechet distance between the classifier's embeddings of results and truths."""

    name, title = "frechet", "Fréchet distance"
