"""Processes of this machine that stay for all runs of a table: each imports and warms up once."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr, suppress
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from typing import Any

import torch
from omegaconf import OmegaConf

from isdiff.errors import UserError
from isdiff.experiments.build import as_dict
from isdiff.experiments.runner import RETRIES, Job, computed, refuse_dead
from isdiff.experiments.sampling import deaf_to_interrupts, end_with_parent, leading_team, own_gpu
from isdiff.progress import Reporter


def cpus() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class LocalRunner:
    """
    Attributes:
        workers: how many processes; None for as many as there are GPUs, or CPUs where there is no GPU.
    """

    workers: int | None = None

    def compute(self, jobs: list[Job]) -> None:
        if leading_team() is not None:
            raise UserError("runner=local has processes of its own; start it without torchrun")
        # The longest first: no long tail. Of equals those of one model together, which stays loaded between them.
        jobs = sorted((job for job in jobs if job.calls), key=lambda job: (-job.calls, job.model))
        count = min(self.workers or torch.cuda.device_count() or cpus(), len(jobs))
        if not jobs:
            return
        team = [Place(number, max(1, cpus() // count)) for number in range(count)]
        try:
            with Reporter("runs", sum(job.calls for job in jobs), unit="network call") as bar:
                died = handed_out(team, jobs, bar)
        finally:
            for place in team:
                place.stop()
        refuse_dead(died)


@dataclass
class Place:
    """One of the processes, started again where it died, and what it is at."""

    number: int
    threads: int
    job: Job | None = None
    calls: int = 0  # of this job, as far as it has told
    deaths: int = 0
    process: Any = None
    pipe: Connection | None = field(default=None)

    def begin(self, job: Job) -> None:
        """Hand ``job`` to the process, which is started where there is none."""
        if self.process is None:
            context = get_context("spawn")
            self.pipe, theirs = context.Pipe()
            process = context.Process(target=serve, args=(theirs, self.number, self.threads), daemon=True)
            with deaf_to_interrupts():
                process.start()
            self.process = process
            theirs.close()  # so that the process's end is the pipe's end
        assert self.pipe is not None
        self.job, self.calls = job, 0
        with suppress(OSError):  # it has died: the answer will say so
            self.pipe.send(job.configs)

    def answer(self) -> int | str | None:
        """What the process says of its job: network calls since it last spoke, or at the end a sentence, empty where
        all went well; None if it died."""
        assert self.pipe is not None
        try:
            return self.pipe.recv()
        except (EOFError, OSError):
            self.stop()
            return None

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.join()
        self.process = None


def handed_out(team: list[Place], jobs: list[Job], bar: Reporter) -> list[str]:
    """Give each process a job whenever it is free; returns the names of those at which processes died each time."""
    waiting, died = list(reversed(jobs)), []
    idle, busy = list(team), list[Place]()
    while waiting or busy:
        while waiting and idle:
            place = idle.pop()
            place.begin(waiting.pop())
            busy.append(place)
        ready = wait([place.pipe for place in busy if place.pipe])
        for place in [place for place in busy if place.pipe in ready]:
            job = place.job
            assert job is not None
            sentence = place.answer()
            if isinstance(sentence, int):
                step = min(sentence, job.calls - place.calls)  # retries make more calls than were expected
                place.calls += step
                bar.advance(step)
                continue
            if sentence is None and place.deaths < RETRIES:
                place.deaths += 1
                bar.advance(-place.calls)
                place.begin(job)
                continue
            if sentence is None:
                died.append(job.name)
            elif sentence:
                print(f"isdiff: {job.name}: {sentence}", file=sys.stderr, flush=True)
            place.deaths = 0
            busy.remove(place)
            idle.append(place)
            bar.advance(job.calls - place.calls)
    return died


def serve(pipe: Connection, number: int, threads: int) -> None:
    """Body of a process: make the runs that come, one after the other, until the parent ends."""
    threading.Thread(target=end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    with open(os.devnull, "w") as nowhere, redirect_stderr(nowhere):  # the parent shows one bar for all
        while True:
            configs = pipe.recv()
            pipe.send(computed([with_own_gpu(config, number) for config in configs], now_and_then(pipe.send)))


def now_and_then(tell: Callable[[int], None], seconds: float = 1.0) -> Callable[[Mapping[str, float]], None]:
    """A listener to runs, one after the other, that tells how many network calls they made since it last did."""
    made, untold, last = 0, 0, time.monotonic()

    def listen(numbers: Mapping[str, float]) -> None:
        nonlocal made, untold, last
        steps = int(numbers["steps"])
        untold += steps - made if steps >= made else steps  # fewer than before: another run
        made = steps
        if untold and time.monotonic() - last > seconds:
            tell(untold)
            untold, last = 0, time.monotonic()

    return listen


def with_own_gpu(config: dict[str, Any], number: int) -> dict[str, Any]:
    cfg = OmegaConf.create(config)
    own_gpu(cfg, number)
    return as_dict(cfg, resolve=False)
