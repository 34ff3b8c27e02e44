"""``torchrun --nproc_per_node=8 -m isdiff run ...``: rank 0 is the command, the others work when it asks them to.

Each has a fixed share. If one dies, torchrun ends them all and, with ``--max-restarts``, begins again.
"""

import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from isdiff.errors import UserError

SHARED = ("run", "compare", "table")  # commands that sample experiments
PATIENCE = timedelta(days=20)  # rank 0 measures while the others wait
size = 1  # of the ranks that this process leads, itself among them


def in_ranks(asked: Sequence[Any] | None, hear: Callable[..., None]) -> list[Any] | None:
    """Return what all ranks answer to rank 0's questions, in their order; None if it has no more. All take part.

    ``asked`` has at rank 0 a module's function and its first argument for each rank; its other arguments are as in
    :func:`isdiff.parallel.pool.in_processes`.
    """
    import torch.distributed as dist

    try:
        mine: list[Any] = [None]
        dist.scatter_object_list(mine, asked)
        if mine[0] is None:
            return None
        work, item = mine[0]
        answer = work(item, int(os.environ["LOCAL_RANK"]), hear)
        answers = [None] * dist.get_world_size() if dist.get_rank() == 0 else None
        dist.gather_object(answer, answers)
    except RuntimeError:
        raise UserError("another of torchrun's processes has ended; run the same command again to go on") from None
    return answers or []


def together(words: list[str], alone: Callable[[list[str]], int]) -> int:
    """Return this rank's exit code: 0 except at rank 0, as torchrun ends all ranks with the first that fails."""
    global size
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return alone(words)
    leads = os.environ["RANK"] == "0"
    if words and words[0] not in SHARED and not words[0].startswith("-"):
        if leads:
            what = f"isdiff {words[0]} is one process; start it without torchrun (which is for {', '.join(SHARED)})"
            print(f"isdiff: {what}", file=sys.stderr)
        return int(leads)
    import torch.distributed as dist

    threading.Thread(target=end_with_launcher, args=(os.getppid(),), daemon=True).start()
    try:
        store, rank, world = next(iter(dist.rendezvous("env://", timeout=PATIENCE)))
        store = dist.PrefixStore(os.environ["TORCHELASTIC_RESTART_COUNT"], store)  # else it knows dead processes
        dist.init_process_group("gloo", store=store, rank=rank, world_size=world, timeout=PATIENCE)
        if leads:
            size = world
            code = alone(words)
            if code == 130:  # the others are at work, and end with this one
                return code
            in_ranks([None] * size, lambda *_: None)
        else:
            code = 0
            while in_ranks(None, lambda *_: None) is not None:
                pass
        dist.destroy_process_group()  # else its threads may abort a process that is done
        return code
    except UserError as error:
        print(f"isdiff: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:  # rank 0 says so
        return 130


def end_with_launcher(launcher: int) -> None:
    """torchrun ends its processes, but not if it was killed; what they finished is on disk."""
    while os.getppid() == launcher:
        time.sleep(1)
    os._exit(1)
