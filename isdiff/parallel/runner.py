"""Runs that several processes compute before a table or a comparison is made: ``runner=local``, ``runner=ray``.

Nothing is handed back: the table takes up what is in the runs' folders, as after a stop.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import redirect_stderr, suppress
from dataclasses import dataclass, replace
from functools import partial
from math import inf
from pathlib import Path

import torch

from isdiff.config.nodes import Config
from isdiff.errors import UserError
from isdiff.packages import import_extra
from isdiff.parallel.pool import GO_ON, RETRIES, cpus, in_processes, own_gpu
from isdiff.progress import Reporter
from isdiff.runs.experiment import Experiment
from isdiff.runs.run import execute


@dataclass(frozen=True)
class Job:
    """Runs with the same folder, which one process makes one after the other."""

    name: str
    configs: tuple[Config, ...]
    calls: int = 0  # network calls that the missing images take, as far as that is known before
    model: str = ""


def jobs_of(runs: Iterable[tuple[str, Config]]) -> list[Job]:
    """List what is to be computed for these runs, no run twice, those with the most network calls first.

    Runs that cannot be begun are left to the table, which says why.
    """
    found: dict[str, Job] = {}
    for name, cfg in runs:
        try:
            experiment = Experiment.of(cfg)
            experiment.require(experiment.ids())
        except UserError:
            continue
        place = str(experiment.store.path)
        before = found.get(place, Job(name, (), model=experiment.setup.model.name))
        if cfg not in before.configs:
            images = len(set(experiment.ids()) - experiment.store.records().keys())
            calls = max(before.calls, images * experiment.setup.calls_expected())  # the same images, all or some
            found[place] = replace(before, configs=(*before.configs, cfg), calls=calls)
    return sorted((job for job in found.values() if job.calls), key=lambda job: (-job.calls, job.model))


def compute(configs: Sequence[Config], place: int, tell: Callable[[float], None]) -> None:
    """Make these runs, and tell how many network calls were made since the last time."""
    with open(os.devnull, "w") as nowhere, redirect_stderr(nowhere):  # one bar is shown for all
        for cfg in configs:
            told = 0.0

            def listen(numbers: Mapping[str, float]) -> None:
                nonlocal told
                if numbers["steps"] > told:
                    tell(numbers["steps"] - told)
                told = numbers["steps"]

            with suppress(Exception):  # the table makes the run again and says why
                cfg.runtime.workers = 1
                own_gpu(cfg.runtime, place)
                execute(cfg, listen)
    tell(inf)


def run_locally(jobs: list[Job], workers: int | None = None) -> None:
    """Make all runs in ``workers`` processes of this machine; by default one for each GPU, or else CPU."""
    if not jobs:
        return
    left = [float(job.calls) for job in jobs]
    with Reporter("runs", sum(job.calls for job in jobs), unit="network call") as bar:

        def hear(number: int, calls: float) -> None:
            step = min(calls, left[number])  # retries make more calls than were expected
            left[number] -= step
            bar.advance(step)

        count = min(workers or torch.cuda.device_count() or cpus(), len(jobs))
        in_processes(compute, [job.configs for job in jobs], count, hear)


def run_on_ray(jobs: list[Job], gpus: float | None = None, address: str | None = None) -> None:
    """Make all runs in tasks of Ray's, as many at a time as there is room for.

    Args:
        gpus: what share of a GPU each gets; None for a whole one where there are any.
        address: of a cluster, such as ``auto``; None for ``RAY_ADDRESS``, or one of this machine for this command.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
    ray = import_extra("ray", "runner=ray needs", "ray")
    own = {} if address or "RAY_ADDRESS" in os.environ else {"include_dashboard": False}
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR", **own)
    except (ConnectionError, ValueError, RuntimeError) as error:
        what = str(error).partition("\n")[0]
        raise UserError(f"Ray does not start ({what}); check runner.address") from None
    try:
        there = ray.cluster_resources().get("GPU", 0.0)
        share = gpus if gpus is not None else float(there > 0)
        if share > there:
            raise UserError(f"runner.gpus is {share:g}, but Ray has {there:g} GPUs; leave it or give 0")
        task = ray.remote(num_cpus=1, num_gpus=share, max_retries=RETRIES)(compute_there)
        place = str(Path.cwd()), os.environ.get("ISDIFF_HOME", "")
        waiting = {task.remote(job.configs, *place): job for job in jobs}
        died = []
        with Reporter("runs", len(jobs), unit="run") as bar:
            while waiting:
                (ready,), _ = ray.wait(list(waiting))
                job = waiting.pop(ready)
                try:
                    ray.get(ready)
                except ray.exceptions.RayError as error:
                    died.append(f"{job.name} ({str(error).strip().splitlines()[-1]})")
                bar.advance()
        if died:
            raise UserError(f"Ray could not compute {', '.join(died)}; {GO_ON}")
    finally:
        ray.shutdown()


def compute_there(configs: Sequence[Config], folder: str, home: str) -> None:
    """A task of Ray's: these runs, with relative paths of this working folder."""
    os.chdir(folder)
    os.environ.pop("ISDIFF_HOME", None)
    if home:
        os.environ["ISDIFF_HOME"] = home
    compute(configs, 0, lambda _: None)


Runner = Callable[[list[Job]], None]
RUNNERS: dict[str, tuple[Callable[..., None], dict[str, type]]] = {
    "local": (run_locally, {"runner.workers": int}),
    "ray": (run_on_ray, {"runner.gpus": float, "runner.address": str}),
}


def split(items: Sequence[str]) -> tuple[Runner | None, list[str]]:
    """Return the runner that ``runner=local``, ``runner.workers=8``, ... ask for, or None, and the other items."""
    given = dict(item.split("=", 1) for item in items if item.startswith(("runner=", "runner.")) and "=" in item)
    if not given:
        return None, list(items)
    rest = [item for item in items if item.partition("=")[0] not in given]
    try:
        run, settings = RUNNERS[given.pop("runner", "")]
        values = {key.removeprefix("runner."): settings[key](text) for key, text in given.items()}
        if values.get("workers", 1) < 1 or not 0 <= values.get("gpus", 0) <= 1:
            raise ValueError
    except (KeyError, ValueError):
        raise UserError(
            f"{' '.join(item for item in items if item not in rest)}: runner=local may have runner.workers, a whole "
            "number of at least 1; runner=ray may have runner.gpus, a number from 0 to 1, and runner.address, a text"
        ) from None
    return partial(run, **values), rest
