"""Processes of this machine, each with its own GPU. Where one dies, a new pool goes on with what is left.

Results are in folders, and what is there is not made again: a dead process costs the images that the pool was at.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing import active_children, get_context, parent_process
from typing import Any, TypeVar

import torch

from isdiff.devices import resolve_device
from isdiff.errors import UserError

T = TypeVar("T")
R = TypeVar("R")
Work = Callable[[T, int, Callable[..., None]], R]  # takes an item, the number of its process, and whom to tell

RETRIES = 3  # new pools, or new tries of Ray's, after processes died
GO_ON = "what is finished is kept, run the same command again to go on"
launched = 1  # processes that torchrun was asked for
own: dict[str, Any] = {}  # what a process of a pool knows of itself: its ``place``, and ``messages`` to its parent


def in_processes(work: Work[T, R], items: Sequence[T], count: int, hear: Callable[..., None]) -> list[R]:
    """Return what ``work``, a module's function, returns for each item, in their order, made by ``count`` processes.

    ``hear`` is called in this thread with an item's number and what was told of it, which must be small.
    """
    done: dict[int, R] = {}
    for _ in range(RETRIES + 1):
        with suppress(BrokenProcessPool):
            in_one_pool(done, work, items, count, hear)
            return [done[number] for number in range(len(items))]
    raise UserError(f"processes died {RETRIES + 1} times, perhaps for lack of memory; {GO_ON}")


def in_one_pool(
    done: dict[int, R], work: Work[T, R], items: Sequence[T], count: int, hear: Callable[..., None]
) -> None:
    context, others = get_context("spawn"), set(active_children())
    places, messages = context.SimpleQueue(), context.SimpleQueue()
    for place in range(count):
        places.put(place)
    pool = ProcessPoolExecutor(count, context, begin, (places, messages, max(1, cpus() // count)))
    main = threading.current_thread() is threading.main_thread()
    try:
        # Processes inherit that interrupts are ignored: Ctrl-C reaches them too, but this one decides.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN) if main else None
        try:
            pending = {pool.submit(call, work, n, item): n for n, item in enumerate(items) if n not in done}
        finally:
            if main:
                signal.signal(signal.SIGINT, before)
        while pending:
            ended = wait(pending, timeout=0.1, return_when=FIRST_COMPLETED).done
            while not messages.empty():
                hear(*messages.get())
            for future in ended:
                done[pending.pop(future)] = future.result()
    finally:
        for process in set(active_children()) - others:
            process.terminate()  # it may be at work still
        pool.shutdown(cancel_futures=True)
        del pool, places, messages  # and their semaphores, also where an interrupt ends this process at once


def begin(places: Any, messages: Any, threads: int) -> None:
    threading.Thread(target=end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    own.update(place=places.get(), messages=messages)


def end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def call(work: Work[T, R], number: int, item: T) -> R:
    return work(item, own["place"], lambda *content: own["messages"].put((number, *content)))


def take_over() -> None:
    """Do as rank 0 what torchrun's ranks were asked for: runs are sampled by as many processes of this one.

    torchrun ends this process, but not if it was killed.
    """
    global launched
    if os.environ["LOCAL_WORLD_SIZE"] != os.environ["WORLD_SIZE"]:
        raise UserError("torchrun was given several machines; isdiff uses one: take runner=ray or Slurm for more")
    launched = int(os.environ["WORLD_SIZE"])
    threading.Thread(target=end_with_launcher, args=(os.getppid(),), daemon=True).start()


def end_with_launcher(launcher: int) -> None:
    while os.getppid() == launcher:
        time.sleep(1)
    os._exit(1)


def cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def own_gpu(runtime: Any, place: int) -> None:
    """Take the GPU with the number of the process, where nobody named one."""
    if runtime.device in ("auto", "cuda") and resolve_device(runtime.device).type == "cuda":
        runtime.device = f"cuda:{place % torch.cuda.device_count()}"
