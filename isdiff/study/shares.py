"""Votes make shares with intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest, chisquare

from isdiff.study.collect import KeyCell

ENOUGH = 10  # participants for a bootstrap over them
RESAMPLES = 10_000
EXPECTED = 5  # votes for each method, below which the chi-squared distribution does not fit

Interval = tuple[float, float]


@dataclass(frozen=True)
class Share:
    """A method's part of a cell's votes, all from 0 to 1.

    Attributes:
        wilson: 95 % Wilson interval, which takes votes as independent of each other.
        bootstrap: 95 % percentile interval over participants, whose votes are not; None where there are too few, or
            where all participants voted alike, of which a bootstrap learns nothing.
    """

    method: str
    votes: int
    of: int
    wilson: Interval
    bootstrap: Interval | None

    @property
    def value(self) -> float:
        """The share."""
        return self.votes / self.of

    @property
    def interval(self) -> Interval:
        """The bootstrap's where there is one."""
        return self.bootstrap or self.wilson


@dataclass(frozen=True)
class CellShares:
    """The shares of a cell.

    Attributes:
        p: of votes at least as unequal if all methods were equally liked and all votes independent: exact for two
            methods, chi-squared otherwise; None for too few votes.
    """

    cell: KeyCell
    participants: int
    votes: int
    shares: tuple[Share, ...]
    p: float | None

    @property
    def bootstrapped(self) -> bool:
        """Whether some interval is the bootstrap's."""
        return any(share.bootstrap for share in self.shares)


def bootstrap(votes: np.ndarray, seed: int = 0) -> np.ndarray:
    """95 % intervals (2, methods) of the shares over participants, drawn again with all their votes.

    Args:
        votes: (participants, methods) int.
    """
    people = len(votes)
    weights = np.random.default_rng(seed).multinomial(people, np.full(people, 1 / people), RESAMPLES)
    totals = weights @ votes
    return np.percentile(totals / totals.sum(1, keepdims=True), [2.5, 97.5], axis=0)


def equal_shares(totals: np.ndarray) -> float | None:
    """The p-value of votes (methods,) against equal shares."""
    if len(totals) == 2:
        return float(binomtest(int(totals[0]), int(totals.sum())).pvalue)
    return float(chisquare(totals).pvalue) if totals.mean() >= EXPECTED else None


def cell_shares(cell: KeyCell, votes: np.ndarray) -> CellShares | None:
    """The shares of a cell; None if nobody voted.

    Args:
        votes: (participants, methods) int, nobody without votes.
    """
    totals = votes.sum(0)
    of = int(totals.sum())
    if not of:
        return None
    drawn = bootstrap(votes) if len(votes) >= ENOUGH else np.zeros((2, len(totals)))
    shares = []
    for method, count, low, high in zip(cell.methods, totals.tolist(), *drawn.tolist(), strict=True):
        wilson = binomtest(count, of).proportion_ci(method="wilson")
        known = (low, high) if high > low else None
        shares.append(Share(method, count, of, (float(wilson.low), float(wilson.high)), known))
    return CellShares(cell, len(votes), of, tuple(shares), equal_shares(totals))
