"""Ray's pool of processes, on this machine or a cluster. A process that dies is started again by Ray."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isdiff.errors import UserError
from isdiff.experiments.runner import RETRIES, Job, computed, refuse_dead
from isdiff.experiments.sampling import leading_team


class Worker:
    """A process of a pool.

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
        return computed(configs)


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
        refuse_dead(died)

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
