"""One experiment: what a configuration describes with its folder and its model."""

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from isdiff.component import plain
from isdiff.config.nodes import Config
from isdiff.config.settings import GRAPHS
from isdiff.config.setup import Setup, config_hash
from isdiff.data.base import Dataset
from isdiff.data.images import pixels_hash, scale, scale_known, to_tensor, to_uint8
from isdiff.data.shipped import DrawnDataset
from isdiff.devices import resolve_device, resolve_precision
from isdiff.engine import Engine, Result
from isdiff.errors import Missing, UserError
from isdiff.io.files import is_sha256
from isdiff.models.base import RANDOM
from isdiff.priors.base import Prior
from isdiff.process_state import with_own_defaults
from isdiff.runs.store import VERSION, RunFolder
from isdiff.trajectory import Stream, Task

if TYPE_CHECKING:
    from typing_extensions import Self


class ModelCache:
    """The one model that was used last, for the next run that would load the same. Not for threads."""

    key: object = None
    prior: Prior | None = None

    def get(self, key: object, load: Callable[[], Prior]) -> Prior:
        """Return what ``load`` gives; it is called only if ``key`` is another one."""
        if self.prior is None or key != self.key:
            self.prior = self.key = None
            gc.collect()  # the last one has references to itself; the next needs its room
            self.key, self.prior = key, load()
        return self.prior


MODEL_CACHE = ModelCache()  # of the runs that this process makes one after the other


@dataclass(frozen=True)
class Inputs:
    """What a result is made from."""

    pixels: np.ndarray  # (H, W, 3) uint8
    hole: np.ndarray  # (H, W) bool
    stamps: list[str]  # where they came from

    @property
    def content(self) -> dict[str, str]:
        return {"image_sha": pixels_hash(self.pixels), "mask_sha": pixels_hash(np.packbits(self.hole))}


class Prepared(NamedTuple):
    """An image that is ready for the engine, and what it was made from."""

    task: Task
    inputs: Inputs


