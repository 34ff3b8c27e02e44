"""Distances between the sets of results and of truths, and between two runs of the same images."""

from abc import abstractmethod

import numpy as np

from isdiff.checks import check_whole
from isdiff.metrics.base import Features, Metric, SetMetric, Unavailable
from isdiff.metrics.lite0 import Lite0Features
from isdiff.metrics.networks import AlexNetFeatures, AttributeFeatures, Embeddings, InceptionFeatures, InceptionPatches
from isdiff.metrics.samples import FrechetStatistic, KernelStatistic, MeanStatistic, Statistic, gaussian_kernel
from isdiff.paths import located


class FrechetMetric(SetMetric):
    """The Frechet distance of the extractor's features (Heusel et al. 2017)."""

    def between(self, results: np.ndarray, truths: np.ndarray) -> Statistic:
        return FrechetStatistic(results, truths)


class Frechet(FrechetMetric):
    """Frechet distance between the embeddings of results and truths by the classifier of the shipped ``model``."""

    name, title = "frechet", "Fréchet distance"

    def __init__(self, model_root: str, model: str | None) -> None:
        self.extractor = AttributeFeatures.of(model_root, model)


class Lite0Frechet(FrechetMetric):
    """Frechet distance of Lite0's pooled features. Biased upwards in small sets."""

    name, title = "lite0_frechet", "Lite0 Fréchet"
    extractor = Lite0Features()


class Lite0KID(SetMetric):
    """Kernel distance of Lite0's pooled features (Binkowski et al. 2018, on this network), times 1000.

    It is unbiased: a result with its own truth is left out.
    """

    name, title = "lite0_kid", "Lite0 KID x1000"
    extractor = Lite0Features()

    @property
    def version(self) -> str:
        return f"2 {super().version}"

    def between(self, results: np.ndarray, truths: np.ndarray) -> Statistic:
        return KernelStatistic(results, truths, scale=1000.0)


class FID(FrechetMetric):
    """Frechet inception distance (Heusel et al. 2017) in torch-fidelity's features."""

    name, title = "fid", "FID"

    def __init__(self, model_root: str) -> None:
        self.extractor = InceptionFeatures(model_root)


class PatchFID(FrechetMetric):
    """FID of squares cut from the images, which shows texture that a picture reduced to 299 pixels hides.

    Squares of ``side`` pixels lie on an even grid that covers the larger image, overlapping where they do not fit.
    """

    name, title = "patch_fid", "patch FID"

    def __init__(self, model_root: str, side: int = 256) -> None:
        check_whole("side", side)
        self.extractor = InceptionPatches(model_root, side)


class FDDINOv2(FrechetMetric):
    """Frechet distance of embeddings by DINOv2 ViT-L/14 (Stein et al. 2023), in the folder ``model``."""

    name, title = "fd_dinov2", "FD (DINOv2 ViT-L/14)"

    def __init__(self, model: str) -> None:
        self.extractor = Embeddings(located(model), "Dinov2Model")


class CMMD(SetMetric):
    """CLIP maximum mean discrepancy (Jayasumana et al. 2024), unbiased, x1000, on OpenAI's ViT-L/14 at 224 pixels.

    Their code uses ViT-L/14 at 336 pixels: values of the two cannot be compared. CLIP is in the folder ``model``.
    """

    name, title = "cmmd", "CMMD x1000 (ViT-L/14, 224 pixels)"

    def __init__(self, model: str) -> None:
        self.extractor = Embeddings(located(model), "CLIPVisionModelWithProjection")

    def between(self, results: np.ndarray, truths: np.ndarray) -> KernelStatistic:
        results, truths = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (results, truths))
        return KernelStatistic(results, truths, 1000.0, kernel=gaussian_kernel)


class DiscriminativeScore(SetMetric):
    """How well a linear classifier tells results from truths, by Inception features (CoModGAN, Zhao et al. 2021), in %.

    It needs far more images than features (2,048): of fewer, a classifier tells any two sets apart. Intervals take
    the classifier as given.
    """

    higher_is_better = True

    def __init__(self, model_root: str) -> None:
        self.extractor = InceptionFeatures(model_root)

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


class Diversity(Metric):
    """The mean L2 distance between the features of two runs' results for the same image (paper Table VII).

    A single run has none: summaries of runs say so, tables of several seeds ask ``between_runs``.
    """

    of_sets = True
    higher_is_better = True

    def sample(self, seen: Features) -> Statistic:
        raise Unavailable("compares two runs with different seeds; see isdiff table table7")

    @abstractmethod
    def scale(self, features: np.ndarray) -> np.ndarray:
        """(N, D) as they are compared."""

    def between_runs(self, first: np.ndarray, second: np.ndarray) -> MeanStatistic:
        """From two (N, D) of the same images in the same order."""
        a, b = (self.scale(features.astype(np.float64)) for features in (first, second))
        return MeanStatistic(np.linalg.norm(a - b, axis=1))


class Lite0Diversity(Diversity):
    """In the pooled features of EfficientNet-Lite0, divided by the root of their number."""

    name, title = "lite0_diversity", "Lite0 feature distance of two runs"
    extractor = Lite0Features()

    def scale(self, features: np.ndarray) -> np.ndarray:
        return features / np.sqrt(features.shape[1])


class AlexNetDiversity(Diversity):
    """[R] The paper names AlexNet but neither layer nor scale; here its last convolutional features, of unit length."""

    name, title = "alexnet_diversity", "AlexNet feature distance of two runs"

    def __init__(self, model_root: str) -> None:
        self.extractor = AlexNetFeatures(model_root)

    def scale(self, features: np.ndarray) -> np.ndarray:
        return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
