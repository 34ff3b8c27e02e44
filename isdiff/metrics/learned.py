"""LPIPS and FID with their own published networks, where their weights are present or can be fetched."""

from __future__ import annotations

import io
import os
import socket
import warnings
from collections.abc import Callable, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from isdiff.io.fingerprint import remembered_sha256
from isdiff.metrics.attributes import at_once, batches
from isdiff.metrics.base import Observer, PairMetric, SetMetric, Unavailable, version_of
from isdiff.metrics.samples import FrechetSample, Sample
from isdiff.paths import located, placed

ALEXNET = "alexnet-owt-7be5be79.pth"
INCEPTION = "weights-inception-2015-12-05-6726825d.pth"
SHA256 = {
    ALEXNET: "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
    INCEPTION: "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
}


def find(name: str, model_root: str) -> Path | None:
    """A weights file by its published name, under ``<model_root>/metrics`` or in torch's hub cache."""
    places = (located(Path(model_root) / "metrics" / name), Path(torch.hub.get_dir()) / "checkpoints" / name)
    return next((place for place in places if place.is_file()), None)


@contextmanager
def short_timeout(seconds: float = 5.0):
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def obtain(name: str, model_root: str, download: bool, fetch: Callable[[], object]) -> Path:
    """Path of a weights file, fetched by ``fetch`` into the hub cache if it is missing and ``download`` is on."""
    if download and find(name, model_root) is None and os.environ.get("HF_HUB_OFFLINE") != "1":
        with short_timeout(), redirect_stderr(io.StringIO()):  # torch.hub announces downloads there
            try:
                fetch()
            except Exception as error:  # whatever a network can raise
                raise Unavailable(f"{name} is not here and could not be fetched ({error})") from None
    path = find(name, model_root)
    if path is None:
        raise Unavailable(
            f"{name} is not here; put it into {placed(model_root) / 'metrics'} or set metrics.download=true"
        )
    if remembered_sha256(path) != SHA256[name]:  # torch-fidelity unpickles, so this comes first
        raise Unavailable(f"{path} is damaged or another file: its sha256 is not {SHA256[name]}")
    return path


def lpips_layers() -> Path:
    """The layers that LPIPS was fitted with; they come with its package.

    Raises:
        Unavailable: the package is not installed.
    """
    spec = find_spec("lpips")
    if spec is None or not spec.submodule_search_locations:
        raise Unavailable("pip install lpips")
    return Path(spec.submodule_search_locations[0]) / "weights" / "v0.1" / "alex.pth"


@lru_cache(maxsize=1)
def lpips_net(path: Path, version: str) -> torch.nn.Module:
    """The ``lpips`` package's network around AlexNet's published weights; ``version`` tells one file from another."""
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


def fetch_alexnet() -> None:
    from torchvision.models import AlexNet_Weights

    AlexNet_Weights.IMAGENET1K_V1.get_state_dict(progress=False, check_hash=True)


class LPIPS(PairMetric):
    """Learned perceptual image patch similarity, AlexNet (Zhang et al. 2018), by the ``lpips`` package.

    Args:
        download: whether to fetch the weights where they are missing.
    """

    name, title = "lpips", "LPIPS (AlexNet) ↓"

    def __init__(self, model_root: str, download: bool = True) -> None:
        self.model_root, self.download = model_root, download

    def weights(self, download: bool = False) -> Path:
        return obtain(ALEXNET, self.model_root, download, fetch_alexnet)

    @property
    def version(self) -> str:
        return version_of("1", [self.weights(), lpips_layers()])

    def fetch(self) -> None:
        self.weights(self.download)

    @torch.inference_mode()
    def values(self, results: list[np.ndarray], truths: list[np.ndarray], prompts: Sequence[str] = ()) -> np.ndarray:
        net = lpips_net(self.weights(), self.version)
        size = at_once(results[0])
        pairs = zip(batches(results, size), batches(truths, size), strict=True)
        return torch.cat([net(a, b).flatten() for a, b in pairs]).numpy()


def fetch_inception() -> None:
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3

    torch.hub.load_state_dict_from_url(URL_INCEPTION_V3, progress=False, weights_only=True)


@lru_cache(maxsize=1)
def inception(path: Path, version: str) -> torch.nn.Module:
    """``torch_fidelity``'s network; ``version`` tells one file from another."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    return FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], feature_extractor_weights_path=str(path))


@dataclass(frozen=True)
class InceptionFeatures(Observer):
    """torch-fidelity's Inception features (2048, 8-bit input).

    Args:
        download: whether to fetch the weights where they are missing.
    """

    model_root: str
    download: bool = True
    name = "inception"

    def weights(self, download: bool = False) -> Path:
        return obtain(INCEPTION, self.model_root, download, fetch_inception)

    @property
    def version(self) -> str:
        return version_of("1", [self.weights()])

    def fetch(self) -> None:
        self.weights(self.download)

    @torch.inference_mode()
    def features(self, images: list[np.ndarray]) -> np.ndarray:
        net = inception(self.weights(), self.version)
        parts = (np.stack(images[i : i + 32]) for i in range(0, len(images), 32))
        tensors = (torch.from_numpy(part).permute(0, 3, 1, 2).contiguous() for part in parts)
        return torch.cat([net(t)[0] for t in tensors]).numpy()


class FID(SetMetric):
    """Frechet inception distance (Heusel et al. 2017) in torch-fidelity's features."""

    name, title = "fid", "FID ↓"

    def __init__(self, model_root: str, download: bool = True) -> None:
        self.look = InceptionFeatures(model_root, download)

    @property
    def observer(self) -> Observer:
        return self.look

    def between(self, results: np.ndarray, truths: np.ndarray) -> Sample:
        return FrechetSample(results, truths)
