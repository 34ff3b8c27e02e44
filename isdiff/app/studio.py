"""The work behind the page: a request, checked against the limits, becomes variants of a picture."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from isdiff.app.catalog import method_of
from isdiff.app.photo import Photo
from isdiff.checks import check_number, check_whole
from isdiff.errors import UserError
from isdiff.io.contact_sheet import with_hole
from isdiff.models.base import NO_MODEL
from isdiff.pictures.canvas import Filled, Glimpse, Job
from isdiff.pictures.edges import PASTED, Edge
from isdiff.pictures.inpaint import job_of
from isdiff.pictures.jobs import Inpainter
from isdiff.pictures.picture import picture_of
from isdiff.pictures.windows import Sizes, mirror, plan
from isdiff.progress import Reporter
from isdiff.runs.experiment import ModelCache

LONGEST_PROMPT, BETWEEN_SIGHTS = 500, 0.4  # letters, seconds
SEARCH = 10  # times a known pixel that a hidden one costs models of any size, which search for it


@dataclass(frozen=True)
class Limits:
    """What a visitor may ask for."""

    megapixels: float = 16  # of a photo
    variants: int = 4  # side by side
    waiting: int = 8  # requests in the line
    crops: int = 64  # that the holes of one picture may take

    def __post_init__(self) -> None:
        check_number("megapixels", self.megapixels, low=0.001)
        for name in ("variants", "waiting", "crops"):
            check_whole(name, getattr(self, name))


@dataclass(frozen=True, eq=False)
class Order:
    """What a visitor asks for; the page's parts keep its numbers within their bounds."""

    photo: Photo
    hole: np.ndarray  # (H, W) bool
    method: str
    model: str
    prompt: str = ""
    strength: float | None = None  # start step of IS-Diff's first attempt; None for the usual one
    edge: Edge = PASTED
    steps: int = 50
    seed: int = 0  # of the first variant; each further one has the next
    variants: int = 1

    def check(self) -> None:
        """Refuse what there is not, and what cannot work."""
        method = method_of(self.method)
        if self.model not in method.models:
            models = ", ".join(method.models)
            raise UserError(f"model {self.model} does not go with method {self.method}; here {models} do")
        if self.prompt and not method.latent:
            raise UserError(f"method {self.method} takes no prompt; leave it empty, or take a latent method")
        if len(self.prompt) > LONGEST_PROMPT:
            raise UserError(f"the prompt has {len(self.prompt)} letters and may have {LONGEST_PROMPT}; shorten it")
        if not self.hole.any():
            raise UserError("there is no hole yet: paint over a part of the picture, or pick a mask")

    def jobs(self) -> list[Job]:
        """One for each variant; the prompt is the job's, so that no ``@file`` is ever opened."""
        first = job_of(self.photo.picture, self.hole, self.seed, prompt=self.prompt.strip(), edge=self.edge)
        return [replace(first, seed=self.seed + n) for n in range(self.variants)]


@dataclass(frozen=True, eq=False)
class Variant:
    """A result, or one on its way."""

    seed: int
    pixels: np.ndarray  # (H, W, 3) uint8, hatched where nothing is known yet
    dce: list[float]  # of its attempts so far
    photo: Photo | None = None  # the finished result, of the photo's kind
    advice: str = ""  # a sentence where the photo is unlike the model's images


@dataclass(frozen=True, eq=False)
class Sight:
    """What can be seen of the work: how much of it is done, about how long it will take, and the variants."""

    share: float
    seconds_left: float | None
    variants: list[Variant]


