"""Distances in the features of the attribute classifier: quality of drawn images, measured offline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from isdiff.errors import UserError
from isdiff.io.models import load_attribute_net
from isdiff.metrics.base import FrechetSample, MeanSample, Metric, Sample, Unavailable
from isdiff.nets.attributes import AttributeNet
from isdiff.paths import located


def batches(images: list[np.ndarray], size: int = 64) -> Iterator[Tensor]:
    """uint8 images as float32 batches (B, 3, H, W) in [-1, 1]."""
    for start in range(0, len(images), size):
        stacked = np.stack(images[start : start + size])
        yield torch.from_numpy(stacked).permute(0, 3, 1, 2).float() / 127.5 - 1


class AttributeMetric(Metric):
    """
    Args:
        model: the shipped model whose feature network is used; None where none knows the images.
    """

    def __init__(self, model_root: str, model: str | None) -> None:
        self.path = None if model is None else located(Path(model_root) / model / "classifier.safetensors")

    def net(self, images: list[np.ndarray]) -> AttributeNet:
        if self.path is None:
            raise Unavailable("measures drawn images only")
        if images[0].shape[:2] != (64, 64):
            raise Unavailable("measures 64x64 drawings only")
        try:
            return load_attribute_net(self.path)
        except UserError as error:
            raise Unavailable(str(error)) from None


class Perceptual(AttributeMetric):
    """Squared distance of channel-normalised feature maps, averaged over positions and summed over stages: LPIPS's
    form (Zhang et al. 2018, Eq. 1) without learned weights, in the classifier's features."""

    name, title = "perceptual", "perceptual distance ↓"

    @torch.inference_mode()
    def measure(self, results: list[np.ndarray], truths: list[np.ndarray], prompts: Sequence[str] = ()) -> Sample:
        net = self.net(results)
        values = []
        for result, truth in zip(batches(results), batches(truths), strict=True):
            stages = zip(net.features(result)[0], net.features(truth)[0], strict=True)
            unit = torch.nn.functional.normalize
            distances = ((unit(a) - unit(b)).square().sum(1).mean((1, 2)) for a, b in stages)
            values.append(sum(distances, start=torch.zeros(())))
        return MeanSample(torch.cat(values).double().numpy())


class Frechet(AttributeMetric):
    """Frechet distance between the classifier's 64-dimensional embeddings of results and truths."""

    name, title = "frechet", "Fréchet distance ↓"

    @torch.inference_mode()
    def measure(self, results: list[np.ndarray], truths: list[np.ndarray], prompts: Sequence[str] = ()) -> Sample:
        net = self.net(results)
        features = [
            torch.cat([net.features(x)[1] for x in batches(images)]).double().numpy() for images in (results, truths)
        ]
        return FrechetSample(*features)
