"""Metrics of single images: distances of a result from its truth, seams, and how well it shows what its prompt asks."""

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from isdiff.checks import check_choice, check_whole
from isdiff.io.hub import model_files
from isdiff.io.models import load_caption_net
from isdiff.metrics.base import Absent, Features, MeanMetric, PairMetric, Unavailable
from isdiff.metrics.lite0 import Lite0Features
from isdiff.metrics.networks import (
    DEVICE,
    AttributeFeatures,
    Images,
    at_once,
    find_published,
    in_package,
    load_once,
    load_pretrained,
    lpips_net,
    portions,
    pretrained_files,
    to_floats,
    whole,
)  # fmt: skip
from isdiff.metrics.samples import MeanStatistic, Statistic
from isdiff.paths import located


class Perceptual(MeanMetric):
    """LPIPS's form (Zhang et al. 2018, Eq. 1) without learned weights, in a shipped model's classifier."""

    name, title = "perceptual", "perceptual distance"

    def __init__(self, model_root: str, model: str | None) -> None:
        self.extractor = AttributeFeatures.of(model_root, model)


class Lite0Perceptual(MeanMetric):
    """LPIPS's form without learned weights (Zhang et al. 2018, Eq. 1), in Lite0's feature maps."""

    name, title = "lite0_perceptual", "Lite0 perceptual"
    extractor = Lite0Features()


class NetworkMetric(PairMetric):
    """A value of each image by a network, a portion of images at a time."""

    portion: int | None = None  # None: as many as memory takes

    @abstractmethod
    def look(self, results: Images, truths: Images, prompts: Sequence[str]) -> Tensor:
        """(B,), the values of one portion."""

    @torch.inference_mode()
    def values(self, results: list[np.ndarray], truths: list[np.ndarray], prompts: Sequence[str] = ()) -> np.ndarray:
        size, prompts = self.portion or at_once(results[0]), prompts or [""] * len(results)
        parts = zip(*(portions(column, size) for column in (results, truths, prompts)), strict=True)
        return whole([self.look(*part) for part in parts])


LPIPS_NETS = {"alex": ("alexnet", "AlexNet"), "vgg": ("vgg16", "VGG16"), "squeeze": ("squeezenet", "SqueezeNet")}


class LPIPS(NetworkMetric):
    """Learned perceptual image patch similarity (Zhang et al. 2018) by the ``lpips`` package.

    Values of different networks cannot be compared.
    """

    def __init__(self, model_root: str, net: str = "alex") -> None:
        check_choice("net", net, list(LPIPS_NETS))
        self.model_root, self.net = model_root, net
        self.name = "lpips" if net == "alex" else f"lpips_{net}"
        self.title = f"LPIPS ({LPIPS_NETS[net][1]})"

    def weights(self) -> list[Path]:
        """The network's convolutions, and the layers that LPIPS was fitted with, which come with its package."""
        published = find_published(LPIPS_NETS[self.net][0], self.model_root)
        return [published, in_package("lpips", "weights", "v0.1", f"{self.net}.pth")]

    def look(self, results: Images, truths: Images, prompts: Sequence[str]) -> Tensor:
        net = load_once(lpips_net, self.version, *self.weights())
        return net(to_floats(results), to_floats(truths)).flatten()


class SSIM(NetworkMetric):
    """Structural similarity (Wang et al. 2004) by ``torchmetrics``: Gaussian window of 11 pixels, mean of channels."""

    name, title, higher_is_better, limits = "ssim", "SSIM", True, (-1.0, 1.0)

    def look(self, results: Images, truths: Images, prompts: Sequence[str]) -> Tensor:
        from torchmetrics.functional.image import structural_similarity_index_measure as ssim

        found = ssim(to_floats(results), to_floats(truths), reduction="none", data_range=(-1.0, 1.0))
        return torch.as_tensor(found).reshape(-1)


