"""How different two runs with different seeds are on the same images (paper Table VII); higher is more diverse."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from isdiff.metrics.attributes import batches
from isdiff.metrics.base import DEVICE, FeatureExtractor, Features, Metric, Unavailable, load_once
from isdiff.metrics.lite0 import Lite0Features
from isdiff.metrics.samples import MeanStatistic, Statistic
from isdiff.metrics.standard import find_published

if TYPE_CHECKING:
    from torchvision.models import AlexNet


class Diversity(Metric):
    """The mean L2 distance between the features of two runs' results for the same image.

    A single run has none: summaries of runs say so, tables of several seeds ask ``between_runs``.
    """

    of_sets = True
    higher_is_better = True

    def sample(self, seen: Features) -> Statistic:
        raise Unavailable("compares two runs with different seeds; see isdiff table table7")

    @abstractmethod
    def scale(self, features: np.ndarray) -> np.ndarray:
        """(N, D) as they are compared."""

    def between_runs(self, first: np.ndarray, second: np.ndarray) -> MeanStatistic:
        """From two (N, D) of the same images in the same order."""
        a, b = (self.scale(features.astype(np.float64)) for features in (first, second))
        return MeanStatistic(np.linalg.norm(a - b, axis=1))


class Lite0Diversity(Diversity):
    """In the pooled features of EfficientNet-Lite0, divided by the root of their number."""

    name, title = "lite0_diversity", "Lite0 feature distance of two runs"

    @property
    def extractor(self) -> FeatureExtractor:
        return Lite0Features()

    def scale(self, features: np.ndarray) -> np.ndarray:
        return features / np.sqrt(features.shape[1])


@dataclass(frozen=True)
class AlexNetFeatures(FeatureExtractor):
    """AlexNet's last convolutional features (9216), of images at 224 pixels, as torchvision publishes the network."""

    model_root: str
    name = "alexnet"

    def weights(self) -> list[Path]:
        return [find_published("alexnet", self.model_root)]

    @torch.inference_mode()
    def features(self, images: list[np.ndarray]) -> np.ndarray:
        net = load_once(alexnet, self.version, *self.weights())
        mean, spread = (
            torch.tensor(v, device=DEVICE.get()).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
        )
        parts = []
        for x in batches(images, 16):
            x = torch.nn.functional.interpolate(x, size=(224, 224), mode="bicubic", antialias=True).clamp(-1, 1)
            parts.append(net.avgpool(net.features(((x + 1) / 2 - mean) / spread)).flatten(1))
        return torch.cat(parts).cpu().numpy()


def alexnet(path: Path) -> AlexNet:
    """Build torchvision's network with the published weights."""
    from torchvision import models

    net = models.alexnet()
    net.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return net.eval()


class AlexNetDiversity(Diversity):
    """[R] The paper names AlexNet but neither layer nor scale; here its last convolutional features, of unit length."""

    name, title = "alexnet_diversity", "AlexNet feature distance of two runs"

    def __init__(self, model_root: str) -> None:
        self.model_root = model_root

    @property
    def extractor(self) -> FeatureExtractor:
        return AlexNetFeatures(self.model_root)

    def scale(self, features: np.ndarray) -> np.ndarray:
        return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
