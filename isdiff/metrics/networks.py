"""Networks that metrics look at images with, each loaded once, and what they see as features."""

import warnings
from abc import abstractmethod
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, normalize

from isdiff.errors import UserError
from isdiff.io.fingerprint import remembered_sha256
from isdiff.io.hub import model_files
from isdiff.io.models import load_attribute_net
from isdiff.io.weights import Weights
from isdiff.metrics.base import Absent, FeatureExtractor, Features, Unavailable
from isdiff.paths import located, shipped

T = TypeVar("T")
Images = Sequence[np.ndarray]

MANIFEST = "models/manifest.yaml"
DEVICE: ContextVar[str] = ContextVar("device", default="cpu")  # that metrics' networks run on
SIDE = 224  # pixels that networks of ImageNet were trained at


def load_once(load: Callable[..., T], version: str, *given: Hashable) -> T:
    """Return what ``load(*given)`` makes, a network or a tuple that begins with one, once and on ``DEVICE``.

    ``version`` tells one content of files from another.
    """
    return load_on(DEVICE.get(), load, version, *given)


@lru_cache(maxsize=4)
def load_on(device: str, load: Callable[..., T], version: str, *given: Hashable) -> T:
    try:
        made = load(*given)
    except UserError as error:
        raise Unavailable(str(error)) from None
    net: Any = made[0] if isinstance(made, tuple) else made
    net.to(device)
    return made


def load_pretrained(model: str, processor: str, folder: Path) -> tuple[Any, Any]:
    """Load a model and its processor by their classes in ``transformers``; ``Unavailable`` if the folder has none."""
    import transformers

    try:
        net = getattr(transformers, model).from_pretrained(folder, local_files_only=True).eval()
        return net, getattr(transformers, processor).from_pretrained(folder, local_files_only=True)
    except Exception as error:  # damaged files raise many things
        reason = " ".join(str(error).split())[:200]
        raise Unavailable(f"{folder} holds no whole {model} ({reason}); get it again") from None


def pretrained_files(folder: Path, remedy: str = "isdiff weights get {}") -> list[Path]:
    """Find the files of a folder of ``transformers``; ``remedy`` says how to get one that is not here."""
    if not folder.is_dir():
        raise Absent(f"{folder} of a metric is missing: {remedy.format(folder.name)}")
    return list(model_files(folder))


def find_published(name: str, model_root: str) -> Path:
    """Find a network's file that the manifest lists, in ``<model_root>/metrics`` or in torch's hub cache.

    Raises ``Absent`` for another file, too: it might be unpickled, so this comes first.
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


def portions(images: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (images[start : start + size] for start in range(0, len(images), size))


def at_once(image: np.ndarray) -> int:
    """How many images of this size take no more memory than 16 of 224x224."""
    return max(1, min(16, 16 * SIDE**2 // (image.shape[0] * image.shape[1])))


def to_bytes(images: Images) -> Tensor:
    """(B, 3, H, W) uint8 on ``DEVICE``."""
    return torch.from_numpy(np.stack(images)).to(DEVICE.get()).permute(0, 3, 1, 2)


def to_floats(images: Images) -> Tensor:
    """(B, 3, H, W) float32 in [-1, 1], on ``DEVICE``."""
    return to_bytes(images).float() / 127.5 - 1


def whole(parts: Sequence[Tensor]) -> np.ndarray:
    return torch.cat(list(parts)).cpu().numpy()


class NetworkFeatures(FeatureExtractor):
    """Features of images by a network, a portion of them at a time."""

    portion: int | None = 16  # images at a time; None: as many as memory takes

    @abstractmethod
    def look(self, images: Images) -> Tensor:
        """(B, D), the features of one portion."""

    @torch.inference_mode()
    def features(self, images: Images) -> np.ndarray:
        return whole([self.look(part) for part in portions(images, self.portion or at_once(images[0]))])


class MapFeatures(NetworkFeatures):
    """Features by a network whose maps give values too: the form of LPIPS without learned weights."""

    @abstractmethod
    def see(self, images: Images, exactly: bool) -> tuple[Sequence[Tensor], Tensor]:
        """Feature maps (B, C, h, w) of several stages, and features (B, D), ``exactly`` as they are kept."""

    def look(self, images: Images) -> Tensor:
        return self.see(images, exactly=True)[1]

    @torch.inference_mode()
    def extract(self, results: Images, truths: Images, prompts: Sequence[Any] = ()) -> Features:
        parts, size = [], self.portion or at_once(results[0])
        for result, truth in zip(portions(results, size), portions(truths, size), strict=True):
            (a, first), (b, second) = (self.see(images, exactly=False) for images in (result, truth))
            parts.append((map_distance(a, b), first, second))
        values, *features = (whole(column) for column in zip(*parts, strict=True))
        # Features are of 224 pixels at most, which larger images have not been shown at here.
        return Features(values, *features) if min(results[0].shape[:2]) <= SIDE else Features(values)


def map_distance(first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
    """The form of LPIPS without learned weights (Zhang et al. 2018, Eq. 1), (B,).

    The squared distance of feature maps whose channel vectors have unit length, averaged over positions and summed over
    the stages.
    """
    units = ((normalize(x), normalize(y)) for x, y in zip(first, second, strict=True))
    return sum(((x - y).square().sum(1).mean((1, 2)) for x, y in units), start=torch.zeros(()))


@dataclass(frozen=True)
class AttributeFeatures(MapFeatures):
    """The attribute classifier's view of 64x64 drawings: 64-dimensional embeddings, and distances of feature maps."""

    path: Path | None  # the classifier's weights; None where none knows the images

    name = "attributes"
    portion = 64

    @classmethod
    def of(cls, model_root: str, model: str | None) -> "AttributeFeatures":
        return cls(None if model is None else located(Path(model_root) / model / "classifier.safetensors"))

    def weights(self) -> list[Path]:
        if self.path is None:
            raise Unavailable("measures drawn images only")
        if not self.path.exists():
            how = f"python scripts/train.py train={self.path.parent.name}_classifier"
            raise Absent(f"weights {self.path} of a metric are missing: {how}")
        return [self.path]

    def see(self, images: Images, exactly: bool) -> tuple[Sequence[Tensor], Tensor]:
        version = self.version
        if images[0].shape[:2] != (64, 64):
            raise Unavailable("measures 64x64 drawings only")
        return load_once(load_attribute_net, version, *self.weights()).features(to_floats(images))


