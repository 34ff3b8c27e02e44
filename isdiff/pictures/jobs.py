"""A stream of anyone's pictures through a method and a model: composed, built and sampled as runs are.

Each picture goes window by window (:mod:`isdiff.pictures.windows`); windows of several pictures share network
batches. The result for a picture depends on the configuration, its seed, its known pixels and its hole alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from PIL import Image

from isdiff.config.settings import text_of
from isdiff.data.images import to_tensor
from isdiff.diffusion.schedule import TimestepPlan
from isdiff.engine import Live, Result
from isdiff.errors import UserError
from isdiff.method import Method
from isdiff.models.base import Model
from isdiff.pictures.canvas import Canvas, Filled, Glimpse, Job, WindowTrace
from isdiff.pictures.choices import compose_pictures
from isdiff.pictures.familiar import known_of
from isdiff.pictures.windows import Sizes, from_model, mirror, resize, to_model
from isdiff.process_state import with_own_defaults
from isdiff.runs.experiment import Experiment, Inputs
from isdiff.trajectory import Stream, Task

PIXELS = 1 << 24  # of pictures that are under way: while they have fewer another one is begun


@dataclass
class WindowExperiment(Experiment):
    """An experiment whose images are windows of canvases; ``places`` says which, by the image's id."""

    places: dict[str, tuple[Canvas, int]] = field(default_factory=dict)

    def read(self, image_id: str) -> Inputs:
        canvas, number = self.places[image_id]
        window = canvas.windows[number]
        shape = Sizes(self.setup.model.image_size).shape(window)
        return Inputs(*to_model(canvas.pixels[window.area], canvas.open[window.area], shape), [])

    def task(self, image_id: str, inputs: Inputs | None = None) -> Task:
        canvas, number = self.places[image_id]
        task, guess = super().task(image_id, inputs), canvas.guess(number)
        if canvas.job.strength is not None:
            task = self.softened(task, canvas, number)
        if guess is None:
            return task
        height, width = task.hole.shape[1:]
        guess, _ = to_model(guess, np.zeros(guess.shape[:2], bool), (height, width))
        return replace(task, guess=to_tensor(guess).to(self.device))

    def softened(self, task: Task, canvas: Canvas, number: int) -> Task:
        """The task of a soft mask: the image is there where the mask is gray, and the mask's strength."""
        area, (height, width) = canvas.windows[number].area, task.hole.shape[1:]
        assert canvas.job.strength is not None
        strength = np.where(canvas.open[area], mirror(canvas.job.strength)[area], 0)
        pixels, hidden = to_model(canvas.pixels[area], strength >= 1, (height, width))
        small = resize(strength, (height, width), Image.Resampling.BILINEAR).clip(1e-3, 1)
        strengths, blank = (torch.from_numpy(each)[None].to(self.device) for each in (small, hidden))
        image = to_tensor(pixels).to(self.device).masked_fill(blank, 0.0)
        return replace(task, image=image, strength=strengths.masked_fill(blank, 1.0) * task.hole)

    def stream(self, image_id: str, attempt: int) -> Stream:
        canvas, number = self.places[image_id]
        return canvas.stream(number, attempt)

    def prompt(self, image_id: str) -> str:
        return self.places[image_id][0].job.prompt if self.setup.prompt == "caption" else self.setup.prompt