@dataclass
class Experiment:
    """A setup with its folder, which the ``hash`` of all that results depend on names."""

    setup: Setup
    absent: list[str] = field(default_factory=list)  # networks of metrics that are not here, a line each
    model_cache: ModelCache = field(default_factory=ModelCache)

    def __post_init__(self) -> None:
        setup, runtime = self.setup, self.setup.runtime
        self.device = resolve_device(runtime.device)
        self.precision = resolve_precision(runtime.precision, self.device) if setup.asks else "fp32"
        self.compiled = runtime.compiled(
            self.device.type, lambda: len(self.dataset.ids()[: setup.limit]) * setup.calls_expected()
        )
        self.kept = setup.fingerprint(self.precision, self.compiled)
        self.hash = config_hash(self.kept)
        self.store = RunFolder(setup.folder / setup.names[1] / setup.label / f"{setup.steps.name}-{self.hash}")

    @classmethod
    def of(cls, cfg: Config, **given: Any) -> "Self":
        """The experiment that a configuration describes; ``given`` as :meth:`Setup.of` takes it."""
        return cls(Setup.of(cfg, **given))

    @property
    def dataset(self) -> Dataset:
        return self.setup.dataset

    @cached_property
    def network(self) -> dict[str, str]:
        model, side = self.setup.model, self.setup.model.image_size
        weights = RANDOM if model.weights == RANDOM else model.identity()
        size = f"{side}x{side}" if side else "any size"
        return {"model": model.name, "weights": weights[:12] if is_sha256(weights) else weights, "size": size}

    def remarks(self) -> list[str]:
        """Notes on the data, and on a model that knows other images."""
        knows = self.setup.config["model"].get("knows") or ""
        if not self.setup.asks or "draw" not in knows or isinstance(self.dataset, DrawnDataset):
            return self.dataset.notes()
        name, size = self.network["model"], self.network["size"]
        strange = f"model {name} ({size}) knows {knows}, not images as those of {self.setup.names[0]}"
        return [*self.dataset.notes(), f"{strange}: its results say little about the method"]

    def ids(self) -> list[str]:
        """The images of the run; :class:`Missing` if they must be here to be listed."""
        try:
            return self.dataset.ids()[: self.setup.limit]
        except Missing as error:
            raise Missing([*self.setup.model.missing(), *error.things, *self.absent]) from None

    def require(self, ids: list[str]) -> None:
        """Raise :class:`Missing` with all that is missing of weights, networks of metrics, and images to be made."""
        things = self.setup.model.missing() if ids else []
        try:
            self.dataset.require(ids)
        except Missing as error:
            things += error.things
        if things or self.absent:
            raise Missing([*things, *self.absent])

    @property
    def prior(self) -> Prior:
        if not self.setup.asks:
            return self.load()  # of nothing, so that what others left there stays
        return self.model_cache.get(self.loading, self.load)

    @cached_property
    def options(self) -> dict[str, Any]:
        setup, graphs = self.setup, self.setup.runtime.compile == GRAPHS
        return {"pad_to": setup.pad_to(self.compiled), "compile": GRAPHS if graphs else self.compiled,
                "conditioning": setup.conditioning, "enough": setup.start.enough}  # fmt: skip

    @cached_property
    def loading(self) -> list[Any]:
        """What ``load`` depends on."""
        return [self.setup.model.fingerprint(), self.device, self.precision, plain(self.options)]

    @torch.random.fork_rng(devices=[])  # networks are made of random numbers before their weights come
    @with_own_defaults
    def load(self) -> Prior:
        return self.setup.model.load(self.device, self.precision, **self.options)

    def engine(self, **options: Any) -> Engine:
        return self.setup.engine(self.prior, **options)

    def stamps(self, image_id: str) -> list[str]:
        """Cheap signatures of an image and its mask, and its prompt; empty where nothing is known."""
        return [self.dataset.stamp(image_id), self.setup.masks.stamp(image_id), self.prompt(image_id)]

    def read(self, image_id: str) -> Inputs:
        stamps = self.stamps(image_id)  # before the files: one that changes meanwhile is then seen as changed
        pixels = self.dataset.image(image_id)
        return Inputs(pixels, self.setup.masks.hole(image_id, *pixels.shape[:2]), stamps)

    def ready(self, image_id: str) -> Prepared:
        """The image as the model takes it: in its own space, with its prompt."""
        prior, inputs, prompt = self.prior, self.read(image_id), self.prompt(image_id)
        task, begun = self.task(image_id, inputs), time.perf_counter()
        task = prior.prepare(task, prompt)
        return Prepared(replace(task, seconds=time.perf_counter() - begun), inputs)

    def stream(self, image_id: str, attempt: int) -> Stream:
        return Stream(self.setup.seed, image_id, attempt)

    def prompt(self, image_id: str) -> str:
        return self.dataset.caption(image_id) if self.setup.prompt == "caption" else self.setup.prompt

    def task(self, image_id: str, inputs: Inputs | None = None) -> Task:
        """The image with its hole blanked: what lies beneath is handed over only to the oracle seed."""
        inputs = inputs or self.read(image_id)
        pixels, hole = inputs.pixels, inputs.hole
        if hole.all() or not hole.any():
            what = "everything" if hole.all() else "nothing"
            raise UserError(f"the mask of image {image_id} hides {what}; check its polarity (mask.invert)")
        side = self.setup.model.image_size
        if side is not None and pixels.shape[:2] != (side, side):
            if not self.setup.output.scale or pixels.shape[0] != pixels.shape[1]:
                found, needed = f"{pixels.shape[1]}x{pixels.shape[0]}", f"{side}x{side}"
                what = f"the model needs {needed}, or squares with output.scale=true"
                raise UserError(f"image {image_id} is {found}; {what}")
            whole = scale(pixels, (side, side))
            pixels, hole = scale_known(pixels, hole, (side, side))
            pixels = whole if self.setup.start.needs_truth else pixels
        image = to_tensor(pixels).to(self.device)
        holes = torch.from_numpy(hole)[None].to(self.device)
        # A class-conditional model gets a random class for each image, as in RePaint's published configuration.
        classes = self.setup.model.num_classes
        label = int(self.stream(image_id, -1).numpy().integers(classes)) if classes else None
        truth = image if self.setup.start.needs_truth else None
        return Task(image_id, image.masked_fill(holes, 0.0), holes, label, truth=truth)

    def seed_picture(self, task: Task, attempt: int) -> np.ndarray:
        """What an attempt with IS-Diff begins with, before noise; (H, W, 3) uint8."""
        clean = self.setup.start.composed(task, self.stream(task.id, attempt))
        assert clean is not None
        return to_uint8(self.prior.decode([clean], [task])[0])

    def finish(self, result: Result, inputs: Inputs) -> np.ndarray:
        return self.setup.output(to_uint8(result.picture), inputs.pixels, inputs.hole)

    def record(self, result: Result, inputs: Inputs) -> dict[str, Any]:
        return {
            "version": VERSION, "id": result.task.id, "run": self.hash, "seed": self.setup.seed, **self.network,
            "network_calls": result.calls, "attempts": len(result.attempts), "chosen_attempt": result.chosen,
            "dce": [round(a.dce, 6) for a in result.attempts if a.dce is not None],
            "start_timesteps": [a.start_timestep for a in result.attempts], "seconds": round(result.seconds, 4),
            "hole": round(float(inputs.hole.mean()), 6), **inputs.content, "stamps": inputs.stamps,
        }  # fmt: skip
