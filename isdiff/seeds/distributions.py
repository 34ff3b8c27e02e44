"""Seeds for the hole (paper Sec. III-A and III-B): samples of a distribution of pixels, one draw per hole pixel."""

import warnings
from abc import abstractmethod
from typing import Annotated

import numpy as np
import torch
from torch import Tensor

from isdiff.checks import Positive, Whole, one_of
from isdiff.seeds.base import PerTask, Seed
from isdiff.seeds.mixture import Mixture, fit_mixture
from isdiff.trajectory import Stream, Task


class DistributionSeed(Seed):
    """Independent samples in every cell of a grid ``scale`` pixels wide (1 = every pixel its own, as in the paper)."""

    def __init__(self, scale: Whole = 1) -> None:
        self.scale = scale

    @abstractmethod
    def sample(self, task: Task, count: int, rng: np.random.Generator) -> np.ndarray:
        """``count`` vectors of C channels, float64 of shape (count, C)."""

    def fill(self, task: Task, stream: Stream) -> Tensor:
        channels, height, width = task.image.shape
        rows, columns = -(-height // self.scale), -(-width // self.scale)
        values = self.sample(task, rows * columns, stream.numpy())
        cells = torch.from_numpy(values.T.reshape(channels, rows, columns)).to(task.image)
        pixels = cells.repeat_interleave(self.scale, 1).repeat_interleave(self.scale, 2)
        return pixels[:, :height, :width]


def known_pixels(task: Task) -> Tensor:
    """(H, W) bool: those that seeds are fitted to."""
    return (~task.hole if task.sure is None else task.sure)[0]


def known_vectors(task: Task) -> np.ndarray:
    """The known pixels, each a vector of C channels: float64 of shape (N, C)."""
    known = task.image[:, known_pixels(task)].T.double().cpu().numpy()
    if not len(known):
        raise ValueError(f"image {task.id} has no known pixel to fit a seed to: its mask covers everything")
    return known


class MixtureSeed(DistributionSeed):
    """Gaussian mixture fitted to the known pixels by expectation maximisation (Eqs. 4-5).

    Args:
        components: K, lowered to the number of distinct known colours where there are fewer; 1 gives one Gaussian.
        max_pixels: fit to so many known pixels, drawn evenly; all of them if there are fewer.
        fit: ``em``: :func:`fit_mixture`; ``sklearn``: scikit-learn's, to compare with.
    """

    def __init__(
        self, components: Whole = 5, scale: Whole = 1, max_pixels: Whole = 4096,
        fit: Annotated[str, one_of("em", "sklearn")] = "em",
    ) -> None:  # fmt: skip
        super().__init__(scale)
        self.components, self.max_pixels, self.enough = components, max_pixels, max(32, 10 * components)
        self.fit = fit_with_sklearn if fit == "sklearn" else fit_mixture
        self.fits: PerTask[Mixture] = PerTask()  # a function of the image, for all its attempts

    def sample(self, task: Task, count: int, rng: np.random.Generator) -> np.ndarray:
        if task not in self.fits:
            known = thinned(known_vectors(task), self.max_pixels)
            self.fits[task] = self.fit(known, distinct(known, self.components))
        return self.fits[task].draw(count, rng)


def thinned(vectors: np.ndarray, most: int) -> np.ndarray:
    return vectors[:: -(-len(vectors) // most)]


def distinct(vectors: np.ndarray, enough: int) -> int:
    """How many different vectors there are, at most ``enough``.

    Float noise makes no new one, or flat regions would ask for more components than they have.
    """
    left, found = vectors.round(3), 0
    while len(left) and found < enough:
        left = left[(left != left[0]).any(1)]
        found += 1
    return found


def fit_with_sklearn(known: np.ndarray, components: int) -> Mixture:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture
    from threadpoolctl import threadpool_limits

    known = np.repeat(known, 2, axis=0) if len(known) == 1 else known  # the fit wants two samples
    mixture = GaussianMixture(components, reg_covar=1e-4, max_iter=50, tol=1e-2, random_state=0)
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore", ConvergenceWarning)
        mixture.fit(known)
    return Mixture(mixture.weights_, mixture.means_, mixture.covariances_)


class GaussianSeed(MixtureSeed):
    """One Gaussian fitted to the known pixels."""

    def __init__(self, scale: Whole = 1, max_pixels: Whole = 4096) -> None:
        super().__init__(1, scale, max_pixels)
        self.enough = Seed.enough


class MeanSeed(DistributionSeed):
    """The mean colour of the known pixels everywhere: what a mixture becomes once enough noise is added."""

    def sample(self, task: Task, count: int, rng: np.random.Generator) -> np.ndarray:
        return np.repeat(known_vectors(task).mean(0, keepdims=True), count, axis=0)


class OracleSeed(DistributionSeed):
    """Samples of the hole's true pixels (needs ``task.truth``): the ideal of Fig. 4, not a method."""

    needs_truth = True

    def sample(self, task: Task, count: int, rng: np.random.Generator) -> np.ndarray:
        if task.truth is None:
            raise ValueError("the oracle seed needs the true image, which this run does not have")
        hidden = task.truth[:, task.hole[0]].T.double().cpu().numpy()
        return hidden[rng.integers(len(hidden), size=count)]


class PositionSeed(Seed):
    """Gaussian mixture of rows and colours together, fitted to the known pixels; colours are drawn given the row.

    Above and below all known rows it is the paper's seed (:class:`MixtureSeed`): there the fit would extrapolate.

    Args:
        components: K, lowered to the number of distinct known vectors where there are fewer.
        height: what the rows of the picture are scaled to, colours being in [-1, 1]: how much a row tells.
        max_pixels: fit to so many known pixels, drawn evenly; all of them if there are fewer.
    """

    def __init__(self, components: Whole = 8, height: Positive = 3.0, max_pixels: Whole = 4096) -> None:
        self.plain = MixtureSeed(max_pixels=max_pixels)
        self.components, self.height, self.max_pixels = components, height, max_pixels
        self.enough = max(32, 10 * components)
        self.fits: PerTask[Mixture] = PerTask()

    def fill(self, task: Task, stream: Stream) -> Tensor:
        channels, height, width = task.image.shape
        scale = self.height / max(1, height - 1)
        known, rng = known_pixels(task).nonzero()[:, 0].cpu().numpy(), stream.numpy()
        if task not in self.fits:
            vectors = thinned(np.column_stack([known * scale, known_vectors(task)]), self.max_pixels)
            self.fits[task] = fit_mixture(vectors, distinct(vectors, self.components))
        rows = np.arange(height).repeat(width)
        values = self.fits[task].given_first(np.arange(height) * scale).draw(rows, rng)
        outside = (rows < known.min()) | (rows > known.max())
        if outside.any():
            values[outside] = self.plain.sample(task, int(outside.sum()), rng)
        return torch.from_numpy(values.T.reshape(channels, height, width)).to(task.image)
