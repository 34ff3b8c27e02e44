"""Smooth fields inside a hole, given their values at its edge."""

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

SMALLEST = 4  # side at which a field is its mean
SWEEPS = 4  # of Jacobi's iteration at each scale


def smooth_fill(values: Tensor, given: Tensor) -> Tensor:
    """Fill in what is not given, nearly as a membrane would (Laplace's equation), from coarse to fine.

    Args:
        values: (C, H, W); those that are given stay unchanged.
        given: (1, H, W) float, 1 where a value is given and 0 elsewhere, or a share between.
    """
    height, width = values.shape[1:]
    held = given > 0
    if min(height, width) <= SMALLEST:
        mean = (values * given).sum((1, 2), keepdim=True) / given.sum().clamp(min=1e-6)
        return torch.where(held, values, mean)
    to_even = (0, width % 2, 0, height % 2)
    shares = avg_pool2d(pad(given, to_even), 2)
    means = avg_pool2d(pad(values * given, to_even), 2) / shares.clamp(min=1e-6)
    found = torch.where(held, values, doubled(smooth_fill(means, shares))[:, :height, :width])
    for _ in range(SWEEPS):
        edged = pad(found[None], (1, 1, 1, 1), mode="replicate")[0]
        around = edged[:, 1:-1, :-2] + edged[:, 1:-1, 2:] + edged[:, :-2, 1:-1] + edged[:, 2:, 1:-1]
        found = torch.where(held, values, around / 4)
    return found


def doubled(image: Tensor) -> Tensor:
    """(C, H, W) enlarged to (C, 2 H, 2 W), bilinear; torch's own differs in the last bits by the number of threads."""
    for axis in (1, 2):
        last = image.shape[axis] - 1
        first, end = image.narrow(axis, 0, 1), image.narrow(axis, last, 1)
        before = torch.cat([first, image.narrow(axis, 0, last)], axis)
        after = torch.cat([image.narrow(axis, 1, last), end], axis)
        image = torch.stack([0.75 * image + 0.25 * before, 0.75 * image + 0.25 * after], axis + 1)
        image = image.flatten(axis, axis + 1)
    return image


def match_edge(picture: Tensor, hole: Tensor, tolerance: float) -> Tensor:
    """What to add to the colours in a hole (H, W) so that they go on at its edge where the known ones end, (C, H, W).

    At the edge the shift is the difference of the two sides' means over 5 x 5 cells; inside it is a membrane. A
    difference well above the tolerance is taken for a border of two things and hardly counts.
    """
    rows, columns = (torch.nonzero(hole.any(axis)).flatten().tolist() for axis in (1, 0))
    top, left = max(0, rows[0] - 2), max(0, columns[0] - 2)
    area = (slice(top, rows[-1] + 3), slice(left, columns[-1] + 3))
    inside = hole[area][None].to(picture)
    part = picture[:, area[0], area[1]]
    sides = (1 - inside, inside)
    means = [avg_pool2d(part * side, 5, 1, 2) / avg_pool2d(side, 5, 1, 2).clamp(min=1e-6) for side in sides]
    edge = (inside > 0) & (avg_pool2d(1 - inside, 3, 1, 1) > 0)
    shift = means[0] - means[1]
    shift = shift / (1 + shift.square().mean(0, keepdim=True) / tolerance**2)
    found = torch.zeros_like(picture)
    found[:, area[0], area[1]] = smooth_fill(shift * edge, edge.to(picture))
    return found
