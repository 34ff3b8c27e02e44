"""Sampling the images of an experiment, in this process or in several."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from multiprocessing.connection import Connection, wait
from typing import Any

import torch
from omegaconf import OmegaConf

from isdiff.errors import UserError, explained
from isdiff.experiments.experiment import Experiment
from isdiff.experiments.settings import AUTO, portable
from isdiff.experiments.writing import Writer
from isdiff.priors.batches import best_batch_size
from isdiff.priors.pixel import resolve_device
from isdiff.progress import Reporter
from isdiff.trajectory import Task

Report = Callable[[str, Any], None]


def tasks(experiment: Experiment, ids: list[str], report: Report) -> Iterator[Task]:
    """Tasks one by one; an image that cannot be used is reported and the others go on."""
    for image_id in ids:
        try:
            yield experiment.ready(image_id)
        except UserError as error:
            report("failed", (image_id, str(error)))


def sample(experiment: Experiment, ids: list[str], report: Report) -> None:
    """Sample ``ids`` in this process. ``report`` hears ``expected`` (network calls an image), ``calls`` (how many were
    made), ``done`` (an image's id and calls, once its files are there) and ``failed`` (id and reason).

    Raises:
        OSError: a picture or its record cannot be stored.
    """
    calls: dict[str, int] = {}
    with Writer(experiment.store, lambda image_id: report("done", (image_id, calls.pop(image_id)))) as writer:

        def progress(count: int) -> None:
            report("calls", count)
            writer.settle()  # after every network batch, so that a full disk is not found out hours later

        engine = experiment.engine(progress=progress)
        report("expected", engine.calls_expected())
        ready = tasks(experiment, ids, report)
        if experiment.setup.runtime.batch_size == AUTO and (first := next(ready, None)) is not None:
            engine.batch_size = best_batch_size(experiment.prior, first, engine.grid.timesteps[-1], len(ids))
            ready = chain([first], ready)
        for result in engine.run(ready):
            if result.failure:
                report("failed", (result.task.id, result.failure))
                continue
            calls[result.task.id] = result.calls
            writer.add(experiment.finish(result), experiment.record(result))


def sample_all(experiment: Experiment, ids: list[str], bar: Reporter) -> dict[str, str]:
    """Sample ``ids`` as the configuration says; returns what failed, with reasons.

    Raises:
        UserError: a sampling process ended before its images were done.
    """
    failed: dict[str, str] = {}

    def report(kind: str, content: Any) -> None:
        if kind == "calls":
            bar.work(content)
        elif kind == "done":
            bar.finish(content[1])
        elif kind == "failed":
            failed[content[0]] = content[1]
            bar.finish(0)
        elif kind == "expected":
            bar.expect(content)

    if min(experiment.cfg.runtime.workers, len(ids)) > 1:
        sample_in_processes(experiment, ids, report)
    else:
        sample(experiment, ids, report)
    return {image_id: failed[image_id] for image_id in ids if image_id in failed}  # whichever process was first


def sample_share(container: dict[str, Any], ids: list[str], rank: int, workers: int, pipe: Connection) -> None:
    """Body of a sampling process: its share of the images, on its own GPU where there are several."""
    threading.Thread(target=end_with_parent, daemon=True).start()
    cfg = OmegaConf.create(container)
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // workers))
    if resolve_device(cfg.runtime.device).type == "cuda" and cfg.runtime.device in ("auto", "cuda"):
        cfg.runtime.device = f"cuda:{rank % torch.cuda.device_count()}"
    try:
        sample(Experiment.of(cfg, typed=False), ids[rank::workers], lambda kind, content: pipe.send((kind, content)))
        pipe.send(("end", None))
    except (UserError, OSError) as error:
        pipe.send(("error", explained(error)))
    except Exception:
        pipe.send(("error", traceback.format_exc()))


@contextmanager
def deaf_to_interrupts() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def end_with_parent() -> None:
    """A process whose parent was killed has nobody to report to; what it finished is on disk."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def sample_in_processes(experiment: Experiment, ids: list[str], report: Report) -> None:
    """Sample ``ids`` in ``runtime.workers`` processes; images depend on nothing but their ids, so shares may vary.

    Raises:
        UserError: a process ended early; the others finish their shares first.
    """
    workers = min(experiment.cfg.runtime.workers, len(ids))
    context = multiprocessing.get_context("spawn")
    container = portable(experiment.cfg)
    pipes, pool = [], []
    for rank in range(workers):
        mine, theirs = context.Pipe(duplex=False)
        arguments = (container, ids, rank, workers, theirs)
        process = context.Process(target=sample_share, args=arguments, daemon=True)
        with deaf_to_interrupts():  # which the child inherits: Ctrl-C reaches the whole group, the parent decides
            process.start()
        theirs.close()  # so that the process's end is the pipe's end
        pipes.append(mine)
        pool.append(process)
    try:
        errors = listen(pipes, pool, report)
    finally:
        for process in pool:
            process.terminate()
        for process in pool:
            process.join()
    if errors:
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        raise UserError(f"{errors[0]}{more}; what is finished is kept, run the same command again to go on")


def listen(pipes: list[Connection], pool: list, report: Report) -> list[str]:
    """Pass on what the processes say until all have ended; returns how those ended that did not finish."""
    errors: list[str] = []
    open_pipes = dict(zip(pipes, pool, strict=True))
    while open_pipes:
        ready = wait(list(open_pipes))
        for pipe in [pipe for pipe in open_pipes if pipe in ready]:
            process = open_pipes[pipe]
            kind: str
            content: Any = None
            try:
                kind, content = pipe.recv()
            except (EOFError, OSError):
                process.join()
                errors.append(f"a sampling process died (exit code {process.exitcode})")
                kind = "end"
            if kind == "error":
                errors.append(content)
            if kind in ("end", "error"):
                del open_pipes[pipe]
            else:
                report(kind, content)
    return errors
