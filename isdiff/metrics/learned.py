"""LPIPS and FID with their own published networks: isdiff weights get alexnet, isdiff weights get inception."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from isdiff.io.fingerprint import remembered_sha256
from isdiff.io.weights import Weights
from isdiff.metrics.attributes import at_once, batches
from isdiff.metrics.base import Absent, FeatureExtractor, FrechetMetric, PairMetric, load_once
from isdiff.paths import located, shipped

MANIFEST = "models/manifest.yaml"


def find_published(name: str, model_root: str) -> Path:
    """A network's file that the manifest lists, in ``<model_root>/metrics`` or in torch's hub cache.

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


def lpips_layers() -> Path:
    """The layers that LPIPS was fitted with; they come with its package.

    Raises:
        Absent: the package is not installed.
    """
    spec = find_spec("lpips")
    if spec is None or not spec.submodule_search_locations:
        raise Absent("the package of LPIPS is missing: pip install lpips")
    return Path(spec.submodule_search_locations[0]) / "weights" / "v0.1" / "alex.pth"


def lpips_net(path: Path, _: Path) -> torch.nn.Module:
    """The ``lpips`` package's network around AlexNet's published weights."""
    import lpips

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False).eval().requires_grad_(False)
    state = torch.load(path, map_location="cpu", weights_only=True)
    convolutions = {k.split(".", 1)[1]: v for k, v in state.items() if k.startswith("features.")}
    for part in net.net.children():
        for index, layer in part.named_children():
            if isinstance(layer, torch.nn.Conv2d):
                assert layer.bias is not None
                layer.weight.copy_(convolutions[f"{index}.weight"])
                layer.bias.copy_(convolutions[f"{index}.bias"])
    return net


class LPIPS(PairMetric):
    """Learned perceptual image patch similarity, AlexNet (Zhang et al. 2018), by the ``lpips`` package."""

    name, title = "lpips", "LPIPS (AlexNet)"

    def __init__(self, model_root: str) -> None:
        self.model_root = model_root

    def weights(self) -> list[Path]:
        """AlexNet's convolutions, and the layers that LPIPS was fitted with."""
        return [find_published("alexnet", self.model_root), lpips_layers()]

    @torch.inference_mode()
    def values(self, results: list[np.ndarray], truths: list[np.ndarray], prompts: Sequence[str] = ()) -> np.ndarray:
        """Distances."""
        net, size = load_once(lpips_net, self.version, *self.weights()), at_once(results[0])
        pairs = zip(batches(results, size), batches(truths, size), strict=True)
        return torch.cat([net(a, b).flatten() for a, b in pairs]).numpy()


def inception(path: Path) -> torch.nn.Module:
    """``torch_fidelity``'s network."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    return FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], feature_extractor_weights_path=str(path))


@dataclass(frozen=True)
class InceptionFeatures(FeatureExtractor):
    """torch-fidelity's Inception features (2048, 8-bit input)."""

    model_root: str
    name = "inception"

    def weights(self) -> list[Path]:
        """The network's file."""
        return [find_published("inception", self.model_root)]

    @torch.inference_mode()
    def features(self, images: list[np.ndarray]) -> np.ndarray:
        """(N, 2048)."""
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
        """torch-fidelity's network."""
        return InceptionFeatures(self.model_root)
