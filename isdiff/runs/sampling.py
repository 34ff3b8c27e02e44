"""Sampling the images of an experiment, in this process or in several of its own."""

import sys
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from itertools import chain
from typing import Any

import numpy as np

from isdiff.config.settings import AUTO
from isdiff.config.setup import Setup
from isdiff.data.images import pixels_hash
from isdiff.errors import UserError, explained
from isdiff.parallel import pool
from isdiff.priors.base import best_batch_size
from isdiff.progress import Reporter
from isdiff.runs.experiment import MODEL_CACHE, Experiment, Inputs
from isdiff.runs.store import RunFolder
from isdiff.trajectory import Task

Report = Callable[[str, Any], None]
MOST = 256  # images that runtime.batch_size=auto tries in one call
WAITING = 64  # pictures that wait for a slow disk


class Writer(ThreadPoolExecutor):
    """Stores images in one thread, in their order, while the network is at the next ones.

    As a context it ends when all are on the disk, also after an interrupt. ``stored`` is called with the id of each
    image whose files are there, in the thread that gives the images.
    """

    def __init__(self, store: RunFolder, stored: Callable[[str], None]) -> None:
        super().__init__(1, thread_name_prefix="isdiff-writer")
        self.store, self.stored = store, stored
        self.pending: deque[Future[str]] = deque()

    def __exit__(self, kind: type[BaseException] | None, *rest: Any) -> None:
        super().__exit__(kind, *rest)
        if kind is None:
            self.settle()

    def add(self, picture: np.ndarray, record: dict[str, Any]) -> None:
        def write() -> str:
            self.store.add(picture, record | {"picture_sha": pixels_hash(picture)})
            return record["id"]

        self.pending.append(self.submit(write))
        self.settle(WAITING)

    def settle(self, most: float = float("inf")) -> None:
        """Say what is stored; wait while more than ``most`` images are not. Raises what storing one raised."""
        while self.pending and (self.pending[0].done() or len(self.pending) > most):
            self.stored(self.pending.popleft().result())


def sample(experiment: Experiment, ids: list[str], report: Report) -> None:
    """Sample ``ids`` in this process.

    ``report`` hears ``expected`` (network calls an image), ``calls`` (how many were made), ``done`` (an image's id and
    calls, once its files are there), ``failed`` (id and reason), and ``vanished`` (an image whose hole is too thin for
    the cells of a latent model).
    """
    inputs: dict[str, Inputs] = {}  # of images that are under way

    def tasks() -> Iterator[Task]:
        for image_id in ids:
            try:
                task, inputs[image_id] = experiment.ready(image_id)
                if not task.hole.any():
                    report("vanished", image_id)
                yield task
            except UserError as error:
                report("failed", (image_id, str(error)))

    calls: dict[str, int] = {}
    with Writer(experiment.store, lambda image_id: report("done", (image_id, calls.pop(image_id)))) as writer:

        def progress(count: int) -> None:
            report("calls", count)
            writer.settle()  # after every network batch, so that a full disk is not found out hours later

        engine = experiment.engine(progress=progress)
        report("expected", engine.calls_expected())
        ready = tasks()
        search = experiment.setup.runtime.batch_size == AUTO and experiment.setup.asks
        if search and (first := next(ready, None)) is not None:
            most = min(MOST, len(ids))
            engine.batch_size = best_batch_size(experiment.prior, first, engine.grid.timesteps[-1], most)
            ready = chain([first], ready)
        with closing(engine.run(ready)) as results:
            for result in results:
                given = inputs.pop(result.task.id)
                if result.failure:
                    report("failed", (result.task.id, result.failure))
                    continue
                calls[result.task.id] = result.calls
                writer.add(experiment.finish(result, given), experiment.record(result, given))


def sample_all(experiment: Experiment, ids: list[str], bar: Reporter) -> dict[str, str]:
    """Sample ``ids`` as the configuration says; returns failures with reasons."""
    failed: dict[str, str] = {}
    vanished: list[str] = []

    def report(kind: str, content: Any) -> None:
        if kind == "vanished":
            vanished.append(content)
        elif kind == "calls":
            bar.work(content)
        elif kind == "done":
            bar.finish(content[1])
        elif kind == "expected":
            bar.expect(content)
        elif content[0] not in failed:  # else a process died, and another has found out once more
            failed[content[0]] = content[1]
            bar.drop(1)

    workers = experiment.setup.runtime.workers
    count = min(workers if workers > 1 else pool.launched, len(ids))
    if count < 2:
        sample(experiment, ids, report)
    else:
        shares = [(experiment.setup.config, ids[place::count]) for place in range(count)]
        ended = pool.in_processes(sample_share, shares, count, lambda _, *content: report(*content))
        if errors := [error for _, error in ended if error]:
            more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
            raise UserError(f"{errors[0]}{more}; {pool.GO_ON}")
        for failures, _ in ended:
            failed |= failures
    if vanished:
        what = "the hole is thinner than the model's cells and vanishes in its latents, as in published code"
        print(f"isdiff: {what}: {len(vanished)} images, first {min(vanished)}", file=sys.stderr)
    return {image_id: failed[image_id] for image_id in ids if image_id in failed}  # whichever process was first


def sample_share(share: tuple[Mapping[str, Any], list[str]], place: int, tell: Report) -> tuple[dict[str, str], str]:
    """Sample a ``share``, configuration and ids, in process ``place``; returns failures, and what stopped it."""
    failed: dict[str, str] = {}

    def report(kind: str, content: Any) -> None:
        if kind == "failed":
            failed[content[0]] = content[1]
        tell(kind, content)

    try:
        setup = Setup.again(share[0])
        pool.own_gpu(setup.runtime, place)
        experiment = Experiment(setup, model_cache=MODEL_CACHE)
        there = experiment.store.records()  # of a process before that died
        if ids := [image_id for image_id in share[1] if image_id not in there]:
            sample(experiment, ids, report)
    except (UserError, OSError) as error:
        return failed, explained(error)
    except Exception:
        return failed, traceback.format_exc()
    return failed, ""