@dataclass(frozen=True)
class Embeddings(NetworkFeatures):
    """Embeddings of CLIP or DINOv2 by ``transformers``, after the model's own resizing."""

    folder: Path  # of the model
    model: str  # its class in ``transformers``

    @property
    def name(self) -> str:  # type: ignore[override]
        return self.folder.name

    def weights(self) -> list[Path]:
        return pretrained_files(self.folder)

    def look(self, images: Images) -> Tensor:
        model, processor = load_once(load_pretrained, self.version, self.model, "AutoImageProcessor", self.folder)
        seen = model(**processor(images=images, return_tensors="pt").to(DEVICE.get()))
        return (seen.image_embeds if "image_embeds" in seen else seen.pooler_output).float()


@dataclass(frozen=True)
class AlexNetFeatures(NetworkFeatures):
    """AlexNet's last convolutional features (9216), of images at 224 pixels, as torchvision publishes the network."""

    model_root: str

    name = "alexnet"

    def weights(self) -> list[Path]:
        return [find_published("alexnet", self.model_root)]

    def look(self, images: Images) -> Tensor:
        net = load_once(alexnet, self.version, *self.weights())
        numbers = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
        mean, spread = (torch.tensor(v, device=DEVICE.get()).view(3, 1, 1) for v in numbers)
        x = interpolate(to_floats(images), size=(SIDE, SIDE), mode="bicubic", antialias=True).clamp(-1, 1)
        return net.avgpool(net.features(((x + 1) / 2 - mean) / spread)).flatten(1)


def alexnet(path: Path) -> Any:
    """Build torchvision's network with the published weights."""
    from torchvision import models

    net = models.alexnet()
    net.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return net.eval()


@dataclass(frozen=True)
class InceptionFeatures(NetworkFeatures):
    """torch-fidelity's Inception features (2048, 8-bit input)."""

    model_root: str

    name = "inception"
    portion = 32

    def weights(self) -> list[Path]:
        return [find_published("inception", self.model_root)]

    def look(self, images: Images) -> Tensor:
        return load_once(inception, self.version, *self.weights())(to_bytes(images).contiguous())[0]


def inception(path: Path) -> nn.Module:
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    return FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], feature_extractor_weights_path=str(path))


@dataclass(frozen=True)
class InceptionPatches(InceptionFeatures):
    """Inception features of an image's squares, (N, squares, 2048)."""

    side: int = 256

    @property
    def name(self) -> str:  # type: ignore[override]
        return f"inception_{self.side}"

    def features(self, images: Images) -> np.ndarray:
        return np.stack([super(InceptionPatches, self).features(cut_squares(image, self.side)) for image in images])


def cut_squares(image: np.ndarray, side: int) -> list[np.ndarray]:
    """Squares on an even grid over an image (H, W, 3), row by row; raises ``Unavailable`` where it is no larger."""
    if min(image.shape[:2]) <= side:
        raise Unavailable(f"its squares have {side} pixels, the images {image.shape[1]}x{image.shape[0]}")
    tops, lefts = (np.linspace(0, n - side, -(-n // side)).round().astype(int) for n in image.shape[:2])
    return [image[top : top + side, left : left + side] for top in tops for left in lefts]


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
