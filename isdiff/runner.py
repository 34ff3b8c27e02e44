"""One experiment from configuration to folder: sample what is missing, then measure and report."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf

from isdiff.config import (
    build,
    build_engine,
    check,
    config_hash,
    method_label,
    prompt_pair,
    result_config,
)
from isdiff.data.base import Dataset
from isdiff.data.images import paste, to_tensor, to_uint8
from isdiff.engine import Engine, Result
from isdiff.errors import Missing, UserError
from isdiff.files import atomic_open
from isdiff.loggers import report
from isdiff.masks.base import MaskSource
from isdiff.priors.latent import LatentPrior
from isdiff.priors.load import load_prior, missing_weights
from isdiff.priors.pixel import PixelPrior, resolve_device, resolve_precision
from isdiff.progress import Reporter
from isdiff.report import configured_metrics, draw_grid, readable, summarise
from isdiff.store import RunFolder
from isdiff.trajectory import Stream, Task


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

    @classmethod
    def of(cls, cfg: DictConfig) -> Experiment:
        """
        Raises:
            UserError: a value that cannot work, or something missing.
        """
        check(cfg)
        device = resolve_device(cfg.runtime.device)
        precision = resolve_precision(cfg.runtime.precision, device)
        label = method_label(cfg)
        name = config_hash(result_config(cfg, precision))
        folder = Path(cfg.output_root) / cfg.dataset.name / cfg.mask.name / label / name
        return cls(cfg, device, precision, label, RunFolder(folder), build(cfg.dataset), build(cfg.mask))

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
    def prior(self) -> PixelPrior | LatentPrior:
        return load_prior(self.cfg, self.device, self.precision)

    def pictures(self, states: Sequence[torch.Tensor], tasks: Sequence[Task]) -> Sequence[torch.Tensor]:
        """States as people see them; only latent ones need the model."""
        return states if self.cfg.get("latent") is None else self.prior.pictures(states, tasks)

    def engine(self) -> Engine:
        return build_engine(self.cfg, self.prior, self.prior.pictures)

    def ready(self, image_id: str) -> Task:
        """The task as the model takes it: in its own space, with its prompt."""
        task = self.task(image_id)
        if self.cfg.get("latent") is None:
            return task
        prompt = self.prompt(image_id)
        return self.prior.prepare(task, prompt_pair(self.cfg, prompt), prompt)

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
        pixels = self.dataset.image(image_id)
        hole = self.masks.hole(image_id, *pixels.shape[:2])
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
        hole = result.task.pixel_hole[0].cpu().numpy()
        return paste(picture, self.dataset.image(result.task.id), hole, self.cfg.output.seam * (composite == "blend"))

    def record(self, result: Result) -> dict[str, Any]:
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
        }


def tasks(experiment: Experiment, ids: list[str], failed: dict[str, str]) -> Iterator[Task]:
    """Tasks one by one; an image that cannot be used is noted and the others go on."""
    for image_id in ids:
        try:
            yield experiment.ready(image_id)
        except UserError as error:
            failed[image_id] = str(error)


def sample(experiment: Experiment, ids: list[str], reporter: Reporter | None = None) -> dict[str, str]:
    """Sample ``ids`` in this process; returns what failed, with reasons."""
    failed: dict[str, str] = {}
    for result in experiment.engine().run(tasks(experiment, ids, failed)):
        experiment.store.add(experiment.finish(result), experiment.record(result))
        if reporter:
            reporter.advance()
    return failed


def sample_share(container: dict[str, Any], ids: list[str], rank: int, workers: int, queue: Any) -> None:
    """Body of a sampling process: its share of the images, on its own GPU where there are several."""
    cfg = OmegaConf.create(container)
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // workers))
    if resolve_device(cfg.runtime.device).type == "cuda" and cfg.runtime.device in ("auto", "cuda"):
        cfg.runtime.device = f"cuda:{rank % torch.cuda.device_count()}"
    try:
        queue.put((sample(Experiment.of(cfg), ids[rank::workers]), None))
    except UserError as error:
        queue.put(({}, str(error)))


def sample_in_processes(experiment: Experiment, ids: list[str], reporter: Reporter) -> dict[str, str]:
    """Sample ``ids`` in ``runtime.workers`` processes; images depend on nothing but their ids, so shares may vary."""
    workers = min(experiment.cfg.runtime.workers, len(ids))
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    container = OmegaConf.to_container(experiment.cfg, resolve=True)
    pool = [context.Process(target=sample_share, args=(container, ids, r, workers, queue)) for r in range(workers)]
    for process in pool:
        process.start()
    before = len(experiment.store.records())
    while any(process.is_alive() for process in pool):
        time.sleep(0.5)
        reporter.advance(len(experiment.store.records()) - before - (reporter.done - reporter.first))
    if broken := [process.exitcode for process in pool if process.exitcode]:
        died = f"{len(broken)} of {workers} sampling processes died (exit code {broken[0]})"
        raise UserError(f"{died}; what they finished is kept, run the same command again to go on")
    failed: dict[str, str] = {}
    for _ in pool:
        part, error = queue.get()
        if error:
            raise UserError(error)
        failed |= part
    return failed


def execute(cfg: DictConfig) -> RunFolder:
    """Run the experiment of ``cfg``: images that its folder already has are kept, missing ones are sampled.

    Raises:
        UserError: the configuration, the data or the weights do not allow the run.
    """
    experiment = Experiment.of(cfg)
    configured_metrics(cfg)  # a wrong name is refused at once
    store, ids = experiment.store, experiment.ids()
    have = store.tidy(ids)
    todo = [image_id for image_id in ids if image_id not in have]
    failed: dict[str, str] = {}
    kept = result_config(cfg, experiment.precision)
    with atomic_open(store.path / "config.yaml") as stream:
        stream.write(f"# {store.path.name}: hash of what the results depend on\n{OmegaConf.to_yaml(kept)}")
    if todo:
        experiment.require(ids)
        with Reporter(
            f"{experiment.label} on {cfg.dataset.name}, {cfg.mask.name}", len(ids), done=len(ids) - len(todo)
        ) as bar:
            many = cfg.runtime.workers > 1 and len(todo) > 1
            failed = (sample_in_processes if many else sample)(experiment, todo, bar)
    records = store.tidy(ids)
    chosen = [records[image_id] for image_id in ids if image_id in records]
    if not chosen:
        reasons = "; ".join(failed.values())
        raise UserError(f"no image could be sampled: {reasons}")
    summary = summarise(experiment, chosen, failed)
    store.write_json("summary.json", summary)
    store.write_text("summary.md", readable(summary, experiment))
    if todo or not (store.path / "grid.png").exists():
        draw_grid(experiment, chosen)
    report(cfg, f"{experiment.label}-{cfg.mask.name}-{store.path.name}", store.path, summary, chosen)
    return store
