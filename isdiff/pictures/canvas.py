"""One picture that is filled window by window: what is asked, where it stands, and what came of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from isdiff.checks import check_whole
from isdiff.data.images import pixels_hash
from isdiff.engine import Live
from isdiff.errors import UserError
from isdiff.pictures.edges import PASTED, Edge
from isdiff.pictures.picture import Picture, picture_of
from isdiff.pictures.windows import Sizes, Window, from_model, mirror, plan, rounds
from isdiff.priors.base import Prior
from isdiff.trajectory import Stream

SETTLED = 0.999  # a weight that is 1, rounded


@dataclass(frozen=True, eq=False)
class Job:
    """One picture with its hole, for an :class:`Inpainter`.

    Attributes:
        name: for messages.
        pixels: (H, W, 3) uint8 RGB.
        hole: (H, W) bool, True = generate.
        seed: of its noise.
        key: what its noise follows from besides the seed; default: what is known of the picture, and the hole. A run's
            image has its id.
        prompt: a text of its own, where the stream was made for ``prompt="caption"``.
        strength: (H, W) float32, of a soft mask: 0 outside the hole, see :class:`isdiff.trajectory.Task`.
        edge: how the fill meets what is known.
        opacity: (H, W) float32, how much of the fill shows in the hole; None: all.
    """

    name: str
    pixels: np.ndarray
    hole: np.ndarray
    seed: int = 0
    key: str | None = None
    prompt: str = ""
    strength: np.ndarray | None = None
    edge: Edge = PASTED
    opacity: np.ndarray | None = None

    def __post_init__(self) -> None:
        check_whole("seed", self.seed, low=None)
        if self.pixels.dtype != np.uint8 or self.pixels.shape != (*self.hole.shape, 3) or self.hole.dtype != bool:
            raise UserError(f"{self.name}: a job takes pixels (H, W, 3) uint8 and a hole (H, W) bool of the same size")
        if self.hole.all() or not self.hole.any():
            what = "everything" if self.hole.all() else "nothing"
            raise UserError(f"{self.name}: the mask hides {what}; white is the hole, inverting turns it round")

    @property
    def hidden(self) -> np.ndarray:
        """What nothing may look at: the hole, or of a soft mask what is generated from the start."""
        return self.hole if self.strength is None else self.strength >= 1

    @property
    def noise_key(self) -> str:
        known = np.where(self.hidden[..., None], 0, self.pixels)
        mask = np.packbits(self.hole) if self.strength is None else self.strength.view(np.uint8)
        return self.key or f"{pixels_hash(known)}/{pixels_hash(mask)}/{self.hole.shape}"


@dataclass(frozen=True)
class WindowTrace:
    """How a window was filled.

    Attributes:
        dce: what IS-Diff's criterion said of each attempt; None where it was not asked.
        chosen: which attempt was kept.
        start_timesteps: where each began.
    """

    window: Window
    dce: list[float | None]
    chosen: int
    start_timesteps: list[float]
    network_calls: int
    seconds: float


@dataclass
class Filled:
    """The result of a job.

    Attributes:
        values: (H, W, 3) float32 in 0..255; 0 outside of the hole.
        seed_values: the same with IS-Diff's seed in the hole; None without one, or where it was not asked for.
        trace: of its windows, in their order.
        failure: why there is no result (``values`` then hold nothing of use).
    """

    job: Job
    values: np.ndarray
    seed_values: np.ndarray | None = None
    trace: list[WindowTrace] = field(default_factory=list)
    failure: str | None = None

    def paste(self, values: np.ndarray) -> np.ndarray:
        """Put values into the picture's hole, (H, W, 3) uint8."""
        return self.into(picture_of(self.job.pixels), values)

    def into(self, picture: Picture, values: np.ndarray | None = None) -> Any:
        """Put them, by default the result's, into the hole of a picture as its caller has it."""
        return picture.filled(self.values if values is None else values, self.job.hole, self.job.opacity)


