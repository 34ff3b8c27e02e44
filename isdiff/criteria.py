"""Criteria that attempts are judged by at the checkpoint."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from torch import Tensor

from isdiff.checks import BadValue, check_choice, check_number, check_whole
from isdiff.component import Component


class Criterion(Component, ABC):
    """Says how badly the content of a hole goes with its surroundings."""

    @abstractmethod
    def __call__(self, prediction: Tensor, image: Tensor, hole: Tensor) -> float:
        """Say how badly the picture inside the hole fits; lower is better.

        Args:
            prediction: (3, H, W), about [-1, 1]; what it shows inside the hole is judged.
            image: (3, H, W), of which only the known pixels may be used.
            hole: (1, H, W), bool.
        """


class CrossEntropy(Criterion):
    """DCE (paper Sec. III-C, Eq. 6): cross-entropy in nats between histograms of the hole and of the known region.

    The mean over the histograms of each channel's intensity and, with weight ``texture``, of one of texture: the
    square root of the luminance gradient's magnitude, inside each region only.

    Args:
        bins: of each histogram.
        smoothing: pseudo-count added to every bin of the reference histogram, as a share of its pixels, so that DCE
            stays finite.
        texture: weight of the texture histogram against one channel's; 0 leaves it out.
        direction: ``hole`` is ``-sum P_hole log Q_known`` (content that the known region never shows costs);
            ``known`` exchanges the two.
    """

    def __init__(self, bins: int = 16, smoothing: float = 1e-3, texture: float = 1.0, direction: str = "hole") -> None:
        check_whole("bins", bins)
        check_number("smoothing", smoothing)
        if smoothing == 0:
            raise BadValue("smoothing is 0; it must be above 0, or DCE can be infinite")
        check_number("texture", texture)
        check_choice("direction", direction, ("hole", "known"))
        self.bins, self.smoothing, self.texture, self.direction = bins, smoothing, texture, direction

    def __call__(self, prediction: Tensor, image: Tensor, hole: Tensor) -> float:
        inside = hole[0].cpu().numpy()
        if inside.all() or not inside.any():
            return 0.0
        guess = (prediction.double().cpu().numpy().clip(-1, 1) + 1) / 2
        truth = (image.double().cpu().numpy() + 1) / 2
        terms = [self.term(g[inside], t[~inside]) for g, t in zip(guess, truth, strict=True)]
        weights = [1.0] * len(terms)
        gradients = gradient(guess, inside), gradient(truth, ~inside)
        if self.texture and all(len(g) for g in gradients):
            terms.append(self.term(*gradients))
            weights.append(self.texture)
        return float(np.average(terms, weights=weights))

    def term(self, hole: np.ndarray, known: np.ndarray) -> float:
        p, q = (np.histogram(v, self.bins, (0, 1))[0] / v.size for v in (hole, known))
        if self.direction == "known":
            p, q = q, p
        q = (q + self.smoothing) / (1 + self.bins * self.smoothing)
        return float(-(p * np.log(q)).sum())


def gradient(image: np.ndarray, region: np.ndarray) -> np.ndarray:
    """Root of the gradient magnitude of an image in [0, 1], where a pixel and both its neighbours lie in ``region``."""
    luma = np.tensordot([0.299, 0.587, 0.114], image, 1) if len(image) == 3 else image.mean(0)
    dx, dy = luma[:-1, 1:] - luma[:-1, :-1], luma[1:, :-1] - luma[:-1, :-1]
    whole = region[:-1, :-1] & region[:-1, 1:] & region[1:, :-1]
    return np.sqrt(np.hypot(dx, dy)[whole]).clip(0, 1)
