"""One call of a pipeline with IS-Diff: attempts, retries of what fails, and the end of what is kept."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from isdiff.checks import check_whole
from isdiff.errors import UserError
from isdiff.plugin.pipelines import Kind
from isdiff.plugin.scheduler import Watched, check_known, grid_of, repeats, rows_of
from isdiff.plugin.tasks import merge, pick, prompts, stack_latents, tasks_of, texts_of
from isdiff.process_state import with_own_defaults
from isdiff.refine import Refinement
from isdiff.seeds.base import NoiseStart, Start
from isdiff.trajectory import Attempt, Stream


@dataclass
class Made:
    """How one image of a call came about: its attempts, which of them is kept (from 0), and its network calls.

    Until that is decided ``chosen`` is None.
    """

    attempts: list[Attempt] = field(default_factory=list)
    chosen: int | None = 0
    calls: int = 0


@dataclass
class Plugin:
    """What a pipeline was given, as ``pipe.isdiff``."""

    start: Start  # where attempts begin
    refinement: Refinement | None  # how they are judged; None where there is one attempt only
    run_seed: int | None = None  # with an image's id it fixes all of its noise; None: the call's generators do
    images: list[Made] = field(default_factory=list)  # of the latest call, how each of its images came about
    behind: int = 0  # steps that an attempt has made before the stock call that runs now


class Stopped(Exception):
    """Leaves a pipeline in the middle of a call, without decoding anything."""


@dataclass
class Leg:
    """A stretch of one attempt that one stock call samples."""

    attempt: int  # its number, from 0
    rows: list[int]  # which images of the batch take part
    states: Tensor  # (len(rows), C, h, w), the noisy latents that it begins with, as the scheduler has them
    slot: int  # the step that it begins with, from the noisiest, 0
    first: int  # that of the attempt's beginning
    noise: Tensor  # (len(rows), C, h, w), the attempt's noise in the known region
    history: dict[str, Any] | None = None  # of the scheduler, where it goes on with an attempt


class GivenNoise(Stream):
    """A stream whose first noise is the caller's."""

    first: Tensor | None = None

    def normal(self, like: Tensor) -> Tensor:
        drawn, self.first = self.first, None
        return super().normal(like) if drawn is None else drawn.to(like)


