"""The line in which requests wait: one is worked on at a time, each can be followed and given up.

Gradio's queue does not replace it: it cannot refuse a visitor who has enough in it, and its ``cancels`` ends the
listening and not the work.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from isdiff.errors import UserError

log = logging.getLogger(__name__)


class Ticket:
    """A request in the line.

    Attributes:
        given_up: whether the work is to end early.
        sight: what the work told last.
    """

    future: Future

    def __init__(self, line: Line, visitor: str) -> None:
        self.line, self.visitor = line, visitor
        self.given_up, self.sight = False, None

    def tell(self, sight: Any) -> None:
        """From within the work: what can be seen of it."""
        with self.line.changed:
            self.sight = sight
            self.line.changed.notify_all()

    def follow(self) -> Iterator[Any]:
        """What is new, up to its end: the number of requests ahead of it, then 0 or what can be seen of the work."""
        seen: Any = None
        while True:
            with self.line.changed:
                while self in self.line.tickets and seen == (now := self.line.tickets.index(self) or self.sight or 0):
                    self.line.changed.wait()
                if self not in self.line.tickets:
                    return
            seen = now
            yield seen

    def result(self) -> Any:
        """What was made, once it has ended; None where it was given up. Errors of the work are raised."""
        return None if self.given_up else self.future.result()


class Line:
    """Requests, of which one is worked on at a time.

    Args:
        longest: so many may wait, half of them of one visitor.
    """

    def __init__(self, longest: int) -> None:
        self.longest = longest
        self.tickets: list[Ticket] = []  # that have not ended; the first is worked on
        self.changed = threading.Condition()
        self.pool = ThreadPoolExecutor(1, "isdiff-app")

    def enter(self, work: Callable[[Ticket], Any], visitor: str = "") -> Ticket:
        """A place in the line for work; refused where the line is full, or the visitor's share of it."""
        with self.changed:
            waiting, share = self.tickets[1:], max(1, self.longest // 2)
            if len(waiting) >= self.longest:
                raise UserError(f"{len(waiting)} requests are waiting already, no more fit; try again in a while")
            if sum(other.visitor == visitor for other in waiting) >= share:
                raise UserError(f"{share} of your requests are waiting already; wait for one, or cancel it")
            ticket = Ticket(self, visitor)
            self.tickets.append(ticket)
            ticket.future = self.pool.submit(work, ticket)
        ticket.future.add_done_callback(lambda _: self.leave(ticket))
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """Take a ticket that has ended out of the line; what is no mistake of the visitor's is logged."""
        error = None if ticket.future.cancelled() else ticket.future.exception()
        if error is not None and not isinstance(error, (UserError, OSError)):
            log.error("a request failed", exc_info=error)
        with self.changed:
            self.tickets.remove(ticket)
            self.changed.notify_all()

    def cancel(self, ticket: Ticket) -> None:
        """Give a request up: at once if it waits, otherwise as soon as the work asks."""
        ticket.given_up = ticket.given_up or not ticket.future.done()
        ticket.future.cancel()

    def close(self) -> None:
        """Give everything up and end the thread."""
        for ticket in [*self.tickets]:
            self.cancel(ticket)
        self.pool.shutdown(wait=False)
