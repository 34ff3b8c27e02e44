"""One scale of a picture: its cells, the known windows among them, and features by which windows are compared."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import torch
from scipy import ndimage
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d, max_pool2d, pad

SAMPLED = 10_000  # windows that the principal components are taken from
MANY = 200_000  # cells from which on features are kept in half precision
HALF_EXACT = 2048  # whole numbers that half precision has exactly: rows and columns
STRIP = 128  # rows of cells that are worked on at once
FEW = 30  # known windows, mirrored ones included, below which smaller windows are taken


def averaged(image: Tensor, cell: int) -> Tensor:
    """(C, H, W) averaged over cells of so many pixels a side; the last ones may have fewer."""
    return image if cell == 1 else avg_pool2d(image[None], cell, ceil_mode=True)[0]


def edged(image: Tensor, radius: int) -> Tensor:
    """(C, H, W) mirrored outwards by ``radius`` cells, without repeating the edge where there is room for that."""
    mode = "reflect" if radius < min(image.shape[1:]) else "replicate"
    return pad(image[None], (radius,) * 4, mode=mode)[0] if radius else image


def windows_of(image: Tensor, side: int) -> Tensor:
    """(C, H, W, side, side): the window about each cell."""
    return edged(image, side // 2).unfold(1, side, 1).unfold(2, side, 1)


def known_windows(hole: Tensor, side: int) -> Tensor:
    """(H, W) bool: whether the window of ``side`` cells about a cell is known as a whole.

    Windows over the picture's border, which fit their own mirror images, count only where the hole is at a border, too.
    """
    radius = side // 2
    found = max_pool2d(edged(hole[None].float(), radius), side, 1)[0] == 0
    for axis in (0, 1):
        size = hole.shape[axis]
        places = hole.any(1 - axis).nonzero()
        if size > 2 * radius and len(places) and radius <= places.min() and places.max() < size - radius:
            found.narrow(axis, 0, radius).fill_(False)
            found.narrow(axis, size - radius, radius).fill_(False)
    return found


@dataclass(frozen=True)
class Level:
    """A picture averaged over cells of ``cell`` pixels a side.

    Windows are known by numbers: row * width + column of their middle, plus height * width for mirrored ones.
    """

    cell: int
    image: Tensor  # (3, H, W) cells in [-1, 1]; without meaning in the hole
    hole: Tensor  # (H, W) bool, cells with any unknown pixel
    side: int  # of windows, in cells; odd
    kernels: Tensor  # (K, 3, side, side), orthonormal: three constant ones, then principal components of the rest
    windows: Tensor  # (N,) numbers of the windows that are known as a whole, mirrored ones too
    features: Tensor  # (2 H W, K + 2) of all windows by their numbers: projections on the kernels, row and column

    @property
    def shape(self) -> tuple[int, int]:
        return self.hole.shape[0], self.hole.shape[1]

    @cached_property
    def places(self) -> Tensor:
        """(M, 2) rows and columns of the hole's cells."""
        return self.hole.nonzero()

    @cached_property
    def order(self) -> Tensor:
        """(H, W): the number of a hole's cell among ``places``; -1 elsewhere."""
        found = torch.full(self.shape, -1, device=self.hole.device)
        found[self.hole] = torch.arange(len(self.places), device=self.hole.device)
        return found

    @cached_property
    def known(self) -> Tensor:
        """(2 H W,) bool, by number: whether a window is known as a whole."""
        found = torch.zeros(len(self.features), dtype=torch.bool, device=self.hole.device)
        found[self.windows] = True
        return found

    @cached_property
    def nearest(self) -> Tensor:
        """(H W,): for each cell the number of the nearest known window."""
        unknown = ~self.known[: self.hole.numel()].view(self.shape).cpu().numpy()
        rows, columns = ndimage.distance_transform_edt(unknown, return_distances=False, return_indices=True)
        return torch.from_numpy(rows * self.shape[1] + columns).flatten().long().to(self.hole.device)

    @cached_property
    def answers(self) -> Tensor:
        """(2 H W, 6): the colour in the middle of each window, and the mean colour of the window."""
        colours = self.image.flatten(1).T.to(self.features.dtype)
        return torch.cat([torch.cat([colours, colours]), self.features[:, :3] / self.side], 1)

    @cached_property
    def area(self) -> tuple[slice, slice]:
        (top, left), (bottom, right) = self.places.amin(0).tolist(), self.places.amax(0).tolist()
        return slice(top, bottom + 1), slice(left, right + 1)

    @cached_property
    def known_cells(self) -> Tensor:
        """(N, 3, side * side): the cells of the known windows."""
        numbers, width = self.windows[: len(self.windows) // 2], self.shape[1]
        found = windows_of(self.image, self.side)[:, numbers // width, numbers % width].transpose(0, 1)
        return torch.cat([found, found.flip(-1)]).flatten(2)

    @cached_property
    def unknown_cells(self) -> Tensor:
        """(M, side * side) bool: which cells of the windows about the hole's cells are hole."""
        rows, columns = self.places.T
        return windows_of(self.hole[None].float(), self.side)[0, rows, columns].flatten(1) > 0

    def query(self, x: Tensor) -> Tensor:
        """Features (M, K + 2) of the windows about the hole's cells in a noisy picture (3, H, W) of full size."""
        (rows, columns), more = self.area, 2 * (self.side // 2)
        cells = edged(averaged(x, self.cell), self.side // 2)
        cells = cells[:, rows.start : rows.stop + more, columns.start : columns.stop + more]
        found, hole = x.new_empty(len(self.places), len(self.kernels) + 2), self.hole[self.area]
        found[:, -2:], done = self.places, 0
        for top in range(0, len(hole), STRIP):
            strip = conv2d(cells[None, :, top : top + STRIP + more], self.kernels)[0][:, hole[top : top + STRIP]].T
            found[done : done + len(strip), :-2] = strip
            done += len(strip)
        return found


@contextmanager
def one_thread() -> Iterator[None]:
    """For sums of which torch gives other last bits with more threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@one_thread()
def mixed(weights: Tensor, answers: Tensor) -> Tensor:
    return weights @ answers


def principal_kernels(image: Tensor, middles: Tensor, side: int, count: int) -> Tensor:
    """(K, 3, side, side), K at most ``count``: the constant ones, then the directions in which windows differ most."""
    constant = torch.eye(3, device=image.device)[:, :, None, None].expand(3, 3, side, side) / side
    more = min(count, 3 * side * side) - 3
    if more <= 0:
        return constant
    width = image.shape[2]
    chosen = middles[:: math.ceil(len(middles) / SAMPLED)]
    found = windows_of(image, side)[:, chosen // width, chosen % width].transpose(0, 1)
    found = torch.cat([found, found.flip(-1)])
    flat = (found - found.mean((2, 3), keepdim=True)).flatten(1).double()
    with one_thread():
        axes = torch.linalg.eigh(flat.T @ flat)[1][:, -more:].T.to(image.dtype)
    return torch.cat([constant, axes.reshape(-1, 3, side, side)])


def features_of(cells: Tensor, kernels: Tensor) -> Tensor:
    """(2 H W, K + 2) of all windows by their numbers; of many cells in half precision, and strip by strip."""
    height, width = cells.shape[1:]
    kind = torch.float16 if height * width > MANY and max(height, width) <= HALF_EXACT else cells.dtype
    found = cells.new_empty(2, height, width, len(kernels) + 2, dtype=kind)
    side = kernels.shape[-1]
    around = edged(cells, side // 2)[None]
    for table, each in zip(found, (kernels, kernels.flip(-1)), strict=True):
        for top in range(0, height, STRIP):
            strip = around[:, :, top : top + STRIP + side - 1]
            table[top : top + STRIP, :, :-2] = conv2d(strip, each)[0].permute(1, 2, 0)
    found[..., -2] = torch.arange(height, device=cells.device)[:, None]
    found[..., -1] = torch.arange(width, device=cells.device)
    return found.flatten(0, 2)


def build_level(image: Tensor, hole: Tensor, cell: int, wanted: int, count: int) -> Level | None:
    """Build a level of ``image`` (3, H, W), 0 in the hole; None where no cell is known as a whole.

    Windows have ``wanted`` cells a side if enough of them are known, and at most ``count`` features.
    """
    cells, holed = averaged(image, cell), averaged(hole.float(), cell)[0] > 0
    if holed.all():
        return None
    sides = (n for n in range(wanted, 1, -2) if n <= min(holed.shape))
    side = next((n for n in sides if 2 * int(known_windows(holed, n).sum()) >= FEW), 1)
    middles = known_windows(holed, side).flatten().nonzero()[:, 0]
    kernels = principal_kernels(cells, middles, side, count)
    features = features_of(cells, kernels)
    windows = torch.cat([middles, middles + holed.numel()])
    return Level(cell, cells, holed, side, kernels, windows, features)
