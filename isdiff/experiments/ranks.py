"""The processes that torchrun started, as one run: the first leads, the others follow.

They share torchrun's store of keys and, in it, a queue for each thing that the leader asks for. Every rank takes the
next number from the queue when it has room for it, so that none has a fixed share and none is taken twice. Nobody waits
in a collective operation: each rank says every few seconds that it lives, and one that says nothing is given up.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any

from isdiff.errors import UserError

POLL = 0.2  # seconds between two looks
BEAT = 5.0  # between two signs of life
SILENCE = 120.0  # after which a rank is given up
PART = 1 << 22  # bytes of a value; the store refuses larger ones than twice that


def several() -> bool:
    """Whether torchrun started this process and others."""
    return "TORCHELASTIC_RUN_ID" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1


class Lost(UserError):
    """The other ranks cannot be reached any more."""


class Team:
    """All ranks, as one of them sees the others.

    Args:
        store: a ``torch.distributed.Store`` that all of them share.
        rank: this one's number; 0 leads.
        size: how many there are.
        place: this one's number on its machine.
        silence: seconds after which a rank that gives no sign of life is given up.
    """

    def __init__(self, store: Any, rank: int, size: int, place: int = 0, silence: float = SILENCE) -> None:
        self.store, self.rank, self.size, self.place, self.silence = store, rank, size, place, silence
        self.asked = 0
        self.heard: dict[int, tuple[int, float]] = {}  # signs of life of a rank so far, and when the last one came
        self.left = threading.Event()
        threading.Thread(target=self.beat, daemon=True).start()

    @classmethod
    def joined(cls) -> Team:
        """The team that torchrun's variables name.

        Raises:
            Lost: its store does not answer.
        """
        from torch.distributed import PrefixStore, rendezvous

        threading.Thread(target=end_with_launcher, daemon=True).start()
        try:
            store, rank, size = next(iter(rendezvous("env://", timeout=timedelta(seconds=SILENCE))))
        except RuntimeError as error:
            raise Lost(f"torchrun's processes do not find each other ({first_line(error)})") from None
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        return cls(PrefixStore(f"isdiff/{attempt}", store), rank, size, int(os.environ.get("LOCAL_RANK", rank)))

    def call(self, name: str, *args: Any) -> Any:
        """An operation of the store.

        Raises:
            Lost: it does not answer.
        """
        try:
            return getattr(self.store, name)(*args)
        except RuntimeError as error:
            raise Lost(f"the other processes cannot be reached ({first_line(error)})") from None

    def say(self, key: str, content: Any) -> None:
        """Put something that JSON can hold under ``key``; it is there as soon as it is whole."""
        text = json.dumps(content)
        parts = [text[start : start + PART] for start in range(0, len(text), PART)]
        for n, part in enumerate(parts):
            self.call("set", f"{key}/{n}", part)
        self.call("set", key, str(len(parts)))

    def told(self, key: str) -> Any:
        """What is under ``key``, which must be there."""
        return json.loads(b"".join(self.call("get", f"{key}/{n}") for n in range(int(self.call("get", key)))))

    def beat(self) -> None:
        try:
            while True:
                self.call("add", f"lives/{self.rank}", 1)
                if self.left.wait(BEAT):
                    return
        except Lost:
            return

    def silent(self, rank: int) -> bool:
        """Whether another rank has given no sign of life for too long, counted from the first question on."""
        count, now = self.call("add", f"lives/{rank}", 0), time.monotonic()
        if count != self.heard.get(rank, (-1, now))[0]:
            self.heard[rank] = count, now
        return now - self.heard[rank][1] > self.silence

    def ask(self, content: Any) -> Queue:
        """The leader's: a new queue, and what it is about for the others."""
        self.asked += 1
        self.say(f"queue/{self.asked}", content)
        return Queue(self, self.asked)

    def follow(self) -> Iterator[tuple[Queue, Any]]:
        """The others': queue after queue with what each is about, until the leader has finished.

        Raises:
            Lost: the leader has ended without a word.
        """
        while True:
            key = f"queue/{self.asked + 1}"
            while not self.call("check", [key]):
                if self.call("check", ["finished"]):
                    self.call("add", "gone", 1)
                    self.left.set()
                    return
                if self.silent(0):
                    raise Lost(f"rank 0 has given no sign of life for {self.silence:.0f} s")
                time.sleep(POLL)
            self.asked += 1
            yield Queue(self, self.asked), self.told(key)

    def finish(self, patience: float = 10.0) -> None:
        """The leader's last word; the store may end with its process, so it waits a little until all have heard it."""
        try:
            self.call("set", "finished", "1")
            until = time.monotonic() + patience
            while self.call("add", "gone", 0) < self.size - 1 and time.monotonic() < until:
                time.sleep(POLL)
        except Lost:
            pass
        self.left.set()


class Queue:
    """The numbers from 0 on, each of which one rank takes, with counters and a last word of every rank."""

    def __init__(self, team: Team, number: int) -> None:
        self.team, self.name = team, f"queue/{number}"

    def take(self, things: Sequence[Any]) -> Iterator[Any]:
        """Those of ``things``, which all ranks know in the same order, that fall to this one."""
        while (place := self.team.call("add", f"{self.name}/next", 1) - 1) < len(things):
            yield things[place]

    def stop(self, things: Sequence[Any]) -> None:
        """Nobody takes anything any more."""
        self.team.call("add", f"{self.name}/next", len(things))

    def count(self, what: str, more: int) -> int:
        """A counter that all ranks share, after ``more`` were added to it."""
        return self.team.call("add", f"{self.name}/{what}", more)

    def end(self, content: Any) -> None:
        """This rank's last word."""
        self.team.say(f"{self.name}/end/{self.team.rank}", content)

    def gather(self, meanwhile: Callable[[], None]) -> list[Any]:
        """The last words of all ranks but the leader's, in their order; None of those that are silent.

        Args:
            meanwhile: called again and again until all have ended.
        """
        said: dict[int, Any] = {}
        while waiting := [rank for rank in range(1, self.team.size) if rank not in said]:
            for rank in waiting:
                key = f"{self.name}/end/{rank}"
                if self.team.call("check", [key]):
                    said[rank] = self.team.told(key)
                elif self.team.silent(rank):
                    said[rank] = None
            meanwhile()
            time.sleep(POLL)
        return [said[rank] for rank in range(1, self.team.size)]


def end_with_launcher() -> None:
    """torchrun ends its processes, but not if it was killed; what they finished is on disk."""
    launcher = os.getppid()
    while os.getppid() == launcher:
        time.sleep(1)
    os._exit(1)


def first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]


_team: list[Team] = []  # of this process, once it has joined


def lead(team: Team) -> None:
    """From now on, sampling is shared with ``team``."""
    _team[:] = [team]


def leading() -> Team | None:
    return _team[0] if _team else None
