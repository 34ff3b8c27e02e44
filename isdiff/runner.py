"""One experiment from configuration to folder: sample what is missing, then measure and report."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf

from isdiff.config import (
    build,
    build_conditioning,
    build_engine,
    build_known,
    build_sampler,
    check,
    config_hash,
    method_label,
    result_config,
    with_texts,
)
from isdiff.data.base import Dataset
from isdiff.data.images import paste, to_tensor, to_uint8
from isdiff.data.photos import pixels_hash
from isdiff.engine import Engine, Result
from isdiff.errors import Missing, SomeFailed, UserError, summed_up
from isdiff.loggers import prepare, report
from isdiff.masks.base import MaskSource
from isdiff.priors.base import Prior
from isdiff.priors.load import load_prior, missing_weights
from isdiff.priors.pixel import resolve_device, resolve_precision
from isdiff.progress import Reporter
from isdiff.report import configured_metrics, draw_grid, readable, summarise
from isdiff.sampling import sample_all
from isdiff.store import RunFolder
from isdiff.trajectory import Stream, Task


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
    """A checked configuration with its folder, data and masks."""

    cfg: DictConfig
    device: torch.device
    precision: str
    label: str
    store: RunFolder
    dataset: Dataset
    masks: MaskSource
    inputs: dict[str, Inputs] = field(default_factory=dict)  # of images that are being made

    @classmethod
    def of(cls, cfg: DictConfig) -> Experiment:
        """
        Raises:
            UserError: a value that cannot work, or something missing.
        """
        cfg = with_texts(cfg)
        check(cfg)
        build_sampler(cfg), build_known(cfg)  # what they refuse is said before anything is read
        device = resolve_device(cfg.runtime.device)
        precision = resolve_precision(cfg.runtime.precision, device)
        label = method_label(cfg)
        name = config_hash(result_config(cfg, precision))
        folder = Path(cfg.output_root) / cfg.dataset.name / cfg.mask.name / label / name
        return cls(
            cfg, device, precision, label, RunFolder(folder), build(cfg.dataset, Dataset), build(cfg.mask, MaskSource)
        )

    def ids(self) -> list[str]:
        return self.dataset.ids()[: self.cfg.limit]

    def require(self, ids: list[str]) -> None:
        """
        Raises:
            Missing: weights or images are not here; names all of them at once.
        """
        things = missing_weights(self.cfg)
        try:
            self.dataset.require(ids)
        except Missing as error:
            things += error.things
        if things:
            raise Missing(things)

    @cached_property
    def prior(self) -> Prior:
        return load_prior(self.cfg, self.device, self.precision, lambda text: build_conditioning(self.cfg, text))

    def engine(self, **options: Any) -> Engine:
        return build_engine(self.cfg, self.prior, **options)

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
        return self.prior.prepare(self.task(image_id), self.prompt(image_id))

    def prompt(self, image_id: str) -> str:
        """
        Raises:
            UserError: captions are asked for where there are none.
        """
        return self.dataset.caption(image_id) if self.cfg.prompt == "caption" else self.cfg.prompt

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
        side = self.cfg.model.image_size
        if pixels.shape[:2] != (side, side):
            raise UserError(f"image {image_id} is {pixels.shape[1]}x{pixels.shape[0]}; the model needs {side}x{side}")
        image = to_tensor(pixels).to(self.device)
        holes = torch.from_numpy(hole)[None].to(self.device)
        oracle = self.cfg.isdiff.seed.enabled and self.cfg.isdiff.seed.kind == "oracle"
        # A class-conditional model gets a random class for each image, as in RePaint's published configuration.
        classes = self.cfg.model.get("num_classes")
        label = int(Stream(self.cfg.seed, image_id, -1).numpy().integers(classes)) if classes else None
        return Task(image_id, image.masked_fill(holes, 0.0), holes, label, truth=image if oracle else None)

    def finish(self, result: Result) -> np.ndarray:
        """The picture that is saved, (H, W, 3) uint8."""
        picture = to_uint8(result.picture)
        composite = self.cfg.output.composite
        if composite == "raw":
            return picture
        given = self.inputs[result.task.id]
        return paste(picture, given.pixels, given.hole, self.cfg.output.seam * (composite == "blend"))

    def record(self, result: Result) -> dict[str, Any]:
        """What is remembered of a finished image."""
        given = self.inputs.pop(result.task.id)
        judged = [round(a.dce, 6) for a in result.attempts if a.dce is not None]
        return {
            "id": result.task.id,
            "seed": self.cfg.seed,
            "network_calls": result.calls,
            "attempts": len(result.attempts),
            "chosen_attempt": result.chosen,
            "dce": judged,
            "start_timesteps": [a.start_timestep for a in result.attempts],
            "seconds": round(result.seconds, 4),
            **given.content,
            "stamps": given.stamps,
        }


@dataclass
class Outcome:
    """A run that went to its end: its folder, what it says about itself, and the images that could not be made."""

    store: RunFolder
    summary: dict[str, Any]
    failed: dict[str, str]


def changed_inputs(experiment: Experiment, ids: list[str]) -> set[str]:
    """Images that have a record but whose image, mask or text is not what went in; their records are dropped.

    Files are read again only where their size or date changed. What cannot be read now is kept as it was.
    """
    changed, stamps = set(), {}
    records = experiment.store.records()
    for image_id in ids:
        record = records.get(image_id)
        if record is None:
            continue
        try:
            now = experiment.stamps(image_id)
            if now == record.get("stamps") and all(now[:2]):
                continue
            given = experiment.read(image_id)
        except UserError:
            continue
        before = record.get("stamps") or [""]
        if given.content == {key: record.get(key) for key in given.content} and given.stamps[-1] == before[-1]:
            stamps[image_id] = {"stamps": given.stamps}
        else:
            changed.add(image_id)
    experiment.store.tidy(ids, drop=changed, update=stamps)
    return changed


def execute(cfg: DictConfig) -> Outcome:
    """Run the experiment of ``cfg``: images that its folder already has are kept, missing ones are sampled.

    Raises:
        UserError: the configuration, the data or the weights do not allow the run.
    """
    experiment = Experiment.of(cfg)
    configured_metrics(cfg)  # a wrong name is refused at once, and so is a logger that could not log
    prepare(cfg)
    store, ids = experiment.store, experiment.ids()
    for note in experiment.dataset.notes():
        print(f"isdiff: {note}", file=sys.stderr)
    changed = changed_inputs(experiment, ids)
    if changed:
        some = f"{len(changed)} images or masks" if len(changed) > 1 else f"the image or mask {min(changed)}"
        print(f"isdiff: {some} changed since the last run; sampled anew", file=sys.stderr)
    done = store.records()
    todo = [image_id for image_id in ids if image_id not in done]
    failed: dict[str, str] = {}
    if todo:
        experiment.require(todo)
        kept = result_config(cfg, experiment.precision)
        text = f"# {store.path.name}: hash of what the results depend on\n{OmegaConf.to_yaml(kept)}"
        store.write_text("config.yaml", text)
        title = f"{experiment.label} on {cfg.dataset.name}, {cfg.mask.name}"
        with Reporter(title, len(ids), done=len(ids) - len(todo)) as bar:
            failed = sample_all(experiment, todo, bar)
    records = store.tidy(ids)
    chosen = [records[image_id] for image_id in ids if image_id in records]
    if not chosen:
        raise SomeFailed(f"no image could be sampled: {'; '.join(summed_up(failed, 3)) or 'there are no images'}")
    summary = summarise(experiment, chosen, failed, sampled=len(todo) - len(failed))
    if summary != store.read_json("summary.json"):
        store.write_json("summary.json", summary)
        store.write_text("summary.md", readable(summary, experiment))
    if todo or not (store.path / "grid.png").exists():
        draw_grid(experiment, chosen)
    report(cfg, f"{experiment.label}-{cfg.mask.name}-{store.path.name}", store.path, summary, chosen)
    return Outcome(store, summary, failed)