class EdgeGradientError(PairMetric):
    """Gradient error at the hole's edge, times 100: a seam or a smear there makes it large.

    The length of the difference between the gradients of result and truth (forward differences of values in [0, 1]),
    mean over channels and over pixels at most ``width`` from the edge. From 0, the best, to 283; 0 without an edge.
    """

    name, title = "edge_error", "edge gradient error x100"
    masked = True

    def __init__(self, width: int = 2) -> None:
        check_whole("width", width)
        self.width = width
        self.revision = f"1-{width}"

    def values(self, results: list[np.ndarray], truths: list[np.ndarray], prompts: Sequence[Any] = ()) -> np.ndarray:
        rows = zip(results, truths, prompts, strict=True)
        return np.array([self.error(result, truth, hole) for result, truth, hole in rows])

    def error(self, result: np.ndarray, truth: np.ndarray, hole: np.ndarray) -> float:
        """Of one result, (H, W, 3) uint8, with its hole (H, W) bool."""
        cells, kernel = hole.astype(np.uint8), np.ones((2 * self.width + 1,) * 2, np.uint8)
        band = cv2.dilate(cells, kernel) > cv2.erode(cells, kernel)
        apart = (result.astype(np.float64) - truth) / 255  # gradients are linear
        down, across = np.diff(apart, axis=0, append=apart[-1:]), np.diff(apart, axis=1, append=apart[:, -1:])
        return float(100 * np.hypot(down, across)[band].mean()) if band.any() else 0.0


class TextMetric(NetworkMetric):
    """Cosines of images and prompts in the space of a model of both, not below 0, times 100 (Hessel et al. 2021)."""

    prompted = True
    higher_is_better = True

    def __init__(self, model: str) -> None:
        self.folder = located(model)

    def sample(self, seen: Features) -> Statistic:
        assert seen.values is not None
        return MeanStatistic(100 * seen.values.astype(np.float64), (0.0, 100.0))

    @abstractmethod
    def embed(self, images: Images, prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """(B, D) of images and of prompts."""

    def look(self, results: Images, truths: Images, prompts: Sequence[str]) -> Tensor:
        pictures, texts = self.embed(results, prompts)
        return torch.cosine_similarity(pictures.float(), texts.float()).clamp(min=0)


class CaptionScore(TextMetric):
    """CLIP score in the encoders of the small latent model of drawn faces (``captions.safetensors``); 64x64."""

    name, title = "caption_score", "caption score"
    portion = 64

    def weights(self) -> list[Path]:
        path = self.folder / "captions.safetensors"
        if not path.exists():
            raise Absent(f"{path} of a metric is missing: python scripts/train.py train=avatars64_captions")
        return [path, *(file for part in ("text_encoder", "tokenizer") for file in model_files(self.folder / part))]

    def embed(self, images: Images, prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
        if images[0].shape[:2] != (64, 64):
            raise Unavailable("measures 64x64 drawings only")
        net, tokenizer = load_once(load_caption_net, self.version, self.folder)
        tokens = tokenizer(list(prompts), padding="max_length", truncation=True, return_tensors="pt")
        return net.images(to_floats(images)), net.captions(tokens.input_ids.to(DEVICE.get()))


class CLIPScore(TextMetric):
    """CLIP score with OpenAI's ViT-L/14 (``isdiff weights get clip_vit_l14``); prompts are cut after 77 tokens.

    The title names the revision of ``models/manifest.yaml``: scores of two models are not to be compared.
    """

    name, title = "clip_score", "CLIP score (ViT-L/14, revision 32bd6428)"
    portion = 16
    remedy = "isdiff weights get {}"  # what brings the folder

    def weights(self) -> list[Path]:
        return pretrained_files(self.folder, self.remedy)

    def embed(self, images: Images, prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
        model, processor = load_once(load_pretrained, self.version, "CLIPModel", "CLIPProcessor", self.folder)
        inputs = processor(text=list(prompts), images=images, padding=True, truncation=True, return_tensors="pt")
        seen = model(**inputs.to(DEVICE.get()))
        return seen.image_embeds, seen.text_embeds


class HPSv2(CLIPScore):
    """Human Preference Score v2 (Wu et al. 2023): the same score in a CLIP ViT-H/14 tuned to what people prefer.

    The folder decides whether it is v2 or v2.1, and reports should say which.
    """

    name, title = "hpsv2", "HPSv2"
    remedy = "put HPSv2 or HPSv2.1 there, in the layout of transformers' CLIPModel with its processor"
