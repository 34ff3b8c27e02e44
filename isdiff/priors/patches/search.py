"""Which known windows a noisy window may be: all of them weighed, or a few that coarser scales led to.

:class:`Given` takes the known part of a noisy window from the picture, not from its noisy copy.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from isdiff.priors.patches.level import Level, averaged, mixed, windows_of

AT_ONCE = 2_000_000  # numbers of a table that is worked on
NEIGHBOURS = ((0, 1), (1, 0), (0, -1), (-1, 0))


@dataclass(frozen=True)
class Precision:
    """How closely noisy windows are held to known ones."""

    scale: Tensor  # (K + 2,), by which features of known windows are multiplied before they are compared
    inverse: Tensor  # (K + 2,), one over the variance of each difference
    shared: float  # how much of a difference in mean colour is the windows' own and not noise

    @classmethod
    def at(cls, alpha: float, sigma: float, level: Level, *, shift: float, rows: float, columns: float) -> "Precision":
        """For cells ``alpha colour + sigma noise``, with standard deviations of mean colours and of places in cells."""
        noise, colour = sigma**2, (alpha * level.side * shift) ** 2
        scale, inverse = torch.ones(2, level.features.shape[1])
        scale[:-2] = alpha
        inverse[:3], inverse[3:-2] = 1 / (noise + colour), 1 / noise
        inverse[-2], inverse[-1] = 1 / rows**2, 1 / columns**2
        device = level.features.device
        return cls(scale.to(device), inverse.to(device), colour / (noise + colour))


@dataclass(frozen=True)
class Given:
    """Windows about a hole's cells beside all known windows.

    A cell of a window differs from the known window's by noise where it is hole and by ``tolerance`` where it is known;
    all of a colour's cells also by a common shift. Both are normal, so the shift is integrated out.
    """

    logits: Tensor  # (M, N), logarithms of weights up to a constant for each query
    sums: Tensor  # (3, M, N), differences of each colour, summed over the window with their precisions
    pull: Tensor  # (M, 1), by which ``sums`` become the expected shift

    def average(self, level: Level) -> Tensor:
        """(M, 3): the expected colours of the cells."""
        weights = self.logits.softmax(1)
        shift = torch.stack([(weights * each).sum(1) for each in self.sums], 1)
        return mixed(weights, level.answers[level.windows, :3].float()) + shift * self.pull

    def best(self, level: Level, count: int) -> Tensor:
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


def log_weights(level: Level, query: Tensor, precision: Precision) -> Iterator[Tensor]:
    """(M, N) in parts, for queries (M, K + 2) and all known windows, up to a constant for each query."""
    known = level.features[level.windows] * precision.scale
    own = (known.square() * precision.inverse).sum(1) / -2
    for part in query.split(max(1, AT_ONCE // len(level.windows))):
        yield torch.addmm(own[None], part * precision.inverse, known.T)


def average_all(level: Level, query: Tensor, precision: Precision) -> Tensor:
    """(M, 6): ``level.answers`` averaged over all known windows by their weights."""
    answers = level.answers[level.windows].float()
    return torch.cat([mixed(each.softmax(1), answers) for each in log_weights(level, query, precision)])


def best_of_all(level: Level, query: Tensor, precision: Precision, count: int) -> Tensor:
    """(M, k) numbers of the known windows with the largest weights, k at most ``count``."""
    count = min(count, len(level.windows))
    return level.windows[torch.cat([each.topk(count, 1)[1] for each in log_weights(level, query, precision)])]


def distances(level: Level, query: Tensor, chosen: Tensor, precision: Precision) -> Tensor:
    """(M, k) of queries (M, K + 2) to the windows chosen for each, (M, k); infinite to those that are not known."""
    rows = max(1, AT_ONCE // (chosen.shape[1] * query.shape[1]))
    found = [
        (part[:, None] - level.features[numbers] * precision.scale).square() @ precision.inverse
        for part, numbers in zip(query.split(rows), chosen.split(rows), strict=True)
    ]
    return torch.cat(found).masked_fill_(~level.known[chosen], torch.inf)


def nearest(chosen: Tensor, away: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The ``count`` nearest of the windows chosen for each query, each once, with their distances."""
    chosen, order = chosen.sort(1)
    away = away.gather(1, order)
    away[:, 1:].masked_fill_(chosen[:, 1:] == chosen[:, :-1], torch.inf)
    away, order = away.topk(min(count, away.shape[1]), 1, largest=False)
    return chosen.gather(1, order), away


def refine_matches(
    coarse: Level, fine: Level, chosen: Tensor, query: Tensor, precision: Precision, count: int
) -> tuple[Tensor, Tensor]:
    """Matches (M', k) of a fine level's cells, with distances, from a coarse one's (M, k) and from neighbours."""
    found = inherited(coarse, fine, chosen)
    found, away = nearest(found, distances(fine, query, found, precision), count)
    beside = torch.cat([moved(fine, found[:, :1], step) for step in NEIGHBOURS], 1)
    found = torch.cat([found, beside], 1)
    found, away = nearest(found, torch.cat([away, distances(fine, query, beside, precision)], 1), count)
    lost = away[:, 0].isinf()
    if lost.any():  # nothing that coarser levels led to is known: the nearest that is
        some = found[lost, :1]
        found[lost, :1] = some // fine.hole.numel() * fine.hole.numel() + fine.nearest[some % fine.hole.numel()]
        away[lost, 0] = distances(fine, query[lost], found[lost, :1], precision)[:, 0]
    return found, away


def inherited(coarse: Level, fine: Level, chosen: Tensor) -> Tensor:
    """(M', k): where the parts of the coarse windows are at the fine level."""
    (height, width), (rows, columns) = coarse.shape, fine.places.T
    above, beside = (rows // 2).clamp(max=height - 1), (columns // 2).clamp(max=width - 1)
    parents = chosen[coarse.order[above, beside].clamp(min=0)]
    mirrored, middles = parents // coarse.hole.numel(), parents % coarse.hole.numel()
    down, across = (rows - 2 * above)[:, None], (columns - 2 * beside)[:, None]
    row = 2 * (middles // width) + down
    column = 2 * (middles % width) + torch.where(mirrored == 1, 1 - across, across)
    place = row.clamp(0, fine.shape[0] - 1) * fine.shape[1] + column.clamp(0, fine.shape[1] - 1)
    return mirrored * fine.hole.numel() + place


def moved(level: Level, chosen: Tensor, step: tuple[int, int]) -> Tensor:
    """(M, k): a cell's match if the match of its neighbour, one step away, went on to it; else its own."""
    height, width = level.shape
    rows, columns = (level.places + torch.tensor(step, device=chosen.device)).T
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    number = level.order[rows.clamp(0, height - 1), columns.clamp(0, width - 1)]
    inside &= number >= 0
    theirs = chosen[torch.where(inside, number, torch.arange(len(number), device=number.device))]
    mirrored, middles = theirs // level.hole.numel(), theirs % level.hole.numel()
    down, across = (torch.where(inside, size, 0)[:, None] for size in step)
    row, column = middles // width - down, middles % width - torch.where(mirrored == 1, -across, across)
    outside = (row < 0) | (row >= height) | (column < 0) | (column >= width)
    return torch.where(outside, chosen, mirrored * level.hole.numel() + row * width + column)
