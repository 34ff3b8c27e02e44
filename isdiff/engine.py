"""The one sampling loop.

Every image is a sampler's generator with its own plan, noise and attempts. A tick gathers what all live generators ask
for into one network batch, whatever timestep each is at, and sends the answers back; a finished image's place is taken
by the next one at once. A sampler sees a single image, so nothing can leak between images.
"""

import time
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import KW_ONLY, dataclass, field
from itertools import pairwise

import torch
from torch import Tensor

from isdiff.diffusion.grid import Grid
from isdiff.known import KnownRegion
from isdiff.prediction import Prediction
from isdiff.priors.base import Prior
from isdiff.process_state import with_own_defaults
from isdiff.refine import Refinement
from isdiff.samplers.base import Pull, Sampler, Steps
from isdiff.seeds.base import NoiseStart, Start
from isdiff.trajectory import Attempt, Stream, Task, Trajectory


@dataclass(frozen=True)
class Result:
    """A finished image: ``picture`` (3, H, W) in [-1, 1] as the sampler left it, and how it came about.

    ``x`` (C, H, W) is the same in the model's own space.

    ``seconds`` is this image's encoders, first seed, and share of the time of every tick it took part in; ``chosen`` is
    the attempt used.
    ``failure`` says why there is no picture to use (then ``x`` and ``picture`` hold whatever was there).
    """

    task: Task
    x: Tensor
    picture: Tensor
    calls: int
    seconds: float
    attempts: tuple[Attempt, ...]
    chosen: int
    failure: str | None = None


NOT_FINITE = (
    "the network's answers are not finite numbers (NaN or infinite); check its weights, or try runtime.precision=fp32"
)
GUESSED = 0.4  # of the process: where a task with a guess begins
BAD_IMAGE = "its known pixels are not finite numbers (NaN or infinite); give another image"


@dataclass
class Live:
    """One image in the loop: its current attempt, and what all its attempts cost and showed."""

    tr: Trajectory
    steps: Steps
    # the noisy image and its index that wait for the network; None when the attempt is at its end
    asked: tuple[Tensor, int] | None
    judged: bool = False
    chosen: int | None = None  # number of the attempt that is kept, once that is decided
    calls: int = 0
    seconds: float = 0.0
    attempts: list[Attempt] = field(default_factory=list)
    # those up to this one, each with its generator paused where it can be taken up again; None for one that cannot be
    # kept any more
    judged_attempts: list["Live | None"] = field(default_factory=list)
    # one of each answer, which is not finite where the answer is not. Cheaper than ``isfinite``, and looked at only
    # where the loop waits for the device anyway
    sums: list[Tensor] = field(default_factory=list)
    broken: bool = False

    def answer(self, prediction: Prediction) -> Pull | None:
        """Go on with the network's answer; returns what the sampler asks about it, if anything."""
        self.calls += 1
        self.sums.append(prediction.noise.float().sum())
        return self.send(prediction)

    def send(self, answer: Prediction | Tensor) -> Pull | None:
        try:
            asked = self.steps.send(answer)
        except StopIteration:
            asked = None
        if isinstance(asked, Pull):
            return asked
        self.asked = asked
        return None

    @property
    def finite(self) -> bool:
        """Whether all answers so far were; waits for the device."""
        return not self.sums or bool(torch.isfinite(torch.stack(self.sums)).all())

    @property
    def finished(self) -> bool:
        return self.broken or self.asked is None


def calls_expected(plan: Callable[[int], Sequence[int]], start: Start, grid: Grid, sampler: Sampler) -> int:
    """Network calls of an image whose first attempt passes; the arguments are those of :class:`Engine`."""
    walked = plan(start.begin_index(0, grid) + 1)
    return start.calls(grid) + sum(later < earlier for earlier, later in pairwise(walked)) * sampler.calls_per_step


