"""How a model of small squares fills holes in pictures of any size.

A model that takes any size sees the whole picture, or of a large one each part of the hole with its surroundings.

For a model of squares, parts of the hole that are close together get one window about their middle: as large as the
part's depth asks for, with ``context`` times its width around it, from the model's own size to ``reduction`` times
that. A part that does not fit is filled by overlapping windows, each where half is known by then if there is such a
place; near a border their results are blended. A part that is wider than windows gets a coarse fill first, with which
they begin. The windows follow from the shape of the hole and these numbers alone.

Windows are resized for the model and back. Nothing beneath the hole gets into known pixels on the way, and only hole
pixels of the picture are ever replaced.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
import torch
from PIL import Image
from scipy import ndimage

from isdiff.checks import check_number

LEAST_SIDE = 16  # thinner pictures are mirrored outwards to this
LEAST_AROUND = 64  # pixels of a large picture around a part of its hole
MOST_PIXELS = 1_000_000  # that a model of any size sees at once
LEAST_KNOWN = 1 / 32  # share of known pixels that a window about a whole part must have
FADE = 4  # pixels, at least, over which windows of a part are blended


@dataclass(frozen=True)
class Window:
    """A part of a picture, in pixels.

    Attributes:
        fade: pixels beside a border, if it is not the picture's, that are made again by another window.
        coarse: what it makes is no result, but what finer windows begin with.
    """

    top: int
    left: int
    height: int
    width: int
    fade: int = field(default=0, compare=False)
    coarse: bool = field(default=False, compare=False)

    @property
    def shape(self) -> tuple[int, int]:
        return self.height, self.width

    @property
    def area(self) -> tuple[slice, slice]:
        """Its rows and columns, to index arrays (H, W, ...) with."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)

    def core(self, shape: Sequence[int]) -> tuple[slice, slice]:
        """Give its area in a picture of this shape without what fades."""
        rows, columns = (
            slice(span.start + self.fade * (span.start > 0), span.stop - self.fade * (span.stop < size))
            for span, size in zip(self.area, shape, strict=True)
        )
        return rows, columns

    def weight(self, shape: Sequence[int]) -> np.ndarray:
        """Weigh what it makes, (h, w): 1 in its core, less towards a border that is not the picture's."""
        away = []
        for span, size in zip(self.area, shape, strict=True):
            at = np.arange(span.start, span.stop, dtype=np.float32)
            before = at - span.start + 1 if span.start else np.inf
            away.append(np.minimum(before, span.stop - at if span.stop < size else np.full_like(at, np.inf)))
        return np.minimum(np.minimum.outer(*away) / (self.fade + 1), 1)

    def meets(self, other: Window) -> bool:
        """Whether the two have a pixel in common."""
        return all(a.start < b.stop and b.start < a.stop for a, b in zip(self.area, other.area, strict=True))


@dataclass(frozen=True)
class Sizes:
    """What the windows of a model may be like.

    Args:
        model: side of the model's own images; None: any height and width.
        reduction: a window is at most so many times larger.
        context: known surroundings on either side of a hole, as a share of the hole's width.
    """

    model: int | None
    reduction: float = 4.0
    context: float = 0.5

    def __post_init__(self) -> None:
        check_number("reduction", self.reduction, low=1)
        check_number("context", self.context)

    def shape(self, window: Window) -> tuple[int, int]:
        """Give rows and columns that the model sees of a window."""
        if self.model is not None:
            return self.model, self.model
        factor = max(1.0, math.sqrt(window.height * window.width / MOST_PIXELS))
        return max(1, round(window.height / factor)), max(1, round(window.width / factor))

    def side(self, reach: float, height: int, width: int) -> int:
        """Choose the side of windows in a picture of this size, for hole pixels up to ``reach`` from known ones."""
        assert self.model is not None
        most = int(min(self.reduction * self.model, height, width))
        wanted = math.ceil(min(2 * reach * (1 + 2 * self.context), most))  # of an infinity there is no ceiling
        return min(max(self.model, wanted), most)


def mirror(array: np.ndarray) -> np.ndarray:
    """Mirror rows and columns of an array (H, W, ...) at the lower and right edge, until there are 16 of each."""
    missing = [(0, max(0, LEAST_SIDE - size)) for size in array.shape[:2]]
    return np.pad(array, [*missing, *[(0, 0)] * (array.ndim - 2)], mode="symmetric")


