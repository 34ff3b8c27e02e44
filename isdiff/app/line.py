"""The line in which requests wait: one is worked on at a time, each can be followed and given up."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from isdiff.errors import UserError, explained

Asked = TypeVar("Asked")
Made = TypeVar("Made")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Waiting:
    """``place`` 1 is the next one."""

    place: int


@dataclass(frozen=True, eq=False)
class Working(Generic[Made]):
    """``sight`` is what the work told last; None before."""

    sight: Made | None = None


@dataclass(frozen=True, eq=False)
class Done(Generic[Made]):
    made: Made


@dataclass(frozen=True)
class Failed:
    """``why`` is a sentence."""

    why: str


@dataclass(frozen=True)
class Cancelled:
    """It was given up."""


State = Waiting | Working | Done | Failed | Cancelled
ENDS = (Done, Failed, Cancelled)


class Ticket:
    """A request's place in the line, and what has become of it."""

    def __init__(self, asked: object, changed: threading.Condition, state: State, visitor: str) -> None:
        self.asked, self.changed, self.state, self.visitor = asked, changed, state, visitor
        self.given_up = False

    def tell(self, sight: object) -> None:
        """From within the work: what can be seen of it."""
        self.become(Working(sight))

    def become(self, state: State) -> None:
        with self.changed:
            self.state = state
            self.changed.notify_all()

    @property
    def ended(self) -> bool:
        return isinstance(self.state, ENDS)

    def follow(self) -> Iterator[State]:
        """Its states up to the last one; some are left out where the listener is slow."""
        seen: State | None = None
        while not isinstance(seen, ENDS):
            with self.changed:
                while self.state is seen:
                    self.changed.wait()
                seen = self.state
            yield seen


class Line(Generic[Asked, Made]):
    """
    Args:
        work: makes something of a request; it is called in one thread of its own, one request after the other, and
            tells the ticket what can be seen, and asks it whether it was given up.
        longest: so many may wait, half of them of one visitor.
    """

    def __init__(self, work: Callable[[Asked, Ticket], Made], longest: int) -> None:
        self.work, self.longest = work, longest
        self.changed = threading.Condition()
        self.waiting: deque[Ticket] = deque()
        self.current: Ticket | None = None
        self.closed = False
        self.thread = threading.Thread(target=self.serve, name="isdiff-app", daemon=True)
        self.thread.start()

    def enter(self, asked: Asked, visitor: str = "") -> Ticket:
        """
        Raises:
            UserError: the line is full, or the visitor's share of it.
        """
        with self.changed:
            if len(self.waiting) >= self.longest:
                raise UserError(f"{len(self.waiting)} requests are waiting already, no more fit; try again in a while")
            if sum(other.visitor == visitor for other in self.waiting) >= max(1, self.longest // 2):
                raise UserError(
                    f"{self.longest // 2 or 1} of your requests are waiting already; wait for one, or cancel it"
                )
            ticket = Ticket(asked, self.changed, Waiting(len(self.waiting) + 1), visitor)
            self.waiting.append(ticket)
            self.changed.notify_all()
        return ticket

    def cancel(self, ticket: Ticket) -> None:
        """Give a request up: at once if it waits, otherwise as soon as the work asks."""
        with self.changed:
            ticket.given_up = True
            if ticket in self.waiting:
                self.waiting.remove(ticket)
                ticket.become(Cancelled())
                self.renumber()

    def renumber(self) -> None:
        for place, ticket in enumerate(self.waiting, 1):
            if ticket.state != Waiting(place):
                ticket.become(Waiting(place))

    def next(self) -> Ticket | None:
        """The next request, once there is one; None once the line is closed."""
        with self.changed:
            self.changed.wait_for(lambda: self.waiting or self.closed)
            if self.closed:
                return None
            self.current = self.waiting.popleft()
            self.current.become(Working())
            self.renumber()
            return self.current

    def serve(self) -> None:
        while (ticket := self.next()) is not None:
            try:
                made = self.work(ticket.asked, ticket)  # type: ignore[arg-type]
            except Exception as error:  # whatever happens to one request, the others go on
                if not isinstance(error, (UserError, OSError)):
                    log.exception("a request failed")
                ticket.become(Failed(explained(error)))
            else:
                ticket.become(Cancelled() if ticket.given_up else Done(made))

    def close(self) -> None:
        """Give everything up and end the thread."""
        with self.changed:
            self.closed = True
            for ticket in [*self.waiting, *filter(None, [self.current])]:
                self.cancel(ticket)
            self.changed.notify_all()
