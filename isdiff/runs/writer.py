"""Finished images go to the disk while the network is at the next ones."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from isdiff.data.images import pixels_hash
from isdiff.runs.store import RunFolder

MOST = 64  # pictures that wait for a slow disk


class Writer:
    """Stores images in one thread, in the order in which they come; as a context, it ends when all are on the disk.

    Encoding and waiting for the disk (two ``fsync`` an image) take a few milliseconds, in which the network would stand
    still. Whatever ends the context early, an interrupt too, what was given is stored still.

    Args:
        stored: called with the id of each image whose files are there, in the thread that gives the images.
    """

    def __init__(self, store: RunFolder, stored: Callable[[str], None]) -> None:
        self.store, self.stored = store, stored
        self.pool = ThreadPoolExecutor(1, thread_name_prefix="isdiff-writer")
        self.pending: deque[Future[str]] = deque()

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.pool.shutdown()
        if kind is None:
            self.settle()

    def add(self, picture: np.ndarray, record: dict[str, Any]) -> None:
        """Store ``picture`` (H, W, 3) uint8 soon, with its hash in ``record``."""
        self.pending.append(self.pool.submit(self.write, picture, record))
        self.settle(MOST)

    def write(self, picture: np.ndarray, record: dict[str, Any]) -> str:
        """Store it now; returns its id."""
        self.store.add(picture, record | {"picture_sha": pixels_hash(picture)})
        return record["id"]

    def settle(self, most: int | None = None) -> None:
        """Say of what is stored that it is; wait where more than ``most`` images are not (None: do not wait).

        The error of an image that could not be stored, as on a full disk, is raised here.
        """
        while self.pending and (self.pending[0].done() or (most is not None and len(self.pending) > most)):
            self.stored(self.pending.popleft().result())