class Call:
    """One call of a pipeline, whose own ``__call__`` is ``stock``.

    It was called with ``given``, defaults included; ``image_ids`` name the images' noise where there is a ``run_seed``.
    """

    @with_own_defaults
    def __init__(
        self, pipe: Any, kind: type[Kind], stock: Callable, plugin: Plugin, given: Mapping[str, Any],
        image_ids: Sequence[str] | None = None,
    ) -> None:  # fmt: skip
        self.pipe, self.stock, self.plugin, self.given = pipe, stock, plugin, dict(given)
        self.start, self.refinement = plugin.start, plugin.refinement
        self.kind = kind(pipe, self.given)
        check_given(stock, self.kind)
        check_whole("num_inference_steps", self.given["num_inference_steps"])
        self.given["num_images_per_prompt"] = self.given["num_images_per_prompt"] or 1
        self.count = prompts(self.given) * self.given["num_images_per_prompt"]
        # Under offloading, pipe.device is where the modules wait, and not where they work.
        device = getattr(pipe, "_execution_device", pipe.device)
        self.set_levels()
        self.tasks, self.counts = tasks_of(self.kind, self.count, device, self.start.enough, self.start.needs_truth)
        self.keys = self.noise_keys(image_ids)
        if (noise := self.given.get("latents")) is not None:
            self.check_count("latents", noise)
            self.given["latents"] = self.kind.spatial(noise) if self.kind.takes_looped else noise
        self.streams: dict[tuple[int, int], Stream] = {}
        self.made = plugin.images = [Made() for _ in range(self.count)]
        self.paused: list[Leg] = []
        self.parts: dict[int, tuple[Any, int]] = {}
        self.interrupted = False

    def check_count(self, key: str, values: Any) -> None:
        if len(values) != self.count:
            raise UserError(f"there are {len(values)} {key} for {self.count} pictures; give one for each")

    def set_levels(self) -> None:
        """Find out the grid of the steps, how many they are, and what the pipeline multiplies given latents with."""
        check_known(self.pipe.scheduler, self.kind.schedulers)
        scheduler = Watched(self.pipe.scheduler).scheduler
        asked = self.kind.set_levels(scheduler)
        self.grid, self.scale = grid_of(scheduler), float(getattr(scheduler, "init_noise_sigma", 1.0))
        self.steps = asked or len(self.grid)
        if self.refinement and self.grid.index_at(self.refinement.checkpoint) < 1 + repeats(scheduler):
            raise UserError(
                f"no step of {self.steps} is left after the checkpoint at {self.refinement.checkpoint}; "
                "take more steps, a higher checkpoint or attempts=1"
            )

    def noise_keys(self, image_ids: Sequence[str] | None) -> list[tuple[int, str]]:
        """For each image the seed and the name that its noise follows from."""
        if self.plugin.run_seed is not None:
            ids = [f"{row}" for row in range(self.count)] if image_ids is None else list(image_ids)
            self.check_count("image_ids", ids)
            return [(self.plugin.run_seed, image_id) for image_id in ids]
        if image_ids is not None:
            raise UserError("image_ids name noise only together with a seed: isdiff.apply(pipe, run_seed=0)")
        generators = self.given.get("generator")
        if not isinstance(generators, (list, tuple)):
            generators = [generators] * self.count
        self.check_count("generators", generators)
        return [(draw(generator), "") for generator in generators]

    def stream(self, row: int, attempt: int) -> Stream:
        """The noise of an attempt at an image, the same object all along."""
        if (row, attempt) not in self.streams:
            self.streams[row, attempt] = noise = GivenNoise(*self.keys[row], attempt)
            if not attempt and (latents := self.given.get("latents")) is not None:
                noise.first = latents[row]
        return self.streams[row, attempt]

    def run(self) -> Any:
        """What the pipeline's own call would return."""
        waiting = list(range(self.count))
        for number in range(self.refinement.attempts if self.refinement else 1):
            if waiting and not self.interrupted:
                self.sample(self.begin(number, waiting))
                waiting = [row for row in waiting if self.made[row].chosen is None]
        for leg in self.paused:
            kept = [place for place, row in enumerate(leg.rows) if self.made[row].chosen == leg.attempt]
            if kept:
                leg.history = rows_of(leg.history, len(leg.rows), kept)
                leg.rows = [leg.rows[place] for place in kept]
                leg.states, leg.noise = leg.states[kept], leg.noise[kept]
                self.sample(leg)
        return merge(self.parts, self.given.get("return_dict", True))

    @with_own_defaults
    def begin(self, number: int, rows: list[int]) -> Leg:
        """An attempt at these images, up to its first step."""
        states, noises, index = [], [], len(self.grid) - 1
        for row in rows:
            task = self.tasks[row]
            x, index = self.start.begin(task, self.stream(row, number), number, self.grid)
            pure = isinstance(self.start, NoiseStart)
            states.append(x * self.scale if pure else x)
            noises.append(x if pure else self.grid.noise_in(x, task.image, index))
            self.made[row].attempts.append(Attempt(self.grid.timesteps[index]))
            self.made[row].chosen = number
        slot = len(self.grid) - 1 - index
        return Leg(number, rows, torch.stack(states), slot, slot, torch.stack(noises))

    def sample(self, leg: Leg) -> None:
        """Go on with ``leg`` to its end, or to the checkpoint where not all of its images pass."""
        scheduler, watched = self.pipe.scheduler, Watched(self.pipe.scheduler, leg.first, leg.history)
        self.plugin.behind = leg.slot - leg.first
        self.pipe.scheduler = watched.scheduler
        try:
            output = self.stock(self.pipe, **self.arguments(leg, watched))
        except Stopped:
            return
        finally:
            self.pipe.scheduler, self.plugin.behind = scheduler, 0
            for row in leg.rows:
                self.made[row].calls += watched.steps
        self.parts |= {row: (output, place) for place, row in enumerate(leg.rows)}

    def arguments(self, leg: Leg, watched: Watched) -> dict[str, Any]:
        """What the stock call is given: the images of the leg, its latents and where it begins."""
        chosen = {key: pick(self.given[key], self.counts[key], leg.rows) for key in ("image", "mask_image")}
        dtype, known = self.kind.network.dtype, stack_latents([self.tasks[row] for row in leg.rows])
        latents = (leg.states / self.scale).to(dtype)
        if self.kind.plain and self.kind.takes_image and self.given.get("padding_mask_crop") is None:
            chosen["image"] = self.kind.as_image(known)  # or it would be encoded, with noise of the generators
        if "masked_image_latents" in self.given:
            chosen["masked_image_latents"] = known.to(dtype) if self.kind.takes_masked else None
        callback = self.given.get("callback_on_step_end")
        wanted = getattr(callback, "tensor_inputs", self.given.get("callback_on_step_end_tensor_inputs") or [])
        return self.given | texts_of(self.given, leg.rows) | chosen | {
            "num_images_per_prompt": 1,
            "latents": self.kind.looped(latents) if self.kind.takes_looped else latents,
            # Half a step beside the share that is meant, as the pipeline rounds.
            "strength": min(1.0, (self.steps - leg.slot + self.kind.nudge) / self.steps),
            "generator": [self.stream(row, leg.attempt).generator for row in leg.rows],
            "return_dict": True,
            "callback_on_step_end": self.make_callback(leg, watched, callback, list(wanted)),
            "callback_on_step_end_tensor_inputs": list(dict.fromkeys(["latents", *wanted])),
        }  # fmt: skip

    def make_callback(self, leg: Leg, watched: Watched, callback: Any, wanted: list[str]) -> Callable:
        """The callback of a stock call: the caller's own, and the checkpoint."""
        stay = self.interrupted

        def on_step_end(pipe: Any, i: int, t: Any, tensors: dict[str, Tensor]) -> dict[str, Any]:
            if stay:  # the pipeline has to make a step before it decodes
                pipe._interrupt = True
                return {"latents": self.kind.looped(leg.states).to(tensors["latents"])}
            done, index = leg.slot - leg.first + i, self.grid.timesteps.index(t.item())
            if self.kind.plain:  # the pipeline takes the latents that it was given for the noise in the known region
                stays = repeats(watched.scheduler) and done == 1  # it comes to the same level once more
                tensors["latents"] = self.compose(leg, tensors["latents"], index if stays else index - 1)
            changed = callback(pipe, done, t, {name: tensors[name] for name in wanted}) if callback else {}
            changed = {"latents": tensors["latents"]} | changed
            self.interrupted = self.interrupted or pipe.interrupt
            if self.due(leg, index) and not self.judge(leg, self.kind.spatial(watched.clean(self.grid, index))):
                states, slot = self.kind.spatial(changed["latents"]), leg.slot + i + 1
                self.paused.append(replace(leg, states=states, slot=slot, history=watched.history()))
                raise Stopped
            return changed

        return on_step_end

    def compose(self, leg: Leg, latents: Tensor, index: int) -> Tensor:
        """``latents`` in the holes, elsewhere those of the images with the attempt's noise at the level ``index``."""
        tasks = [self.tasks[row] for row in leg.rows]
        known = self.grid.noised(stack_latents(tasks), leg.noise, index).to(latents)
        composed = torch.where(torch.stack([task.hole for task in tasks]), self.kind.spatial(latents), known)
        return self.kind.looped(composed)

    def due(self, leg: Leg, index: int) -> bool:
        """Whether this attempt stands at the checkpoint for the first time."""
        if self.refinement is None or self.interrupted or index != self.grid.index_at(self.refinement.checkpoint):
            return False
        return self.made[leg.rows[0]].attempts[leg.attempt].dce is None

    @with_own_defaults
    def judge(self, leg: Leg, clean: Tensor) -> bool:
        """Note of each image which attempt is kept, if that can be said yet; returns whether all keep this one."""
        assert self.refinement is not None
        for row, latents in zip(leg.rows, clean, strict=True):
            task, made = self.tasks[row], self.made[row]
            guess = task.compose(latents) if self.kind.plain else latents
            made.attempts[leg.attempt].dce = self.refinement.judge(task, self.kind.autoencoder.decode(guess[None])[0])
            made.chosen = self.refinement.decide([a.dce for a in made.attempts if a.dce is not None])
        return all(self.made[row].chosen == leg.attempt for row in leg.rows)


def draw(generator: torch.Generator | None) -> int:
    return int(torch.randint(2**62, (), generator=generator, device=generator.device if generator else None))


def check_given(stock: Callable, kind: Kind) -> None:
    """Refuse arguments whose place IS-Diff takes, or that the pipeline does not take."""
    given = kind.given
    taken = [key for key in ("denoising_start", "denoising_end") if given.get(key) is not None]
    if given["strength"] not in (inspect.signature(stock).parameters["strength"].default, 1.0):
        taken.append("strength")
    if taken:
        raise UserError(f"{taken[0]} is {given[taken[0]]}; IS-Diff's start step takes its place, leave it out")
    if given.get("masked_image_latents") is not None and not kind.takes_masked:
        raise UserError(f"{type(kind.pipe).__name__} takes no masked_image_latents; give image and mask_image")
