"""Runs that are computed by a pool of Ray's processes before a table or a comparison is made from them.

A run's folder is named by what its results depend on, so nothing is handed back: the table takes up what is there, as
after a stop. A process that dies is started again, and goes on with the run that it was at.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from isdiff.errors import UserError, explained
from isdiff.experiments.build import as_dict
from isdiff.experiments.experiment import Experiment
from isdiff.experiments.run import execute
from isdiff.experiments.sampling import leading_team

RETRIES = 3  # times that a run is taken up again whose process died


@dataclass(frozen=True)
class Job:
    """Runs with the same folder, which one process makes one after the other."""

    name: str
    configs: tuple[dict[str, Any], ...]


def jobs_of(runs: Iterable[tuple[str, DictConfig]]) -> list[Job]:
    """Runs by their folders, no run twice; those that cannot be begun are left to the table, which says why."""
    found: dict[str, Job] = {}
    for name, cfg in runs:
        try:
            experiment = Experiment.of(cfg)
            experiment.require(experiment.ids())
        except UserError:
            continue
        place, config = str(experiment.store.path), as_dict(cfg, resolve=False)
        before = found.get(place, Job(name, ()))
        if config not in before.configs:
            found[place] = Job(before.name, (*before.configs, config))
    return list(found.values())


class Worker:
    """What a process of the pool does.

    Args:
        folder: the working folder that relative paths of the configurations are of.
        home: ``ISDIFF_HOME``; empty for none.
    """

    def __init__(self, folder: str, home: str) -> None:
        os.chdir(folder)
        os.environ.pop("ISDIFF_HOME", None)
        if home:
            os.environ["ISDIFF_HOME"] = home

    def compute(self, configs: Sequence[dict[str, Any]]) -> str:
        """Make these runs; a sentence about the first that could not be made, empty without one."""
        for config in configs:
            try:
                execute(OmegaConf.create(config))
            except (UserError, OSError) as error:
                return explained(error)
            except Exception:
                return traceback.format_exc()
        return ""


@dataclass(frozen=True)
class RayRunner:
    """
    Attributes:
        workers: how many processes; None for as many as there are GPUs, or CPUs where there is no GPU.
        gpus: what share of a GPU each gets; None for a whole one where there are any.
        address: of a cluster, such as ``auto``; None for the one that ``RAY_ADDRESS`` names, or one of this machine
            that ends with the command.
    """

    workers: int | None = None
    gpus: float | None = None
    address: str | None = None

    def compute(self, jobs: list[Job]) -> None:
        """Make all runs of ``jobs``.

        Raises:
            UserError: Ray is not installed, has not enough for so many processes, or processes died again and again.
        """
        if leading_team() is not None:
            raise UserError("runner=ray has processes of its own; start it without torchrun")
        ray = imported()
        begin(ray, self.address)
        try:
            count, share = self.shared(ray.cluster_resources(), len(jobs))
            actor = ray.remote(num_gpus=share, num_cpus=1, max_restarts=-1, max_task_retries=RETRIES)(Worker)
            home = os.environ.get("ISDIFF_HOME", "")
            died = pooled(ray, [actor.remote(str(Path.cwd()), home) for _ in range(count)], jobs)
        finally:
            ray.shutdown()
        if died:
            raise UserError(
                f"the processes that computed {died[0]}"
                + (f" (and {len(died) - 1} more)" if len(died) > 1 else "")
                + f" died {RETRIES + 1} times; what is finished is kept, run the same command again to go on"
            )

    def shared(self, there: dict[str, float], jobs: int) -> tuple[int, float]:
        """How many processes there are for so many jobs, and the share of a GPU of each.

        Raises:
            UserError: Ray has not enough for the processes that are asked for.
        """
        share = self.gpus if self.gpus is not None else float("GPU" in there)
        room = int(there.get("GPU", 0) / share) if share else int(there.get("CPU", 1))
        if (self.workers or 1) > room:
            thing = f"{there.get('GPU', 0):g} GPUs" if share else f"{room} CPUs"
            raise UserError(f"runner.workers is {self.workers or 1}, but Ray has {thing}: room for {room}")
        return max(1, min(self.workers or room, jobs)), share


def pooled(ray: Any, idle: list[Any], jobs: list[Job]) -> list[str]:
    """Hand out ``jobs`` to whichever process is free; returns the names of those whose processes died."""
    waiting, died, done = list(reversed(jobs)), [], 0
    busy: dict[Any, tuple[Any, Job]] = {}  # what each process is at, by its promise
    while waiting or busy:
        while waiting and idle:
            actor, job = idle.pop(), waiting.pop()
            busy[actor.compute.remote(job.configs)] = actor, job
        (ready, *_), _ = ray.wait(list(busy))
        actor, job = busy.pop(ready)
        done += 1
        try:
            sentence = ray.get(ready)
        except ray.exceptions.RayActorError:
            died.append(job.name)
            sentence = "its process died again and again"
        print(f"{done}/{len(jobs)}: {job.name}{': ' if sentence else ''}{sentence}", file=sys.stderr, flush=True)
        idle.append(actor)
    return died


def imported() -> Any:
    """
    Raises:
        UserError: Ray is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
    try:
        import ray
    except ImportError:
        raise UserError("runner=ray needs the package ray: pip install 'isdiff[ray]'") from None
    return ray


def begin(ray: Any, address: str | None) -> None:
    """
    Raises:
        UserError: there is no such cluster.
    """
    own = {} if address or "RAY_ADDRESS" in os.environ else {"include_dashboard": False}
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR", **own)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise UserError(f"Ray does not start ({str(error).partition(chr(10))[0]}); check runner.address") from None


def split(items: Sequence[str]) -> tuple[RayRunner | None, list[str]]:
    """The runner that ``runner=ray``, ``runner.workers=8``, ... ask for, None for none; and the other items.

    Raises:
        UserError: there is no such runner, or it has no such setting.
    """
    given = dict(
        item.split("=", 1) for item in items if item.partition("=")[0].partition(".")[0] == "runner" and "=" in item
    )
    rest = [item for item in items if item.partition("=")[0] not in given]
    name = given.pop("runner", None)
    if name is None and not given:
        return None, rest
    if name != "ray":
        raise UserError(f"runner is {name!r}; it must be ray, or not be given for runs in this process")
    values: dict[str, Any] = {}
    for key, text in given.items():
        kind = {"workers": int, "gpus": float, "address": str}.get(key.partition(".")[2])
        try:
            if kind is None:
                raise ValueError
            values[key.partition(".")[2]] = kind(text)
            if kind is not str and kind(text) < (kind is int):
                raise ValueError
        except ValueError:
            raise UserError(
                f"{key}={text}: runner.workers is a whole number of at least 1, runner.gpus a number of at least 0, "
                "runner.address a text"
            ) from None
    return RayRunner(**values), rest