class Studio:
    """Keeps the last model loaded from one order to the next, and remembers what they took."""

    def __init__(self, limits: Limits) -> None:
        self.limits, self.model_cache = limits, ModelCache()
        # What a method with a model took, in seconds a megapixel: before the first network call, and each call.
        self.costs: dict[tuple[str, str], tuple[float, float]] = {}
        self.calls: dict[tuple[Any, ...], tuple[int, Sizes]] = {}  # in a window, of a method, model, start and steps

    def inpainter(self, order: Order) -> Inpainter:
        """The one for an order, with the model of an earlier one where it is the same."""
        overrides = [] if order.strength is None else [f"isdiff.start.step={order.strength}"]
        prompt, model = "caption" if order.prompt.strip() else "", None if order.model == NO_MODEL else order.model
        found = Inpainter(order.method, model, prompt=prompt, steps=order.steps, overrides=overrides)
        found.experiment.model_cache = self.model_cache
        return found

    def seconds(self, order: Order) -> float | None:
        """About how long an order will take; None where nothing like it was measured yet."""
        if (cost := self.costs.get((order.method, order.model))) is None:
            return None
        key = order.method, order.model, order.strength, order.steps
        if key not in self.calls:
            inpainter = self.inpainter(order)
            self.calls[key] = inpainter.experiment.setup.calls_expected(), inpainter.sizes
        (before, each), (calls, sizes) = cost, self.calls[key]
        return (before + each * calls) * order.variants * sum(seen(order.jobs()[0].hole, sizes))

    def measure(self, method: str, model: str) -> None:
        """Fill a hole twice, so that it is known what that costs once the model is loaded and all of it is warm."""
        noise, hole = np.random.default_rng(0).integers(0, 256, (256, 384, 3), np.uint8), np.zeros((256, 384), bool)
        hole[96:160, 144:240] = True
        for steps in (2, 10):
            self.make(Order(Photo("sample", picture_of(noise)), hole, method, model, steps=steps), stop=lambda: False)
        self.costs.setdefault((method, model), (0.0, 0.0))  # what is too fast to be measured

    def make(
        self, order: Order, stop: Callable[[], bool], tell: Callable[[Sight], None] = lambda sight: None
    ) -> list[Variant]:
        """The variants of an order by seed, which are finished before ``stop`` says yes; ``tell`` hears of the work."""
        order.check()
        jobs, inpainter = order.jobs(), self.inpainter(order)
        megapixels = seen(jobs[0].hole, inpainter.sizes)
        if len(megapixels) > self.limits.crops:
            raise UserError(
                f"the hole takes {len(megapixels)} crops for model {order.model}, and up to "
                f"{self.limits.crops} are made here; make the hole smaller, or the photo"
            )
        advice = inpainter.unlike_said([order.photo.picture.name]) if inpainter.unlike(jobs[0]) else ""
        inpainter.load()
        watcher = Watcher(order.variants, tell, self.seconds(order))
        bar = watcher.reporter
        for filled in inpainter.stream(jobs, progress=bar.work, expected=bar.expect, watch=watcher.watch, stop=stop):
            if filled.failure:
                raise UserError(filled.failure)
            bar.finish(sum(window.network_calls for window in filled.trace))
            watcher.variants[filled.job.seed] = finished(order, filled, advice)
        warm, share = bar.warm or (bar.start, 0.0)
        passed, first = time.monotonic() - warm, share * bar.steps_expected  # calls of the first batch
        if passed > 0.1 and (calls := bar.all_steps - first) > 0.5:  # less would say nothing
            each = sum(megapixels) / len(megapixels)
            self.costs[order.method, order.model] = (warm - bar.start) / first / each, passed / calls / each
        return [variant for _, variant in sorted(watcher.variants.items()) if variant.photo]


def seen(hole: np.ndarray, sizes: Sizes) -> list[float]:
    """What each window that a hole takes costs, in megapixels that a model sees; hidden ones may cost more."""
    hidden, more = mirror(hole), SEARCH if sizes.model is None else 0
    return [
        math.prod(sizes.shape(window)) / 1e6 * (1 + more * float(hidden[window.area].mean()))
        for window in plan(hidden, sizes)
    ]


def finished(order: Order, filled: Filled, advice: str) -> Variant:
    """What is kept of a result."""
    photo, seed = order.photo, filled.job.seed
    made = picture_of(filled.into(photo.picture), photo.picture.name)
    dce = [value for window in filled.trace for value in window.dce if value is not None]
    result = Photo(photo.name, made, photo.info, f"{order.method}-seed{seed}")
    return Variant(seed, filled.paste(filled.values), dce, result, advice)


class Watcher:
    """Turns what the stream says into sights, a few a second; ``seconds`` were expected for all of it."""

    def __init__(self, count: int, tell: Callable[[Sight], None], seconds: float | None = None) -> None:
        self.tell, self.seconds, self.told = tell, seconds, 0.0
        self.reporter = Reporter("", count, quiet=True)
        self.variants: dict[int, Variant] = {}

    def watch(self, glimpses: Sequence[Glimpse]) -> None:
        """Tell what can be seen now, if the last time is a while ago."""
        if (now := time.monotonic()) - self.told < BETWEEN_SIGHTS:
            return
        self.told = now
        for glimpse in glimpses:
            seed = glimpse.canvas.job.seed
            self.variants[seed] = Variant(seed, with_hole(*glimpse.picture()), glimpse.dce)
        told = [self.variants[seed] for seed in sorted(self.variants)]
        left = self.reporter.numbers().get("seconds_left", self.seconds)
        self.tell(Sight(self.reporter.estimate() / self.reporter.total, left, told))
