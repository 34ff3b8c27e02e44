"""Sampling the images of an experiment: in this process, in several of its own, or in those that torchrun started."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from itertools import chain
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any

import torch
from omegaconf import DictConfig, OmegaConf

from isdiff.errors import UserError, explained
from isdiff.experiments.experiment import Experiment
from isdiff.experiments.settings import AUTO, portable
from isdiff.experiments.shelf import SHELF
from isdiff.experiments.writing import Writer
from isdiff.priors.batches import best_batch_size
from isdiff.priors.pixel import resolve_device
from isdiff.progress import Reporter
from isdiff.trajectory import Task

if TYPE_CHECKING:
    from isdiff.experiments.ranks import Queue, Team

Report = Callable[[str, Any], None]
MOST = 256  # images that runtime.batch_size=auto tries in one call
GO_ON = "what is finished is kept, run the same command again to go on"


def tasks(experiment: Experiment, ids: Iterable[str], report: Report) -> Iterator[Task]:
    """Tasks one by one; an image that cannot be used is reported and the others go on."""
    for image_id in ids:
        try:
            yield experiment.ready(image_id)
        except UserError as error:
            report("failed", (image_id, str(error)))


def sample(experiment: Experiment, ids: Iterable[str], report: Report, together: int | None = None) -> None:
    """Sample ``ids`` in this process. ``report`` hears ``expected`` (network calls an image), ``calls`` (how many were
    made), ``done`` (an image's id and calls, once its files are there) and ``failed`` (id and reason).

    Args:
        together: at most so many images at a time, if that is fewer than the batch size.
    Raises:
        OSError: a picture or its record cannot be stored.
    """
    calls: dict[str, int] = {}
    with Writer(experiment.store, lambda image_id: report("done", (image_id, calls.pop(image_id)))) as writer:

        def progress(count: int) -> None:
            report("calls", count)
            writer.settle()  # after every network batch, so that a full disk is not found out hours later

        engine = experiment.engine(progress=progress)
        engine.batch_size = min(engine.batch_size, together or engine.batch_size)
        report("expected", engine.calls_expected())
        ready = tasks(experiment, ids, report)
        search = experiment.setup.runtime.batch_size == AUTO and experiment.setup.asks
        if search and (first := next(ready, None)) is not None:
            most = min(together or MOST, len(ids) if isinstance(ids, list) else MOST)
            engine.batch_size = best_batch_size(experiment.prior, first, engine.grid.timesteps[-1], most)
            ready = chain([first], ready)
        if experiment.device.type != "cpu":  # where it would take from the network what it saves
            engine.ahead = look_ahead(engine.batch_size, together)
        with closing(engine.run(ready)) as results:
            for result in results:
                if result.failure:
                    report("failed", (result.task.id, result.failure))
                    continue
                calls[result.task.id] = result.calls
                writer.add(experiment.finish(result), experiment.record(result))


def look_ahead(batch_size: int, together: int | None) -> int:
    """How many images are begun before the batch has room: as many again, for most of them end at the same time; but
    no more than a quarter of what is this process's part besides its batch, or others would have nothing to do."""
    return batch_size if together is None else min(batch_size, max(0, together - batch_size) // 4)


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

    team = leading_team()
    if team is not None:
        sample_with_ranks(team, experiment, ids, report)
    elif min(experiment.cfg.runtime.workers, len(ids)) > 1:
        sample_in_processes(experiment, ids, report)
    else:
        sample(experiment, ids, report)
    return {image_id: failed[image_id] for image_id in ids if image_id in failed}  # whichever process was first


def sample_share(container: dict[str, Any], ids: list[str], rank: int, workers: int, pipe: Connection) -> None:
    """Body of a sampling process: its share of the images, on its own GPU where there are several."""
    threading.Thread(target=end_with_parent, daemon=True).start()
    cfg = OmegaConf.create(container)
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // workers))
    own_gpu(cfg, rank)
    try:
        sample(Experiment.of(cfg, typed=False), ids[rank::workers], lambda kind, content: pipe.send((kind, content)))
        pipe.send(("end", None))
    except (UserError, OSError) as error:
        pipe.send(("error", explained(error)))
    except Exception:
        pipe.send(("error", traceback.format_exc()))


def own_gpu(cfg: DictConfig, place: int) -> None:
    """Where nobody named one, the GPU of the process with this number on its machine."""
    if resolve_device(cfg.runtime.device).type == "cuda" and cfg.runtime.device in ("auto", "cuda"):
        cfg.runtime.device = f"cuda:{place % torch.cuda.device_count()}"


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
    refuse(errors)


def refuse(errors: list[str]) -> None:
    """
    Raises:
        UserError: there are any.
    """
    if errors:
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        raise UserError(f"{errors[0]}{more}; {GO_ON}")


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


def leading_team() -> Team | None:
    """The ranks that this process leads; None without torchrun."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return None
    from isdiff.experiments.ranks import leading

    return leading()


def sample_with_ranks(team: Team, experiment: Experiment, ids: list[str], report: Report) -> None:
    """Sample ``ids`` together with the ranks that torchrun started.

    Raises:
        UserError: a rank could not go on; the others finish what is left first.
    """
    if experiment.cfg.runtime.workers > 1:
        raise UserError(
            f"runtime.workers is {experiment.cfg.runtime.workers}, but torchrun starts the processes; leave it"
        )
    queue = team.ask({"config": portable(experiment.cfg), "ids": ids})
    others = Others(queue, report)

    def also(kind: str, content: Any) -> None:
        report(kind, content)
        others.look()

    try:
        sample(experiment, queue.take(ids), also, at_a_time(ids, team))
    except Exception:
        queue.stop(ids)
        queue.gather(others.look)  # so that none is still at it when the next thing is asked for
        raise
    ends = queue.gather(others.look)
    for failures in [end["failed"] for end in ends if end]:
        for image_id, reason in failures.items():
            report("failed", (image_id, reason))
    died = f"a rank has given no sign of life for {team.silence:.0f} s"
    refuse([end["error"] if end else died for end in ends if not end or end["error"]])


def at_a_time(ids: list[str], team: Team) -> int:
    """The first rank that is ready must leave something for the others."""
    return -(-len(ids) // team.size)


class Others:
    """The progress of the other ranks, as far as it was not reported yet."""

    def __init__(self, queue: Queue, report: Report) -> None:
        self.queue, self.report = queue, report
        self.seen = {"calls": 0, "done": 0, "spent": 0}
        self.next_look = 0.0

    def look(self) -> None:
        if time.monotonic() < self.next_look:
            return
        self.next_look = time.monotonic() + 0.5
        now = {what: self.queue.count(what, 0) for what in self.seen}
        new = {what: now[what] - self.seen[what] for what in now}
        self.seen = now
        if new["calls"]:
            self.report("calls", new["calls"])
        for _ in range(new["done"]):
            self.report("done", ("", new["spent"] / new["done"]))


def sample_for_leader(team: Team) -> None:
    """Body of the other ranks: they sample what the leader asks for, each on its own GPU, until it has finished.

    Raises:
        UserError: the leader cannot be reached any more.
    """
    for queue, asked in team.follow():
        failed: dict[str, str] = {}

        def report(kind: str, content: Any, queue: Queue = queue, failed: dict[str, str] = failed) -> None:
            if kind == "calls":
                queue.count("calls", content)
            elif kind == "done":
                queue.count("spent", content[1])
                queue.count("done", 1)
            elif kind == "failed":
                failed[content[0]] = content[1]

        error = ""
        try:
            cfg = OmegaConf.create(asked["config"])
            own_gpu(cfg, team.place)
            experiment = Experiment.of(cfg, typed=False)
            experiment.shelf = SHELF
            sample(experiment, queue.take(asked["ids"]), report, at_a_time(asked["ids"], team))
        except (UserError, OSError) as reason:
            error = explained(reason)
        except Exception:
            error = traceback.format_exc()
        queue.end({"failed": failed, "error": error})
