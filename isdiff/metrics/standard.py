"""The usual metrics, by the packages that others use: LPIPS and FID with their published networks, and SSIM.

``isdiff weights get alexnet`` and ``isdiff weights get inception`` fetch the networks.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import nn

from isdiff.io.fingerprint import remembered_sha256
from isdiff.io.weights import Weights
from isdiff.metrics.attributes import at_once, batches
from isdiff.metrics.base import Absent, FeatureExtractor, FrechetMetric, PairMetric, load_once
from isdiff.paths import located, shipped

MANIFEST = "models/manifest.yaml"


def find_published(name: str, model_root: str) -> Path:
    """Find a network's file that the manifest lists, in ``<model_root>/metrics`` or in torch's hub cache.

    Raises:
        Absent: it is not here, or is another file; it might be unpickled, so this comes first.
    """
    entry = Weights(model_root, shipped() / MANIFEST).entry(name)
    places = (located(Path(model_root) / "metrics"), Path(torch.hub.get_dir()) / "checkpoints")
    path = next((place / entry.file for place in places if (place / entry.file).exists()), None)
    if path is None:
        raise Absent(f"{entry.file} of a metric is missing: isdiff weights get {name}")
    if remembered_sha256(path) != entry.sha256:
        raise Absent(f"{path} is damaged or another file; delete it, then: isdiff weights get {name}")
    return path


def in_package(package: str, *parts: str) -> Path:
    """Find a file that comes with an installed package, which is not imported; raises ``Absent``."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise Absent(f"{package} of a metric is missing: pip install {package.replace('_', '-')}")
    return Path(spec.submodule_search_locations[0]).joinpath(*parts)


def lpips_net(path: Path, _: Path) -> nn.Module:
    """Build the ``lpips`` package's network around AlexNet's published weights."""
    import lpips

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False).eval().requires_grad_(False)
    state = torch.load(path, map_location="cpu", weights_only=True)
    for part in net.net.children():
        for index, layer in part.named_children():
            if isinstance(layer, nn.Conv2d):
                layer.load_state_dict({key: state[f"features.{index}.{key}"] for key in ("weight", "bias")})
    return net


class LPIPS(PairMetric):
    """Learned perceptual image patch similarity, AlexNet (Zhang et al. 2018), by the ``lpips`` package."""

    name, title = "lpips", "LPIPS (AlexNet)"

    def __init__(self, model_root: str) -> None:
        self.model_root = model_root

    def weights(self) -> list[Path]:
        """AlexNet's convolutions, and the layers that LPIPS was fitted with, which come with its package."""
        return [find_published("alexnet", self.model_root), in_package("lpips", "weights", "v0.1", "alex.pth")]

    @torch.inference_mode()
    def values(self, results: list[np.ndarray], truths: list[np.ndarray], prompts: Sequence[str] = ()) -> np.ndarray:
        net, size = load_once(lpips_net, self.version, *self.weights()), at_once(results[0])
        pairs = zip(batches(results, size), batches(truths, size), strict=True)
        return torch.cat([net(a, b).flatten() for a, b in pairs]).numpy()


def inception(path: Path) -> nn.Module:
    """Build ``torch_fidelity``'s network."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    return FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], feature_extractor_weights_path=str(path))


@dataclass(frozen=True)
class InceptionFeatures(FeatureExtractor):
    """torch-fidelity's Inception features (2048, 8-bit input)."""

    model_root: str
    name = "inception"

    def weights(self) -> list[Path]:
        return [find_published("inception", self.model_root)]

    @torch.inference_mode()
    def features(self, images: list[np.ndarray]) -> np.ndarray:
        net = load_once(inception, self.version, *self.weights())
        parts = (np.stack(images[i : i + 32]) for i in range(0, len(images), 32))
        tensors = (torch.from_numpy(part).permute(0, 3, 1, 2).contiguous() for part in parts)
        return torch.cat([net(t)[0] for t in tensors]).numpy()


class FID(FrechetMetric):
    """Frechet inception distance (Heusel et al. 2017) in torch-fidelity's features."""

    name, title = "fid", "FID"

    def __init__(self, model_root: str) -> None:
        self.model_root = model_root

    @property
    def extractor(self) -> FeatureExtractor:
        return InceptionFeatures(self.model_root)


class SSIM(PairMetric):
    """Structural similarity (Wang et al. 2004) by ``torchmetrics``: Gaussian window of 11 pixels, mean of channels."""

    name, title, higher_is_better, limits = "ssim", "SSIM", True, (-1.0, 1.0)

    @torch.inference_mode()
    def values(self, results: list[np.ndarray], truths: list[np.ndarray], prompts: Sequence[str] = ()) -> np.ndarray:
        from torchmetrics.functional.image import structural_similarity_index_measure as ssim

        size = at_once(results[0])
        pairs = zip(batches(results, size), batches(truths, size), strict=True)
        found = [torch.as_tensor(ssim(a, b, reduction="none", data_range=(-1.0, 1.0))) for a, b in pairs]
        return torch.cat([v.reshape(-1) for v in found]).numpy()
