"""The work behind the page: a request, checked against the limits, becomes variants of a picture."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from isdiff.app.catalog import method_of
from isdiff.app.photo import Photo
from isdiff.checks import check_number, check_whole
from isdiff.errors import UserError
from isdiff.io.contact_sheet import with_hole
from isdiff.models.base import NO_MODEL
from isdiff.pictures.canvas import Filled, Glimpse, Job
from isdiff.pictures.inpaint import job_of
from isdiff.pictures.jobs import Inpainter
from isdiff.pictures.windows import mirror, plan
from isdiff.runs.experiment import ModelCache

MOST_STEPS = 250
TOP_SEED = 2**31 - 1
LONGEST_PROMPT = 500
BETWEEN_SIGHTS = 0.4  # seconds


@dataclass(frozen=True)
class Limits:
    """What a visitor may ask for.

    Args:
        megapixels: of a photo.
        variants: side by side.
        waiting: requests in the line.
        crops: that the holes of one picture may take.
    """

    megapixels: float = 16
    variants: int = 4
    waiting: int = 8
    crops: int = 64

    def __post_init__(self) -> None:
        check_number("megapixels", self.megapixels, low=0.001)
        for name in ("variants", "waiting", "crops"):
            check_whole(name, getattr(self, name))


@dataclass(frozen=True, eq=False)
class Order:
    """What a visitor asks for.

    Attributes:
        hole: (H, W) bool.
        strength: start step of IS-Diff's first attempt; None for the model's own. Other methods have none.
        seed: of the first variant; each further one has the next.
    """

    photo: Photo
    hole: np.ndarray
    method: str
    model: str
    prompt: str = ""
    strength: float | None = None
    steps: int = 50
    seed: int = 0
    variants: int = 1

    def check(self, limits: Limits) -> None:
        """Refuse what there is not, what cannot work, and what is beyond the limits."""
        method = method_of(self.method)
        if self.model not in method.models:
            models = ", ".join(method.models)
            raise UserError(f"model {self.model} does not go with method {self.method}; here {models} do")
        if self.prompt and not method.latent:
            raise UserError(f"method {self.method} takes no prompt; leave it empty, or take a latent method")
        if len(self.prompt) > LONGEST_PROMPT:
            raise UserError(f"the prompt has {len(self.prompt)} letters and may have {LONGEST_PROMPT}; shorten it")
        for name, value, low, high in (
            ("steps", self.steps, 1, MOST_STEPS),
            ("seed", self.seed, 0, TOP_SEED),
            ("variants", self.variants, 1, limits.variants),
        ):
            check_whole(name, value, low)
            if value > high:
                raise UserError(f"{name} is {value}; this page takes up to {high}")
        if self.strength is not None:
            check_number("strength", self.strength, high=1)
        if not self.hole.any():
            raise UserError("there is no hole yet: paint over a part of the picture, or pick a mask")

    def jobs(self) -> list[Job]:
        """One for each variant. The prompt is the job's, so that no ``@file`` in it is ever opened."""
        seeds = range(self.seed, self.seed + self.variants)
        return [job_of(self.photo.picture, self.hole, seed, prompt=self.prompt.strip()) for seed in seeds]


@dataclass(frozen=True, eq=False)
class Variant:
    """A result, or one on its way.

    Attributes:
        pixels: (H, W, 3) uint8, hatched where nothing is known yet.
        dce: of its attempts so far.
        filled: the finished result.
        image: the same, of the photo's kind.
        advice: a sentence where the photo is unlike the model's images.
    """

    seed: int
    pixels: np.ndarray
    dce: list[float]
    filled: Filled | None = None
    image: Any = None
    advice: str = ""

    @property
    def seed_pixels(self) -> np.ndarray | None:
        """With IS-Diff's seed in the hole; None for methods without one."""
        filled = self.filled
        return None if filled is None or filled.seed_values is None else filled.paste(filled.seed_values)


@dataclass(frozen=True, eq=False)
class Sight:
    """What can be seen of the work: how much of it is done, about how long it will take, and the variants."""

    share: float
    seconds_left: float | None
    variants: list[Variant]


class Studio:
    """Keeps the last model loaded from one order to the next."""

    def __init__(self, limits: Limits) -> None:
        self.limits, self.model_cache = limits, ModelCache()

    def inpainter(self, order: Order) -> Inpainter:
        """The one for an order, with the model of an earlier one where it is the same."""
        overrides = [] if order.strength is None else [f"isdiff.start.step={order.strength}"]
        prompt, model = "caption" if order.prompt.strip() else "", None if order.model == NO_MODEL else order.model
        found = Inpainter(order.method, model, prompt=prompt, steps=order.steps, overrides=overrides)
        found.experiment.model_cache = self.model_cache
        return found

    def make(
        self, order: Order, stop: Callable[[], bool], tell: Callable[[Sight], None] = lambda sight: None
    ) -> list[Variant]:
        """The variants of an order, in the order of their seeds; those that were finished before ``stop`` said yes.

        Args:
            tell: hears now and then what can be seen.
        """
        order.check(self.limits)
        jobs, picture = order.jobs(), order.photo.picture
        inpainter = self.inpainter(order)
        crops = len(plan(mirror(order.hole), inpainter.sizes))
        if crops > self.limits.crops:
            raise UserError(
                f"the hole takes {crops} crops for model {order.model}, and up to "
                f"{self.limits.crops} are made here; make the hole smaller, or the photo"
            )
        advice = inpainter.unlike_said([picture.name]) if inpainter.unlike(jobs[0]) else ""
        watcher = Watcher(order.variants, tell)
        for filled in inpainter.stream(
            jobs, seeds=True, progress=watcher.count, expected=watcher.expect, watch=watcher.watch, stop=stop
        ):
            if filled.failure:
                raise UserError(filled.failure)
            seed, image = filled.job.seed, filled.into(picture)
            dce = [value for window in filled.trace for value in window.dce if value is not None]
            watcher.variants[seed] = Variant(seed, filled.paste(filled.values), dce, filled, image, advice)
        return [variant for _, variant in sorted(watcher.variants.items()) if variant.filled]


class Watcher:
    """Turns what the stream says into sights, a few a second."""

    def __init__(self, count: int, tell: Callable[[Sight], None]) -> None:
        self.asked, self.tell = count, tell
        self.begun, self.told = 0.0, 0.0  # when the first batch was done, and when it was told last
        self.calls, self.warm_up, self.expected = 0, 0, 1.0  # warm_up: calls of the first batch, which takes longer
        self.variants: dict[int, Variant] = {}

    def count(self, calls: int) -> None:
        """So many network calls were made."""
        self.calls += calls
        if not self.begun:
            self.begun, self.warm_up = time.monotonic(), calls

    def expect(self, calls: float) -> None:
        """A variant takes about so many network calls."""
        self.expected = max(calls, 1.0)

    def watch(self, glimpses: Sequence[Glimpse]) -> None:
        """Tell what can be seen now, if the last time is a while ago."""
        if (now := time.monotonic()) - self.told < BETWEEN_SIGHTS:
            return
        self.told = now
        for glimpse in glimpses:
            seed = glimpse.canvas.job.seed
            self.variants[seed] = Variant(seed, with_hole(*glimpse.picture()), glimpse.dce)
        calls, since = self.expected * self.asked, self.calls - self.warm_up
        share = min(self.calls / calls, 0.99)
        left = (now - self.begun) / since * max(calls - self.calls, 0) if since else None
        self.tell(Sight(share, left, [self.variants[seed] for seed in sorted(self.variants)]))