class Canvas:
    """A picture on its way: what is open yet, and which windows are next."""

    def __init__(self, job: Job, sizes: Sizes) -> None:
        self.job, self.key = job, job.noise_key
        self.pixels, self.open = mirror(job.pixels), mirror(job.hole)
        self.values = np.zeros(self.pixels.shape, np.float32)  # memory is taken where it is written to
        self.weight = np.zeros(self.open.shape, np.float32)  # of what was made; less than 1: it is made again
        self.blank = self.open.copy()  # where nothing stands yet, not even a coarse fill
        self.seeds: np.ndarray | None = None
        self.windows = plan(self.open, sizes)
        self.rounds = deque(rounds(self.windows))
        self.traces: dict[int, WindowTrace] = {}
        self.waits = 0  # windows of this round that are not filled yet

    def next_round(self) -> list[int]:
        numbers = self.rounds.popleft() if self.rounds else []
        self.waits = len(numbers)
        return numbers

    def stream(self, number: int, attempt: int) -> Stream:
        """Name the noise of an attempt at a window; the first window's is that of a run's image."""
        return Stream(self.job.seed, f"{self.key}/{number}" if number else self.key, attempt)

    def guess(self, number: int) -> np.ndarray | None:
        """Take what stands in the window, if that is something everywhere and finer windows are to begin with it."""
        area = self.windows[number].area
        return None if self.blank[area].any() or self.windows[number].coarse else self.pixels[area]

    def blended(self, number: int, picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Blend what was made into the window's open pixels (N, 3); say how much they count then."""
        window = self.windows[number]
        hole = self.open[window.area]
        before, values = self.weight[window.area][hole], self.values[window.area][hole]
        own = (1 - before) * window.weight(self.open.shape)[hole]
        return values + (own / (before + own))[:, None] * (picture[hole] - values), before + own

    def fill(self, number: int, picture: np.ndarray, seed: np.ndarray | None, trace: WindowTrace) -> None:
        """Put what was made, (h, w, 3) in 0..255, where the window has open pixels, blended with what stands there."""
        window = self.windows[number]
        area, hole = window.area, self.open[window.area].copy()
        picture = self.job.edge.matched(picture, self.pixels[area], ~hole)
        self.values[area][hole], weight = self.blended(number, picture)
        self.pixels[area][hole] = np.rint(self.values[area][hole]).astype(np.uint8)
        if seed is not None:
            self.seeds = np.zeros(self.values.shape, np.float32) if self.seeds is None else self.seeds
            self.seeds[area][hole] = seed[hole]
        self.blank[area] = False
        if not window.coarse:
            self.weight[area][hole] = weight
            self.open[area] &= self.weight[area] < SETTLED
        self.traces[number] = trace
        self.waits -= 1

    def result(self, failure: str | None = None) -> Filled:
        height, width = self.job.hole.shape
        seeds = None if self.seeds is None else self.seeds[:height, :width]
        trace = [self.traces[n] for n in sorted(self.traces)]
        values = self.values[:height, :width]
        if failure is None:
            values = self.job.edge.evened(values, self.job.pixels, self.job.hole)
        return Filled(self.job, values, seeds, trace, failure)


@dataclass(frozen=True, eq=False)
class Glimpse:
    """A picture while it is sampled; to be looked at before the next network batch.

    Attributes:
        live: its windows that are in the loop, each with its number.
    """

    canvas: Canvas
    live: Sequence[tuple[int, Live]]
    prior: Prior

    @property
    def dce(self) -> list[float]:
        """What IS-Diff's criterion said so far of attempts at these windows."""
        return [attempt.dce for _, image in self.live for attempt in image.attempts if attempt.dce is not None]

    @torch.inference_mode()
    def picture(self) -> tuple[np.ndarray, np.ndarray]:
        """Show the network's prediction, (H, W, 3) uint8, and where there is none yet, (H, W) bool."""
        canvas, pixels, hidden = self.canvas, self.canvas.pixels.copy(), self.canvas.open.copy()
        seen = [(number, image.tr.x0, image.tr.whole) for number, image in self.live if image.tr.x0 is not None]
        pictures = self.prior.decode([x0 for _, x0, _ in seen], [task for *_, task in seen]) if seen else []
        for (number, *_), picture in zip(seen, pictures, strict=True):
            window = canvas.windows[number]
            values, _ = canvas.blended(number, from_model(picture, window.shape))
            pixels[window.area][canvas.open[window.area]] = np.rint(values).astype(np.uint8)
            hidden[window.area] = False
        height, width = canvas.job.hole.shape
        return pixels[:height, :width], hidden[:height, :width]