class Feed:
    """Tasks for the engine, which asks again after it was told that there is none.

    A window that has been filled may have made others ready. Another picture is begun only where no window of those
    under way is ready.
    """

    def __init__(self, experiment: WindowExperiment, jobs: Iterable[Job], sizes: Sizes) -> None:
        self.experiment, self.jobs, self.sizes = experiment, iter(jobs), sizes
        self.ready: deque[tuple[Canvas, int]] = deque()
        self.failed: list[Filled] = []
        self.begun = self.windows = self.filled = self.asked = 0

    def __iter__(self) -> Feed:
        return self

    def __next__(self) -> Task:
        while True:
            while not self.ready:
                if sum(canvas.open.size for canvas in {c for c, _ in self.experiment.places.values()}) >= PIXELS:
                    raise StopIteration
                canvas = Canvas(self.checked(next(self.jobs)), self.sizes)
                self.windows += len(canvas.windows)
                self.begun += 1
                self.begin_round(canvas)
            canvas, number = self.ready.popleft()
            self.asked += 1  # jobs may have the same name
            name = f"{canvas.job.name} (seed {canvas.job.seed}, part {number + 1}, {self.asked})"
            self.experiment.places[name] = canvas, number
            try:
                return self.experiment.ready(name).task
            except UserError as error:
                self.drop(name, str(error).replace(name, canvas.job.name))

    def checked(self, job: Job) -> Job:
        setup = self.experiment.setup
        if job.strength is not None and (setup.conditioning is not None or not setup.asks):
            what = "takes no soft mask and no feather: it does not work on pixels with a model"
            raise UserError(f"method {setup.label} {what}; edge=feather blends results of every method")
        return job

    def begin_round(self, canvas: Canvas) -> None:
        self.ready.extend((canvas, number) for number in canvas.next_round())

    def drop(self, name: str, failure: str) -> None:
        """Give a picture up, with all of its windows."""
        canvas, _ = self.experiment.places.pop(name)
        self.ready = deque(entry for entry in self.ready if entry[0] is not canvas)
        if canvas.waits:  # the first of its windows that failed
            canvas.waits = 0
            canvas.rounds.clear()
            self.failed.append(canvas.result(failure))


