"""LPIPS and FID with their own published networks, where their weights are present or can be fetched."""

from __future__ import annotations

import io
import os
import socket
import warnings
from collections.abc import Callable, Sequence
from contextlib import contextmanager, redirect_stderr
from pathlib import Path

import numpy as np
import torch

from isdiff.io.files import sha256_file
from isdiff.metrics.attributes import batches
from isdiff.metrics.base import FrechetSample, MeanSample, Metric, Sample, Unavailable
from isdiff.paths import located, placed

ALEXNET = "alexnet-owt-7be5be79.pth"
INCEPTION = "weights-inception-2015-12-05-6726825d.pth"


def find(name: str, model_root: str) -> Path | None:
    """A weights file by its published name, under ``<model_root>/metrics`` or in torch's hub cache."""
    places = (located(Path(model_root) / "metrics" / name), Path(torch.hub.get_dir()) / "checkpoints" / name)
    return next((place for place in places if place.exists()), None)


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
    # Published names end in the start of the file's sha256. torch-fidelity unpickles, so this comes first.
    expected = name.rsplit("-", 1)[1].split(".")[0]
    if not sha256_file(path).startswith(expected):
        raise Unavailable(f"{path} is damaged or another file: its sha256 does not start with {expected}")
    return path


class LPIPS(Metric):
    """Learned perceptual image patch similarity, AlexNet (Zhang et al. 2018), by the ``lpips`` package."""

    name, title = "lpips", "LPIPS (AlexNet) ↓"

    def __init__(self, model_root: str, download: bool = True) -> None:
        self.model_root, self.download = model_root, download

    @torch.inference_mode()
    def measure(self, results: list[np.ndarray], truths: list[np.ndarray], prompts: Sequence[str] = ()) -> Sample:
        def fetch() -> None:
            from torchvision.models import AlexNet_Weights

            AlexNet_Weights.IMAGENET1K_V1.get_state_dict(progress=False, check_hash=True)

        path = obtain(ALEXNET, self.model_root, self.download, fetch)
        import lpips

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            net = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False).eval()
        state = torch.load(path, map_location="cpu", weights_only=True)
        convolutions = {k.split(".", 1)[1]: v for k, v in state.items() if k.startswith("features.")}
        for part in net.net.children():
            for index, layer in part.named_children():
                if isinstance(layer, torch.nn.Conv2d):
                    assert layer.bias is not None
                    layer.weight.copy_(convolutions[f"{index}.weight"])
                    layer.bias.copy_(convolutions[f"{index}.bias"])
        pairs = zip(batches(results, 16), batches(truths, 16), strict=True)
        return MeanSample(torch.cat([net(a, b).flatten() for a, b in pairs]).double().numpy())


class FID(Metric):
    """Frechet inception distance with torch-fidelity's Inception features (2048, 8-bit input)."""

    name, title = "fid", "FID ↓"

    def __init__(self, model_root: str, download: bool = True) -> None:
        self.model_root, self.download = model_root, download

    @torch.inference_mode()
    def measure(self, results: list[np.ndarray], truths: list[np.ndarray], prompts: Sequence[str] = ()) -> Sample:
        def fetch() -> None:
            from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3

            torch.hub.load_state_dict_from_url(URL_INCEPTION_V3, progress=False, weights_only=True)

        path = obtain(INCEPTION, self.model_root, self.download, fetch)
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

        extractor = FeatureExtractorInceptionV3(
            "inception-v3-compat", ["2048"], feature_extractor_weights_path=str(path)
        )
        features = []
        for images in (results, truths):
            parts = [np.stack(images[i : i + 32]) for i in range(0, len(images), 32)]
            tensors = (torch.from_numpy(part).permute(0, 3, 1, 2).contiguous() for part in parts)
            features.append(torch.cat([extractor(t)[0] for t in tensors]).double().numpy())
        return FrechetSample(*features)
