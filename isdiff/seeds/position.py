"""A seed that knows at which height colours are: the sky above, the grass below."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from isdiff.checks import check_number, check_whole
from isdiff.seeds.base import PerTask, Seed
from isdiff.seeds.distributions import MixtureSeed, distinct, known_rows, known_vectors
from isdiff.seeds.mixture import Mixture, fit_mixture
from isdiff.trajectory import Stream, Task


@dataclass(frozen=True)
class Fit:
    """A mixture of (row, colour), and the first and last row at which something is known."""

    mixture: Mixture
    first: int
    last: int


class PositionSeed(Seed):
    """Gaussian mixture of rows and colours together, fitted to the known pixels; colours are drawn given the row.

    Above and below all known rows it is the paper's seed (:class:`MixtureSeed`): there the fit would extrapolate.

    Args:
        components: K, lowered to the number of distinct known vectors where there are fewer.
        height: what the rows of the picture are scaled to, colours being in [-1, 1]: how much a row tells.
        max_pixels: fit to so many known pixels, drawn evenly; all of them if there are fewer.
    """

    def __init__(self, components: int = 8, height: float = 3.0, max_pixels: int = 4096) -> None:
        check_whole("components", components)
        check_number("height", height, low=1e-3)
        self.plain = MixtureSeed(max_pixels=max_pixels)
        self.components, self.height, self.max_pixels = components, height, max_pixels
        self.enough = max(32, 10 * components)
        self.fits: PerTask[Fit] = PerTask()  # one for all attempts

    def scaled(self, rows: np.ndarray, count: int) -> np.ndarray:
        """Rows of a picture that has ``count`` of them, from 0 to ``height``."""
        return rows * (self.height / max(1, count - 1))

    def fit(self, task: Task) -> Fit:
        """A function of the image, while draws follow the image's stream."""
        rows, colours = known_rows(task), known_vectors(task)
        vectors = np.column_stack([self.scaled(rows, task.image.shape[1]), colours])
        vectors = vectors[:: -(-len(vectors) // self.max_pixels)]
        return Fit(fit_mixture(vectors, distinct(vectors, self.components)), int(rows.min()), int(rows.max()))

    def fill(self, task: Task, stream: Stream) -> Tensor:
        if task not in self.fits:
            self.fits[task] = self.fit(task)
        fit, rng = self.fits[task], stream.numpy()
        channels, height, width = task.image.shape
        rows = np.arange(height).repeat(width)
        values = fit.mixture.given_first(self.scaled(np.arange(height), height)).draw(rows, rng)
        outside = (rows < fit.first) | (rows > fit.last)
        if outside.any():
            values[outside] = self.plain.sample(task, int(outside.sum()), rng)
        return torch.from_numpy(values.T.reshape(channels, height, width)).to(task.image)