class Inpainter:
    """A method with its model, loaded once, for any number of pictures.

    Args:
        method: a name of ``configs/method``, or an :class:`isdiff.Method`.
        model: a name of ``configs/model``, or a model object, such as an :class:`isdiff.LoadedModel` around a prior.
            Default: ``patches`` for methods that work on pixels, the method's own for latent ones.
        prompt: for latent models; ``@path`` is the text in a file, ``caption`` every job's own.
        steps: of the sampler; default: 50 for models of any size, the method's own for others.
        size: side at which the model works, in the place of its own.
        reduction, context: see :class:`isdiff.pictures.windows.Sizes`.
        overrides: further ones of a run, ``["sampler.repeat=1"]``.
    """

    @with_own_defaults
    def __init__(
        self,
        method: str | Method = "ddnm+isdiff",
        model: str | Model | None = None,
        *,
        prompt: str = "",
        negative_prompt: str = "",
        steps: int | None = None,
        size: int | None = None,
        reduction: float = 4.0,
        context: float = 0.5,
        overrides: Sequence[str] = (),
    ) -> None:
        cfg = compose_pictures(method, model, steps, size, overrides)
        if isinstance(method, Method):
            if negative_prompt:
                raise UserError("negative_prompt is an argument of this method's Conditioning; leave it out here")
            plan = method.steps if steps is None else TimestepPlan(**{**method.steps.arguments, "steps": steps})
            method = replace(method, steps=plan, conditioning=copy(method.conditioning))
        objects = {"method": method if isinstance(method, Method) else None,
                   "model": model if isinstance(model, Model) else None}  # fmt: skip
        texts = {"prompt": text_of(prompt), "negative_prompt": text_of(negative_prompt)}
        self.experiment = WindowExperiment.of(cfg, **objects, **texts)
        if (asking := self.experiment.setup.conditioning) is not None:
            asking.whole = True
        self.sizes = Sizes(self.experiment.setup.model.image_size, reduction, context)
        self.feed: Feed | None = None

    @property
    def label(self) -> str:
        """The method's name for people."""
        return self.experiment.setup.label

    @property
    def model(self) -> str:
        """The model's name."""
        return self.experiment.setup.model.name

    def name_of(self, job: Job) -> str:
        """The method and the model that a picture takes, for people."""
        return f"{self.label} with {self.model}" if self.experiment.setup.asks else self.label

    def method_hash(self, job: Job) -> str:
        """A hash of the method and the model that a picture takes, with all options."""
        return f"{self.experiment.hash}/{self.sizes}"

    @property
    def squares(self) -> str:
        """How many squares of the pictures under way are filled; empty where each takes one."""
        feed = self.feed
        return f"{feed.filled}/{feed.windows} squares" if feed and feed.windows > feed.begun else ""

    @property
    def ready(self) -> bool:
        """Whether the model's weights are here."""
        return not self.experiment.setup.model.missing()

    def load(self) -> None:
        """Load the model now and not with the first picture."""
        _ = self.experiment.prior

    def unlike(self, job: Job) -> bool:
        """Tell whether what is known of a picture looks unlike the images that the model was trained on.

        That was measured for the shipped networks (``benchmarks/familiar.py``); others say no.
        """
        model = self.experiment.setup.model
        known, side = known_of(model.weights), model.image_size
        return known is not None and side is not None and known.is_far(job.pixels, job.hole, side)

    def unlike_said(self, names: Sequence[str]) -> str:
        """Write a sentence for pictures that are :meth:`unlike`."""
        more = f" and {len(names) - 1} more are" if len(names) > 1 else " is"
        knows = self.experiment.setup.config["model"].get("knows")
        images = f"{self.model} knows, {knows}" if knows else f"{self.model} was trained on"
        return f"{names[0]}{more} unlike the images that {images}, so fills may not fit; isdiff models lists others"

    @with_own_defaults
    def stream(
        self,
        jobs: Iterable[Job],
        *,
        seeds: bool = False,
        progress: Callable[[int], None] = lambda count: None,
        expected: Callable[[float], None] = lambda calls: None,
        watch: Callable[[Sequence[Glimpse]], None] | None = None,
        stop: Callable[[], bool] = lambda: False,
    ) -> Iterator[Filled]:
        """Yield what comes of jobs, as they finish; one that fails leaves the others alone.

        Args:
            seeds: whether to show IS-Diff's seeds too.
            progress: hears of every network batch how many windows were in it.
            expected: hears about how many network calls a job takes, as they begin.
            watch: sees after every network batch the pictures that are under way; results do not depend on it.
            stop: asked before every network batch; once it says yes, what is not finished is given up.
        """
        experiment = self.experiment
        experiment.places.clear()
        feed = self.feed = Feed(experiment, jobs, self.sizes)
        engine = experiment.engine(stream=lambda _, image_id, attempt: experiment.stream(image_id, attempt), stop=stop)
        calls = engine.calls_expected()

        def heard(count: int) -> None:
            expected(calls * feed.windows / max(1, feed.begun))
            progress(count)

        engine.progress = heard
        if watch is not None:
            engine.watch = lambda live: watch(self.glimpses(live))
        for result in engine.run(feed):
            canvas, number = experiment.places[result.task.id]
            if result.failure:
                feed.drop(result.task.id, result.failure)
            elif canvas.waits:  # else a window beside this one failed
                self.take(result, canvas, number, seeds)
                feed.filled += 1
                if not canvas.waits:
                    feed.begin_round(canvas)
                    if not canvas.waits:
                        yield canvas.result()
            experiment.places.pop(result.task.id, None)
            yield from feed.failed
            feed.failed.clear()
        yield from feed.failed

    def glimpses(self, live: Sequence[Live]) -> list[Glimpse]:
        """Give a glimpse of every picture that has windows in the loop."""
        found: dict[Canvas, list[tuple[int, Live]]] = {}
        for image in live:
            canvas, number = self.experiment.places[image.tr.whole.id]
            found.setdefault(canvas, []).append((number, image))
        return [Glimpse(canvas, windows, self.experiment.prior) for canvas, windows in found.items()]

    def take(self, result: Result, canvas: Canvas, number: int, seeds: bool) -> None:
        """Put a finished window onto its canvas."""
        window, attempts = canvas.windows[number], result.attempts
        dce, starts = [a.dce for a in attempts], [a.start_timestep for a in attempts]
        trace = WindowTrace(window, dce, result.chosen, starts, result.calls, result.seconds)
        seed = None
        if seeds and result.task.guess is None:
            clean = self.experiment.setup.start.composed(result.task, canvas.stream(number, result.chosen))
            if clean is not None:
                seed = from_model(self.experiment.prior.decode([clean], [result.task])[0], window.shape)
        canvas.fill(number, from_model(result.picture, window.shape), seed, trace)
