"""Dynamic selective refinement (paper Sec. III-C): judge an attempt at a checkpoint, keep it or try a stronger seed."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from torch import Tensor

from isdiff.checks import BadValue, Number, Share, Whole, one_of
from isdiff.component import Component
from isdiff.diffusion.grid import Grid
from isdiff.errors import UserError
from isdiff.trajectory import Task


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


@dataclass(eq=False)
class CrossEntropy(Criterion):
    """DCE (paper Sec. III-C, Eq. 6): cross-entropy in nats between histograms of the hole and of the known region.

    The mean over the histograms of each channel's intensity and, with weight ``texture``, of one of texture: the
    square root of the luminance gradient's magnitude, inside each region only. ``hole`` is ``-sum P_hole log Q_known``:
    content that the known region never shows costs; ``known`` exchanges the two.
    """

    bins: Whole = 16  # of each histogram
    smoothing: Number = 1e-3  # added to every bin of the reference, as a share of its pixels, so that DCE stays finite
    texture: Number = 1.0  # weight of the texture histogram against one channel's; 0 leaves it out
    direction: Annotated[str, one_of("hole", "known")] = "hole"

    def __post_init__(self) -> None:
        if self.smoothing == 0:
            raise BadValue("smoothing is 0; it must be above 0, or DCE can be infinite")

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


@dataclass(eq=False)
class Refinement(Component):
    """Judges attempts at a checkpoint and says which one is kept.

    Args:
        criterion: what is measured; DCE in the paper.
        attempts: N, the number of attempts before the best one is taken.
        tau: an attempt of which the criterion says at most this passes.
        checkpoint: the step at which attempts are judged, as a fraction of the process.
        margin: a retry is kept only where the criterion falls by at least this share of the first attempt's value;
            otherwise the first attempt is. 0: as in the paper, however little it falls.
    """

    labels = ("enabled",)

    criterion: Criterion
    attempts: Whole = 3
    tau: Number = 2.5
    checkpoint: Share = 0.65
    margin: Share = 0.0

    def fingerprint(self) -> dict[str, Any]:
        found = super().fingerprint()
        return found if self.margin else {key: value for key, value in found.items() if key != "margin"}

    def due(self, index: int, grid: Grid) -> bool:
        """Whether the prediction made at ``index`` may be judged: the first at or below the checkpoint is."""
        return index <= grid.index_at(self.checkpoint)

    def judge(self, task: Task, picture: Tensor) -> float:
        """What the criterion says of an attempt whose prediction looks like ``picture`` (C, H, W)."""
        value = self.criterion(picture, task.reference(picture), task.pixel_hole)
        if not math.isfinite(value):
            name = type(self.criterion).__name__
            raise UserError(f"{name} says {value} of an attempt at {task.id}; a criterion must give finite numbers")
        return value

    def passes(self, value: float) -> bool:
        """Whether an attempt with this value is kept at once."""
        return value <= self.tau

    def decide(self, values: Sequence[float]) -> int | None:
        """Which of the attempts with these values is kept; None where another one is to be made.

        It is the one that passes, else the best (of equals the first), and the first where no other is better by the
        margin.
        """
        passed = self.passes(values[-1])
        if not passed and len(values) < self.attempts:
            return None
        best = len(values) - 1 if passed else min(range(len(values)), key=values.__getitem__)
        return best if values[best] <= values[0] * (1 - self.margin) else 0
