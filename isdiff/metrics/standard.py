"""The usual metrics, by the packages that others use: LPIPS, FID and its kin with their published networks, and SSIM.

``isdiff weights get alexnet`` and ``isdiff weights get inception`` fetch the networks.
"""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import nn

from isdiff.checks import BadValue, check_whole
from isdiff.io.fingerprint import remembered_sha256
from isdiff.io.weights import Weights
from isdiff.metrics.attributes import at_once, batches
from isdiff.metrics.base import (
    DEVICE,
    Absent,
    FeatureExtractor,
    FrechetMetric,
    PairMetric,
    SetMetric,
    Unavailable,
    load_once,
)
from isdiff.metrics.samples import MeanStatistic
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


LPIPS_NETS = {"alex": ("alexnet", "AlexNet"), "vgg": ("vgg16", "VGG16"), "squeeze": ("squeezenet", "SqueezeNet")}


def lpips_net(path: Path, linear: Path) -> nn.Module:
    """Build the ``lpips`` package's network around published weights; ``linear`` is its file of fitted layers."""
    import lpips

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = lpips.LPIPS(net=linear.stem, pnet_rand=True, verbose=False).eval().requires_grad_(False)
    state = torch.load(path, map_location="cpu", weights_only=True)
    for part in net.net.children():
        for index, layer in part.named_children():
            head = f"features.{index}."
            layer.load_state_dict({key.removeprefix(head): state[key] for key in state if key.startswith(head)})
    return net


class LPIPS(PairMetric):
    """Learned perceptual image patch similarity (Zhang et al. 2018) by the ``lpips`` package.

    Args:
        net: ``alex``, ``vgg`` or ``squeeze``; values of different networks cannot be compared.
    """

    def __init__(self, model_root: str, net: str = "alex") -> None:
        if net not in LPIPS_NETS:
            raise BadValue(f"net is {net!r}; it must be one of {', '.join(LPIPS_NETS)}")
        self.model_root, self.net = model_root, net
        self.name = "lpips" if net == "alex" else f"lpips_{net}"
        self.title = f"LPIPS ({LPIPS_NETS[net][1]})"

    def weights(self) -> list[Path]:
        """The network's convolutions, and the layers that LPIPS was fitted with, which come with its package."""
        published = find_published(LPIPS_NETS[self.net][0], self.model_root)
        return [published, in_package("lpips", "weights", "v0.1", f"{self.net}.pth")]

    @torch.inference_mode()
    def values(self, results: list[np.ndarray], truths: list[np.ndarray], prompts: Sequence[str] = ()) -> np.ndarray:
        net, size = load_once(lpips_net, self.version, *self.weights()), at_once(results[0])
        pairs = zip(batches(results, size), batches(truths, size), strict=True)
        return torch.cat([net(a, b).flatten() for a, b in pairs]).cpu().numpy()


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
        tensors = (torch.from_numpy(part).to(DEVICE.get()).permute(0, 3, 1, 2).contiguous() for part in parts)
        return torch.cat([net(t)[0] for t in tensors]).cpu().numpy()


class FID(FrechetMetric):
    """Frechet inception distance (Heusel et al. 2017) in torch-fidelity's features."""

    name, title = "fid", "FID"

    def __init__(self, model_root: str) -> None:
        self.model_root = model_root

    @property
    def extractor(self) -> FeatureExtractor:
        return InceptionFeatures(self.model_root)


class PatchFID(FID):
    """FID of squares cut from the images, which shows texture that a picture reduced to 299 pixels hides.

    Squares of ``side`` pixels lie on an even grid that covers the image, overlapping where they do not fit.

    Args:
        side: of a square, in pixels; images must be larger.
    """

    name, title = "patch_fid", "patch FID"

    def __init__(self, model_root: str, side: int = 256) -> None:
        super().__init__(model_root)
        check_whole("side", side)
        self.side = side

    @property
    def extractor(self) -> FeatureExtractor:
        return InceptionPatches(self.model_root, self.side)


@dataclass(frozen=True)
class InceptionPatches(InceptionFeatures):
    """Inception features of an image's squares, (N, squares, 2048)."""

    side: int = 256

    @property
    def name(self) -> str:  # type: ignore[override]
        return f"inception_{self.side}"

    def features(self, images: list[np.ndarray]) -> np.ndarray:
        return np.stack([super(InceptionPatches, self).features(cut_squares(image, self.side)) for image in images])


def cut_squares(image: np.ndarray, side: int) -> list[np.ndarray]:
    """Squares on an even grid over an image (H, W, 3), row by row; raises ``Unavailable`` where it is no larger."""
    if min(image.shape[:2]) <= side:
        raise Unavailable(f"its squares have {side} pixels, the images {image.shape[1]}x{image.shape[0]}")
    tops, lefts = (np.linspace(0, n - side, -(-n // side)).round().astype(int) for n in image.shape[:2])
    return [image[top : top + side, left : left + side] for top in tops for left in lefts]


class DiscriminativeScore(SetMetric):
    """How well a linear classifier tells results from truths, by Inception features (CoModGAN, Zhao et al. 2021), in %.

    It needs far more images than features (2,048): of fewer, a classifier tells any two sets apart. Intervals take
    the classifier as given.
    """

    higher_is_better = True

    def __init__(self, model_root: str) -> None:
        self.model_root = model_root

    @property
    def extractor(self) -> FeatureExtractor:
        return InceptionFeatures(self.model_root)

    def between(self, results: np.ndarray, truths: np.ndarray) -> MeanStatistic:
        from sklearn.svm import LinearSVC

        labels = np.repeat([1, 0], [len(truths), len(results)])
        machine = LinearSVC(dual=False).fit(np.concatenate([truths, results]), labels)
        scores = self.scores(*(machine.decision_function(features) for features in (results, truths)))
        return MeanStatistic(100 * scores, (0.0, 100.0))

    @abstractmethod
    def scores(self, results: np.ndarray, truths: np.ndarray) -> np.ndarray:
        """(N,) in [0, 1] from the classifier's decisions on each result and its truth; above 0 it says truth."""


class PIDS(DiscriminativeScore):
    """Results that the classifier takes for more real than their own truth, in %."""

    name, title = "p_ids", "P-IDS %"

    def scores(self, results: np.ndarray, truths: np.ndarray) -> np.ndarray:
        return (results > truths).astype(np.float64)


class UIDS(DiscriminativeScore):
    """Images that the classifier gets wrong, in %; 50 where it cannot tell."""

    name, title = "u_ids", "U-IDS %"

    def scores(self, results: np.ndarray, truths: np.ndarray) -> np.ndarray:
        return ((results > 0).astype(np.float64) + (truths <= 0)) / 2


class SSIM(PairMetric):
    """Structural similarity (Wang et al. 2004) by ``torchmetrics``: Gaussian window of 11 pixels, mean of channels."""

    name, title, higher_is_better, limits = "ssim", "SSIM", True, (-1.0, 1.0)

    @torch.inference_mode()
    def values(self, results: list[np.ndarray], truths: list[np.ndarray], prompts: Sequence[str] = ()) -> np.ndarray:
        from torchmetrics.functional.image import structural_similarity_index_measure as ssim

        size = at_once(results[0])
        pairs = zip(batches(results, size), batches(truths, size), strict=True)
        found = [torch.as_tensor(ssim(a, b, reduction="none", data_range=(-1.0, 1.0))) for a, b in pairs]
        return torch.cat([v.reshape(-1) for v in found]).cpu().numpy()