def plan(hole: np.ndarray, sizes: Sizes) -> list[Window]:
    """Plan the windows that fill ``hole`` (H, W) bool, in their order.

    Every hole pixel is in the core of one; each has a hole pixel there that is in none before it, and one that is known
    or was filled.
    """
    if hole.all() or min(hole.shape) < LEAST_SIDE:
        raise ValueError(f"no windows in {hole.shape}: it must have a known pixel and {LEAST_SIDE} rows and columns")
    if sizes.model is None and hole.size <= MOST_PIXELS:
        return [Window(0, 0, *hole.shape)]
    reach = cv2.distanceTransform(hole.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    left, found = hole.copy(), list[Window]()
    for box, part in parts(hole, LEAST_AROUND if sizes.model is None else sizes.model // 4):
        if (left[box] & part).any():
            deep = float(reach[box][part].max())
            windows = surroundings(hole, box, deep) if sizes.model is None else squares(left, part, box, deep, sizes)
            for window in windows:
                found.append(window)
                if not window.coarse:
                    left[window.core(hole.shape)] = False
    return found


def surroundings(hole: np.ndarray, box: tuple[slice, slice], reach: float) -> list[Window]:
    """Take a part of a large picture's hole with half to two times its depth of what is around it.

    There is more around it where less than half of that is known, and not more than a model sees at once where that is
    enough.
    """
    depth = math.ceil(min(reach, max(hole.shape)))
    around = [max(LEAST_AROUND, round(depth * share)) for share in (2, 1.5, 1, 0.5, 1, 2, 4, 8, 16)]
    areas = [grow(box, more, hole.shape) for more in (*around, max(hole.shape))]
    seen = [area for n, area in enumerate(areas) if n > 3 or hole[area].size <= MOST_PIXELS]
    rows, columns = next((area for area in seen if 2 * hole[area].mean() <= 1), areas[-1])
    shape = rows.stop - rows.start, columns.stop - columns.start
    return [Window(rows.start, columns.start, *shape, fade=LEAST_AROUND // 2)]


def squares(
    left: np.ndarray, part: np.ndarray, box: tuple[slice, slice], reach: float, sizes: Sizes
) -> Iterator[Window]:
    """Plan the windows of a part of the hole, up to ``reach`` deep, for a model of squares."""
    side = sizes.side(reach, *left.shape)
    whole = about(box, side, side, left.shape)
    if whole and suits(whole, left):
        yield whole
        return
    if 4 * reach > side:
        long = max(span.stop - span.start for span in box) + 2 * math.ceil(min(reach, max(left.shape)))
        height, width = (min(long, size) for size in left.shape)
        whole = about(box, height, width, left.shape)
        if whole and suits(whole, left):
            yield replace(whole, fade=0, coarse=True)
    yield from tiles(left, part, box, side, min(max(FADE, math.ceil(reach)), side // 4))


def grow(box: tuple[slice, slice], more: int, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Extend a box by so many pixels on each side, as far as the picture has them."""
    (top, bottom), (left, right) = (
        (max(0, span.start - more), min(size, span.stop + more)) for span, size in zip(box, shape, strict=True)
    )
    return slice(top, bottom), slice(left, right)


def parts(hole: np.ndarray, gap: int) -> Iterator[tuple[tuple[slice, slice], np.ndarray]]:
    """Find parts of the hole that are more than about ``gap`` pixels apart: the box of each, and its pixels there."""
    reach = max(1, gap // 2)
    near = cv2.dilate(hole.astype(np.uint8), np.ones((2 * reach + 1, 2 * reach + 1), np.uint8))
    labels = np.where(hole, cv2.connectedComponents(near, connectivity=8)[1], 0)
    for number, box in enumerate(ndimage.find_objects(labels), 1):
        yield box, labels[box] == number


def about(box: tuple[slice, slice], height: int, width: int, shape: Sequence[int]) -> Window | None:
    """Put a window about the middle of a box and into the picture; None where the box does not fit."""
    if any(span.stop - span.start > side for span, side in zip(box, (height, width), strict=True)):
        return None
    top, left = (
        min(max((span.start + span.stop - side) // 2, 0), size - side)
        for span, side, size in zip(box, (height, width), shape, strict=True)
    )
    found = Window(top, left, height, width)
    gaps = [span.start - area.start for span, area in zip(box, found.area, strict=True) if area.start]
    gaps += [a.stop - b.stop for a, b, size in zip(found.area, box, shape, strict=True) if a.stop < size]
    return replace(found, fade=min([height // 4, *gaps]))


def suits(window: Window, hole: np.ndarray) -> bool:
    """Whether a window shows enough of what is known to be filled in one go; the whole picture always does."""
    inside = hole[window.area]
    return inside.shape == hole.shape or 1 - inside.mean() >= LEAST_KNOWN


def starts(span: slice, side: int, size: int, step: int) -> np.ndarray:
    """Place windows up to ``step`` apart that cover ``span`` with half a window on either side of it."""
    first, last = max(0, span.start - side // 2), min(size, span.stop + side // 2)
    first, last = min(first, size - side), max(last, side)
    return np.array([*range(first, last - side, step), last - side])


def tiles(hole: np.ndarray, part: np.ndarray, box: tuple[slice, slice], side: int, fade: int) -> Iterator[Window]:
    """Lay overlapping windows over a part of the hole.

    Each time the one that settles most among those that know half of what they show, or the one that knows most; of
    equals the upper left.
    """
    left, asked = hole.copy(), np.zeros_like(hole)
    asked[box] = part
    rows, columns = (
        starts(span, side, size, min(side // 2, 2 * fade)) for span, size in zip(box, hole.shape, strict=True)
    )
    windows = [Window(int(top), int(left), side, side, fade=fade) for top in rows for left in columns]
    areas, cores = (
        np.array([[edge for span in spans for edge in (span.start, span.stop)] for spans in each]).T
        for each in ([w.area for w in windows], [w.core(hole.shape) for w in windows])
    )

    def score(which: np.ndarray) -> np.ndarray:
        top, first = areas[[0, 2]][:, which].min(1)
        bottom, last = areas[[1, 3]][:, which].max(1)
        near, origin = np.s_[top:bottom, first:last], np.array([[top], [top], [first], [first]])
        unknown = boxes(left[near], areas[:, which] - origin) / side**2
        settled = boxes((left & asked)[near], cores[:, which] - origin)
        return np.where(settled > 0, np.where(2 * unknown <= 1, 1.0 + settled, 1 - unknown), -1)

    scores = score(np.arange(len(windows)))
    while (best := scores.max()) >= 0:
        chosen = windows[int(scores.argmax())]
        assert best > 0, "a hole pixel beside a known one is in some core, and its neighbour in that window"
        yield chosen
        left[chosen.core(hole.shape)] = False
        near = np.flatnonzero((abs(areas[[0, 2]].T - (chosen.top, chosen.left)) < side).all(1))
        scores[near] = score(near)


def boxes(mask: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Count how much of ``mask`` is set between edges (4, N): top, bottom, left and right."""
    sums, (top, bottom, left, right) = cv2.integral(mask.astype(np.uint8)), edges
    return sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]


def rounds(windows: Sequence[Window]) -> list[list[int]]:
    """Group numbers of windows that can be filled at the same time: each comes after those before it that it meets."""
    when: list[int] = []
    for n, window in enumerate(windows):
        when.append(1 + max((when[k] for k in range(n) if windows[k].meets(window)), default=-1))
    return [[n for n, at in enumerate(when) if at == turn] for turn in range(max(when, default=-1) + 1)]


def resize(values: np.ndarray, shape: tuple[int, int], how: Image.Resampling) -> np.ndarray:
    """Resize ``values`` (h, w) or (h, w, C) as float32."""
    if values.ndim == 3:
        return np.stack([resize(channel, shape, how) for channel in np.moveaxis(values, -1, 0)], -1)
    return np.asarray(Image.fromarray(values.astype(np.float32)).resize(shape[::-1], how))


def to_model(pixels: np.ndarray, hole: np.ndarray, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Bring a window's ``pixels`` (h, w, 3) uint8 and ``hole`` (h, w) bool to the model's size.

    A pixel that is known there is a mean of known pixels here, whatever the hole hides. When reduced, all that touches
    the hole is hole, except that one pixel always stays known; when enlarged, what is nearest to a hole pixel is.
    """
    if hole.shape == shape:
        return pixels, hole
    reduced = len(hole) > shape[0]
    # Neither filter has negative weights: what is known is a mean, and a share of 0 is nothing of the hole.
    how = Image.Resampling.HAMMING if reduced else Image.Resampling.BILINEAR
    known = resize(~hole, shape, how)
    small = resize(hole, shape, how if reduced else Image.Resampling.NEAREST) > 0
    if small.all():
        small[np.unravel_index(known.argmax(), known.shape)] = False
    means = resize(np.where(hole[..., None], 0, pixels), shape, how) / np.maximum(known, 1e-6)[..., None]
    return np.where(small[..., None], 0, np.rint(means.clip(0, 255))).astype(np.uint8), small


def from_model(picture: torch.Tensor, shape: tuple[int, int]) -> np.ndarray:
    """Bring what the model made, (3, H, W) about [-1, 1], to (h, w, 3) float32 in 0..255."""
    values = ((picture.float().clamp(-1, 1) + 1) * 127.5).permute(1, 2, 0).cpu().numpy()
    return values if values.shape[:2] == shape else resize(values, shape, Image.Resampling.BICUBIC).clip(0, 255)