@dataclass(eq=False)
class Engine:
    """The sampling loop: it serves many images with each network call.

    Args:
        prior: the model.
        grid: timesteps and noise levels.
        sampler: how an image moves through them.
        known: what happens to its known region on the way.
        plan: from the number of steps left to the list of indices to walk, e.g. ``resampling_plan``.
        start: first state of each attempt; pure noise by default.
        refinement: judges attempts at a checkpoint; None lets the first one run through.
        batch_size: most images in one network call.
        pixels: another image is begun only while those in the loop have fewer, where images are of any size.
        run_seed: with an image's id it fixes all of the image's noise.
        stream: source of noise, replaceable to replay recorded noise.
        progress: called after every network batch with the number of images in it.
        watch: sees all that are in the loop after every network batch, before finished ones leave it; to look at only.
        stop: asked before every network batch; once it says yes, no more results come.
    """

    prior: Prior
    grid: Grid
    sampler: Sampler
    known: KnownRegion
    plan: Callable[[int], Sequence[int]]
    _: KW_ONLY
    start: Start = field(default_factory=NoiseStart)
    refinement: Refinement | None = None
    batch_size: int = 16
    pixels: float = float("inf")
    run_seed: int = 0
    stream: Callable[[int, str, int], Stream] = Stream
    progress: Callable[[int], None] = lambda count: None
    watch: Callable[[Sequence[Live]], None] = lambda live: None
    stop: Callable[[], bool] = lambda: False

    def calls_expected(self) -> int:
        """Network calls of an image whose first attempt passes."""
        return calls_expected(self.plan, self.start, self.grid, self.sampler)

    @with_own_defaults
    @torch.inference_mode()
    def run(self, tasks: Iterable[Task]) -> Generator[Result]:
        """Yield results as they finish, in no particular order."""
        live: list[Live] = []
        waiting = iter(tasks)  # asked again after an end, as jobs want
        while True:
            while self.has_room(live) and (task := next(waiting, None)) is not None:
                begun = time.perf_counter()
                if not torch.isfinite(task.image.masked_fill(task.hole, 0.0)).all():
                    picture = self.prior.decode([task.image], [task])[0]
                    yield Result(task, task.image, picture, 0, 0.0, (), 0, BAD_IMAGE)
                    continue
                live.append(self.begin(task))
                live[-1].seconds = task.seconds + time.perf_counter() - begun
                if live[-1].finished:  # then that was all of the work, and nobody waits for others
                    break
            if not live or self.stop():
                return
            if asking := [image for image in live if not image.finished]:
                live = [image for image in live if image.finished]
                self.tick(asking)
                live += asking
                self.watch(live)
            done = [image for image in live if image.finished]
            yield from map(self.result, done, self.timed_pictures(done))
            live = [image for image in live if not image.finished]

    def has_room(self, live: Sequence[Live]) -> bool:
        return len(live) < self.batch_size and sum(image.tr.whole.hole.numel() for image in live) < self.pixels

    def timed_pictures(self, done: list[Live]) -> Sequence[Tensor]:
        begun = time.perf_counter()
        for image in done:
            # Both: a rule's clamping can hide an infinite answer, and its own arithmetic can overflow.
            image.broken = not (image.finite and torch.isfinite(image.tr.x).all())
        pictures = self.prior.decode([image.tr.x for image in done], [image.tr.whole for image in done])
        share = (time.perf_counter() - begun) / max(1, len(done))
        for image in done:
            image.seconds += share
        return pictures

    def begin(self, task: Task, before: Live | None = None) -> Live:
        """The next attempt at ``task``, up to its first request."""
        history = list(before.attempts) if before else []
        stream = self.stream(self.run_seed, task.id, len(history))
        if task.guess is None:
            x, index = self.start.begin(task, stream, len(history), self.grid)
        else:
            index = self.grid.index_at(GUESSED)
            x = self.grid.noised(task.guess, stream.normal(like=task.guess), index)
        tr = Trajectory(task, stream, tuple(self.plan(index + 1)), x)
        steps = self.walk(tr)
        asked = next(steps, None)  # a sampler may ask for nothing at all
        image = Live(tr, steps, asked, attempts=[*history, Attempt(self.grid.timesteps[index])])
        if before:
            image.calls, image.seconds, image.judged_attempts = before.calls, before.seconds, before.judged_attempts
        return image

    def walk(self, tr: Trajectory) -> Steps:
        if tr.task.guess is None:
            yield from self.start.improve(tr, self.grid)
        yield from self.sampler(tr, self.grid, self.known)

    def tick(self, live: list[Live]) -> None:
        """One network call for all of ``live`` and every step that follows from it; replaces restarted entries."""
        begun = time.perf_counter()
        asked = [image.asked for image in live if image.asked is not None]
        timesteps = [self.grid.timesteps[index] for _, index in asked]
        before = [image.tr.x0 for image in live]
        if self.sampler.pulls:
            self.answer_with_gradients(live, asked, timesteps)
        else:
            answers = self.prior.predict([x for x, _ in asked], timesteps, [image.tr.whole for image in live])
            for image, answer in zip(live, answers, strict=True):
                image.answer(answer)
        due = []
        for slot, (image, (_, index), x0) in enumerate(zip(live, asked, before, strict=True)):
            stepped = image.tr.x0 is not x0  # an answer may serve what a sampler does between its steps
            if self.refinement and stepped and not image.judged and self.refinement.due(index, self.grid):
                image.broken = not image.finite
                due += [] if image.broken else [slot]
        guesses = [x0 for slot in due if (x0 := live[slot].tr.x0) is not None]  # after a step there always is one
        pictures = self.prior.decode(guesses, [live[slot].tr.whole for slot in due])
        for slot, picture in zip(due, pictures, strict=True):
            live[slot] = self.refine(live[slot], picture)
        share = (time.perf_counter() - begun) / len(live)
        for image in live:
            image.seconds += share
        self.progress(len(live))

    def answer_with_gradients(self, live: list[Live], asked: list[tuple[Tensor, int]], timesteps: list[float]) -> None:
        """One network call, and backward passes for all images whose samplers ask, as long as one does."""
        with torch.inference_mode(False), torch.enable_grad():
            inputs = [x.clone().requires_grad_() for x, _ in asked]
            answers = self.prior.predict(inputs, timesteps, [image.tr.whole for image in live])
            clean = [a.x0(x, self.grid, i) for a, x, (_, i) in zip(answers, inputs, asked, strict=True)]
        pulls = [image.answer(answer.detached()) for image, answer in zip(live, answers, strict=True)]
        asking = {n: pull for n, pull in enumerate(pulls) if pull is not None}
        while asking:
            with torch.inference_mode(False):
                vectors = [pull.vector.clone() for pull in asking.values()]
                found = torch.autograd.grad(
                    [clean[n] for n in asking], [inputs[n] for n in asking], vectors, retain_graph=True
                )
            answered = {n: live[n].send(gradient) for n, gradient in zip(asking, found, strict=True)}
            asking = {n: pull for n, pull in answered.items() if pull is not None}

    def refine(self, image: Live, picture: Tensor) -> Live:
        """The attempt to go on with: a fresh one, or the one that is kept, this or an earlier one."""
        assert self.refinement is not None
        dce = self.refinement.judge(image.tr.whole, picture)
        image.judged, image.attempts[-1].dce = True, dce
        judged = [attempt.dce for attempt in image.attempts if attempt.dce is not None]
        everyone = [*image.judged_attempts, image]
        if (decided := self.refinement.decide(judged)) is not None:
            kept = everyone[decided]
            assert kept is not None
            kept.calls, kept.seconds, kept.attempts, kept.chosen = image.calls, image.seconds, image.attempts, decided
            return kept
        may_be_kept = {0, judged.index(min(judged))}
        image.judged_attempts = [one if number in may_be_kept else None for number, one in enumerate(everyone)]
        return self.begin(image.tr.whole, image)

    def result(self, image: Live, picture: Tensor) -> Result:
        chosen = len(image.attempts) - 1 if image.chosen is None else image.chosen
        failure = NOT_FINITE if image.broken else None
        return Result(
            image.tr.whole, image.tr.x, picture, image.calls, image.seconds, tuple(image.attempts), chosen, failure
        )
