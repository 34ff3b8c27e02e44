"""A Gaussian mixture by expectation maximisation (Dempster, Laird & Rubin 1977), one image at a time.

Both steps are products with the same features of a vector, its entries and their products, which do not change while
the mixture does. They are summed by ``einsum`` and not by BLAS, whose last bits depend on the number of threads.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np

SHOWN_TO_KMEANS, KMEANS_STEPS = 512, 10
FLOOR = 1e-4  # added to the covariances' diagonals
ITERATIONS, TOLERANCE = 50, 1e-2  # it ends once the mean log-likelihood grows by less


@dataclass(frozen=True)
class Mixture:
    """K Gaussians: ``weights`` (K,) that sum to 1, ``means`` (K, C), ``covariances`` (K, C, C)."""

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray

    def draw(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """``count`` samples, (count, C)."""
        which = rng.choice(len(self.weights), count, p=self.weights / self.weights.sum())
        normal = rng.standard_normal((count, self.means.shape[1]))
        return self.means[which] + np.einsum("nij,nj->ni", np.linalg.cholesky(self.covariances)[which], normal)

    def given_first(self, values: np.ndarray) -> "Conditional":
        """What is known of vectors whose first entries are ``values`` (N,)."""
        variances, towards = self.covariances[:, 0, 0], self.covariances[:, 1:, 0]
        away = values[:, None] - self.means[:, 0]
        terms = np.log(self.weights) - 0.5 * (np.log(variances) + away**2 / variances)
        shares = np.exp(terms - terms.max(1, keepdims=True))
        slopes = towards / variances[:, None]
        return Conditional(
            shares / shares.sum(1, keepdims=True),
            self.means[:, 1:] + away[..., None] * slopes,
            self.covariances[:, 1:, 1:] - slopes[:, :, None] * towards[:, None, :],
        )

    def log_terms(self, seen: np.ndarray) -> np.ndarray:
        """(K, N): logarithm of each component's weighted density at vectors with the ``features`` (F, N)."""
        size = self.means.shape[1]
        precisions = np.linalg.inv(self.covariances)
        towards = np.einsum("kij,kj->ki", precisions, self.means)
        constant = (
            np.log(self.weights)
            - 0.5 * (size * np.log(2 * np.pi) + np.linalg.slogdet(self.covariances)[1])
            - 0.5 * np.einsum("ki,ki->k", towards, self.means)
        )
        rows, columns = pairs(size)
        twice = np.where(rows == columns, 1.0, 2.0)  # entries off the diagonal stand for two
        return np.einsum(
            "kf,fn->kn", np.hstack([constant[:, None], towards, -0.5 * twice * precisions[:, rows, columns]]), seen
        )


@dataclass(frozen=True)
class Conditional:
    """A mixture of K Gaussians for each of N values."""

    shares: np.ndarray  # (N, K), each row of sum 1
    means: np.ndarray  # (N, K, C)
    covariances: np.ndarray  # (K, C, C), the same for all values

    def draw(self, which: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """A sample for each number of a value in ``which`` (M,): (M, C)."""
        bounds = self.shares.cumsum(1)[:, :-1]
        component = (rng.random(len(which))[:, None] >= bounds[which]).sum(1)
        normal = rng.standard_normal((len(which), self.means.shape[2]))
        roots = np.linalg.cholesky(self.covariances)
        return self.means[which, component] + np.einsum("nij,nj->ni", roots[component], normal)


@cache
def pairs(size: int) -> tuple[np.ndarray, np.ndarray]:
    return np.triu_indices(size)


def features(vectors: np.ndarray) -> np.ndarray:
    """(N, C) to (F, N): one, the entries, and the products of every two of them."""
    rows, columns = pairs(vectors.shape[1])
    entries = vectors.T
    return np.vstack([np.ones(len(vectors)), entries, entries[rows] * entries[columns]])


def maximised(shares: np.ndarray, seen: np.ndarray, size: int) -> Mixture:
    """The mixture in which component k has the moments of the vectors in the shares (K, N) that are its own."""
    sums = np.einsum("kn,fn->kf", shares, seen)
    mass = sums[:, 0] + 10 * np.finfo(float).eps  # a component that nothing belongs to stays a Gaussian
    moments = sums / mass[:, None]
    means = moments[:, 1 : 1 + size]
    rows, columns = pairs(size)
    covariances = np.empty((len(mass), size, size))
    covariances[:, rows, columns] = covariances[:, columns, rows] = moments[:, 1 + size :]
    covariances += FLOOR * np.eye(size) - means[:, :, None] * means[:, None, :]
    return Mixture(mass / mass.sum(), means, covariances)


def squared_distances(vectors: np.ndarray, centres: np.ndarray) -> np.ndarray:
    return np.square(vectors.T[None] - centres[:, :, None]).sum(1)  # (K, N)


def clustered(vectors: np.ndarray, components: int, rng: np.random.Generator) -> np.ndarray:
    """Centres (K, C) by k-means from a k-means++ start (Arthur & Vassilvitskii 2007)."""
    centres = vectors[rng.integers(len(vectors))][None]
    while len(centres) < components:
        away = squared_distances(vectors, centres).min(0)
        total = away.sum()
        place = rng.choice(len(vectors), p=away / total) if total > 0 else rng.integers(len(vectors))
        centres = np.vstack([centres, vectors[place]])
    for _ in range(KMEANS_STEPS):
        nearest = squared_distances(vectors, centres).argmin(0)
        mine = nearest == np.arange(components)[:, None]
        sums, counts = np.einsum("kn,nc->kc", mine.astype(float), vectors), mine.sum(1)
        moved = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], centres)
        if np.array_equal(moved, centres):
            break
        centres = moved
    return centres


def fit_mixture(vectors: np.ndarray, components: int) -> Mixture:
    """The mixture that expectation maximisation ends at, of vectors (N, C) float64; a function of the arguments alone.

    There are no more components than different vectors.
    """
    size, seen = vectors.shape[1], features(vectors)
    few = vectors[:: -(-len(vectors) // SHOWN_TO_KMEANS)]
    centres = clustered(few, components, np.random.default_rng(0))
    nearest = squared_distances(vectors, centres).argmin(0)
    mixture = maximised((nearest == np.arange(components)[:, None]).astype(float), seen, size)
    before = -np.inf
    for _ in range(ITERATIONS):
        terms = mixture.log_terms(seen)
        highest = terms.max(0)
        shares = np.exp(terms - highest)
        total = shares.sum(0)
        reached = float((highest + np.log(total)).mean())
        mixture = maximised(shares / total, seen, size)
        if reached - before < TOLERANCE:
            break
        before = reached
    return mixture
