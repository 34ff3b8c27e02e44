"""Weights of known windows, with the known part of a noisy window taken from the picture, not its noisy copy."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from isdiff.priors.patches.level import Level, averaged, mixed, windows_of
from isdiff.priors.patches.search import Precision


@dataclass(frozen=True)
class Given:
    """Windows about a hole's cells beside all known windows.

    A cell of a window differs from the known window's by noise where it is hole and by ``tolerance`` where it is known;
    all of a colour's cells also by a common shift. Both are normal, so the shift is integrated out.

    Attributes:
        logits: (M, N), logarithms of weights up to a constant for each query.
        sums: (3, M, N), differences of each colour, summed over the window with their precisions.
        pull: (M, 1), by which ``sums`` become the expected shift.
    """

    logits: Tensor
    sums: Tensor
    pull: Tensor

    def average(self, level: Level) -> Tensor:
        """(M, 3): the expected colours of the cells."""
        weights = self.logits.softmax(1)
        shift = torch.stack([(weights * each).sum(1) for each in self.sums], 1)
        return mixed(weights, level.answers[level.windows, :3].float()) + shift * self.pull

    def best(self, level: Level, count: int) -> Tensor:
        """(M, k) numbers of the windows with the largest weights."""
        return level.windows[self.logits.topk(min(count, len(level.windows)), 1)[1]]


def compare(
    level: Level, x: Tensor, image: Tensor, hole: Tensor, alpha: float, sigma: float, *,
    precision: Precision, tolerance: float, shift: float,
) -> Given:  # fmt: skip
    """Compare the windows about the hole's cells with all known windows.

    Args:
        x: (3, H, W), the noisy picture; of its known part ``image`` is used instead.
        sigma: noise of the level's cells.
        precision: of where windows come from.
        tolerance, shift: standard deviations, in units of the picture.
    """
    rows, columns = level.places.T
    cells = averaged(torch.where(hole, x, alpha * image), level.cell)
    query = windows_of(cells, level.side)[:, rows, columns].transpose(0, 1).flatten(2)
    known = alpha * level.known_cells
    noise = sigma**2
    inverse = torch.where(level.unknown_cells, 1 / noise, 1 / max(min((alpha * tolerance) ** 2, noise), 1e-12))
    weighed = inverse[:, None] * query
    # Squares of the queries themselves are the same for all known windows.
    away = inverse @ known.square().sum(1).T - 2 * weighed.flatten(1) @ known.flatten(1).T
    sums = torch.stack([weighed[:, c].sum(1, keepdim=True) - inverse @ known[:, c].T for c in range(3)])
    spread, total = (alpha * shift) ** 2, inverse.sum(1, keepdim=True)
    held = 1 + spread * total
    away = away - sums.square().sum(0) * (spread / held)
    own, theirs, place = level.places.to(x), level.features[level.windows, -2:].float(), precision.inverse[-2:]
    away = away + (theirs.square() * place).sum(1) - 2 * (own * place) @ theirs.T
    return Given(away / -2, sums, alpha * shift**2 / held)
