"""Work for the things that come next, done in a thread while the network computes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Ahead(Generic[T, R]):
    """Things in their order, each with a call that returns what ``work`` makes of it, or raises what that raised.

    Things are taken, so many more than were asked for, by whoever asks; one thread works at them, in their order. As a
    context, it ends when no work is under way; what was not begun is given up.

    Args:
        count: most things that are taken before they are asked for.
    """

    def __init__(self, things: Iterable[T], work: Callable[[T], R], count: int) -> None:
        self.things, self.work, self.count = iter(things), work, count
        self.pool = ThreadPoolExecutor(1, thread_name_prefix="isdiff-ahead")
        self.pending: deque[tuple[T, Future[R]]] = deque()

    def __enter__(self) -> Ahead[T, R]:
        return self

    def __exit__(self, *_: object) -> None:
        self.pool.shutdown(cancel_futures=True)

    def __iter__(self) -> Iterator[tuple[T, Callable[[], R]]]:
        return self

    def __next__(self) -> tuple[T, Callable[[], R]]:
        for thing in self.things:
            self.pending.append((thing, self.pool.submit(self.work, thing)))
            if len(self.pending) > self.count:
                break
        if not self.pending:
            raise StopIteration
        thing, done = self.pending.popleft()
        return thing, done.result
