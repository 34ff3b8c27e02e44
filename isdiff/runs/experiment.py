"""One experiment: a checked configuration with its folder, data, masks and model."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from omegaconf import DictConfig

from isdiff.config.settings import GRAPHS, with_texts
from isdiff.config.setup import Setup, config_hash
from isdiff.data.base import Dataset
from isdiff.data.drawn_dataset import DrawnDataset
from isdiff.data.images import pixels_hash, to_tensor, to_uint8
from isdiff.devices import resolve_device, resolve_precision
from isdiff.engine import Engine, Result
from isdiff.errors import Missing, UserError
from isdiff.io.files import is_sha256
from isdiff.masks.base import MaskSource
from isdiff.models.base import RANDOM
from isdiff.paths import placed
from isdiff.priors.base import Prior
from isdiff.process_state import with_own_defaults
from isdiff.runs.model_cache import Shelf
from isdiff.runs.store import RunFolder
from isdiff.seeds.base import SeededStart
from isdiff.trajectory import Stream, Task

if TYPE_CHECKING:
    from typing_extensions import Self


def expected_calls(setup: Setup, limit: int | None) -> int:
    """Network calls of a whole run, counted by image, if every first attempt passes."""
    return len(setup.dataset.ids()[:limit]) * setup.calls_expected()


@dataclass(frozen=True)
class Inputs:
    """What a result is made from: ``pixels`` (H, W, 3) uint8, ``hole`` (H, W) bool, and where they came from."""

    pixels: np.ndarray
    hole: np.ndarray
    stamps: list[str]

    @property
    def content(self) -> dict[str, str]:
        return {"image_sha": pixels_hash(self.pixels), "mask_sha": pixels_hash(np.packbits(self.hole))}


@dataclass
class Experiment:
    """A configuration, what was built of it, and its folder.

    Attributes:
        kept: what results depend on; ``hash`` is its.
        shelf: where its model stands, its own or one that it shares with others.
    """

    cfg: DictConfig
    setup: Setup
    device: torch.device
    precision: str
    compiled: bool
    kept: dict[str, Any]
    hash: str
    store: RunFolder
    inputs: dict[str, Inputs] = field(default_factory=dict)  # of images that are being made
    absent: list[str] = field(default_factory=list)  # networks of metrics that are not here, a line each
    shelf: Shelf = field(default_factory=Shelf)

    @classmethod
    def of(cls, cfg: DictConfig, typed: bool = True) -> Self:
        """
        Args:
            typed: prompts are as users type them, ``@path`` among them; otherwise they are the texts.
        Raises:
            UserError: a value that cannot work, or something missing.
        """
        cfg = with_texts(cfg) if typed else cfg
        setup = Setup.of(cfg)
        device = resolve_device(setup.runtime.device)
        precision = resolve_precision(setup.runtime.precision, device) if setup.asks else "fp32"
        compiled = setup.runtime.compiled(device.type, lambda: expected_calls(setup, cfg.limit))
        kept = setup.fingerprint(precision, compiled)
        digest = config_hash(kept)
        folder = (
            placed(cfg.output_root) / cfg.dataset.name / cfg.mask.name / setup.label / f"{setup.walk.name}-{digest}"
        )
        return cls(cfg, setup, device, precision, compiled, kept, digest, RunFolder(folder))

    @property
    def dataset(self) -> Dataset:
        return self.setup.dataset

    @property
    def masks(self) -> MaskSource:
        return self.setup.masks

    @property
    def label(self) -> str:
        """The method's name in folders and tables."""
        return self.setup.label

    @cached_property
    def network(self) -> dict[str, str]:
        """What is asked, for people: the model's name, its weights (the beginning of a hash) and its size."""
        model, side = self.setup.model, self.setup.model.image_size
        weights = RANDOM if model.weights == RANDOM else model.identity()
        size = f"{side}x{side}" if side else "any size"
        return {"model": model.name, "weights": weights[:12] if is_sha256(weights) else weights, "size": size}

    def remarks(self) -> list[str]:
        """What a user should know of the data and of a model that knows other images, a line each."""
        knows = self.cfg.model.get("knows") or ""
        if not self.setup.asks or "draw" not in knows or isinstance(self.dataset, DrawnDataset):
            return self.dataset.notes()
        name, size = self.network["model"], self.network["size"]
        strange = f"model {name} ({size}) knows {knows}, not images as those of {self.cfg.dataset.name}"
        return [*self.dataset.notes(), f"{strange}: its results say little about the method"]

    def ids(self) -> list[str]:
        """
        Raises:
            Missing: as :meth:`require`, where the images have to be here to be listed.
        """
        try:
            return self.dataset.ids()[: self.cfg.limit]
        except Missing as error:
            raise Missing([*self.setup.model.missing(), *error.things, *self.absent]) from None

    def require(self, ids: list[str]) -> None:
        """
        Args:
            ids: of images that are to be made; none if all are there, and the model is not needed.
        Raises:
            Missing: weights, images or networks of metrics are not here; names all of them at once.
        """
        things = self.setup.model.missing() if ids else []
        try:
            self.dataset.require(ids)
        except Missing as error:
            things += error.things
        if things or self.absent:
            raise Missing([*things, *self.absent])

    @property
    def prior(self) -> Prior:
        """The model, loaded where it does not stand on the shelf."""
        if not self.setup.asks:
            return self.load()  # of nothing, so that what others left on the shelf stays
        return self.shelf.get(self.loading, self.load)

    @cached_property
    def loading(self) -> list[Any]:
        """What ``load`` depends on."""
        setup, asking = self.setup, self.setup.conditioning
        return [setup.model.fingerprint(), self.device, self.precision, self.compiled, setup.runtime.compile,
                setup.pad_to(self.compiled), asking and asking.fingerprint(), setup.start.enough]  # fmt: skip

    @torch.random.fork_rng(devices=[])  # networks are made of random numbers before their weights come
    @with_own_defaults
    def load(self) -> Prior:
        setup = self.setup
        return setup.model.load(
            self.device, self.precision, pad_to=setup.pad_to(self.compiled),
            compile=GRAPHS if setup.runtime.compile == GRAPHS else self.compiled,
            conditioning=setup.conditioning, enough=setup.start.enough,
        )  # fmt: skip

    def engine(self, **options: Any) -> Engine:
        return self.setup.engine(self.prior, **options)

    def stamps(self, image_id: str) -> list[str]:
        """Cheap signatures of the files that the image and its mask come from, empty where nothing is known, and the
        text that it is asked for with."""
        return [self.dataset.stamp(image_id), self.masks.stamp(image_id), self.prompt(image_id)]

    def read(self, image_id: str) -> Inputs:
        """
        Raises:
            UserError: the image, its mask or its caption cannot be read.
        """
        stamps = self.stamps(image_id)  # before the files: one that changes meanwhile is then seen as changed
        pixels = self.dataset.image(image_id)
        return Inputs(pixels, self.masks.hole(image_id, *pixels.shape[:2]), stamps)

    def ready(self, image_id: str) -> Task:
        """The task as the model takes it: in its own space, with its prompt."""
        prior, task, prompt = self.prior, self.task(image_id), self.prompt(image_id)
        begun = time.perf_counter()
        prepared = prior.prepare(task, prompt)
        return replace(prepared, seconds=time.perf_counter() - begun)

    def stream(self, image_id: str, attempt: int) -> Stream:
        """The noise of an attempt at an image, as the engine draws it."""
        return Stream(self.setup.seed, image_id, attempt)

    def prompt(self, image_id: str) -> str:
        """
        Raises:
            UserError: captions are asked for where there are none.
        """
        return self.dataset.caption(image_id) if self.setup.prompt == "caption" else self.setup.prompt

    def seed_picture(self, task: Task, attempt: int) -> np.ndarray:
        """What an attempt with IS-Diff begins with, before noise; (H, W, 3) uint8."""
        start = self.setup.start
        assert isinstance(start, SeededStart)
        seed = task.compose(start.seed.fill(task, self.stream(task.id, attempt)))
        return to_uint8(self.prior.decode([seed], [task])[0])

    def task(self, image_id: str) -> Task:
        """The image with its hole blanked: what lies beneath is handed over only to the oracle seed.

        Raises:
            UserError: the image or its mask cannot be used.
        """
        self.inputs[image_id] = self.read(image_id)
        pixels, hole = self.inputs[image_id].pixels, self.inputs[image_id].hole
        if hole.all() or not hole.any():
            what = "everything" if hole.all() else "nothing"
            raise UserError(f"the mask of image {image_id} hides {what}; check its polarity (mask.invert)")
        side = self.setup.model.image_size
        if side is not None and pixels.shape[:2] != (side, side):
            raise UserError(f"image {image_id} is {pixels.shape[1]}x{pixels.shape[0]}; the model needs {side}x{side}")
        image = to_tensor(pixels).to(self.device)
        holes = torch.from_numpy(hole)[None].to(self.device)
        # A class-conditional model gets a random class for each image, as in RePaint's published configuration.
        classes = self.setup.model.num_classes
        label = int(self.stream(image_id, -1).numpy().integers(classes)) if classes else None
        truth = image if self.setup.start.needs_truth else None
        return Task(image_id, image.masked_fill(holes, 0.0), holes, label, truth=truth)

    def finish(self, result: Result) -> np.ndarray:
        """The picture that is saved, (H, W, 3) uint8."""
        given = self.inputs[result.task.id]
        return self.setup.output(to_uint8(result.picture), given.pixels, given.hole)

    def record(self, result: Result) -> dict[str, Any]:
        """What is remembered of a finished image."""
        given = self.inputs.pop(result.task.id)
        judged = [round(a.dce, 6) for a in result.attempts if a.dce is not None]
        return {
            "id": result.task.id,
            "run": self.hash,
            "seed": self.setup.seed,
            **self.network,
            "network_calls": result.calls,
            "attempts": len(result.attempts),
            "chosen_attempt": result.chosen,
            "dce": judged,
            "start_timesteps": [a.start_timestep for a in result.attempts],
            "seconds": round(result.seconds, 4),
            **given.content,
            "stamps": given.stamps,
        }
