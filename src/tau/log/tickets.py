"""A batch on its way into a store, and who waits for it: threads, event loops, a function that is told the result."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Union

from msgspec import Struct, field

from tau.stores.contract import Batch
from tau.waiting import LOOK

if TYPE_CHECKING:
    import asyncio

Result = int | Exception
Waiter = Union["asyncio.Future[None]", Callable[[], object]]


class Ticket(Struct, eq=False):
    """A batch that is to be committed, by the thread of that number; 0 is the committer's own.

    ``answer`` is given the result in the committer's thread. After that the ticket is ``over``, and who waits for it is
    woken: also where it was broken off, and has no result.
    """

    batch: Batch
    answer: Callable[[Result], object] | None = None
    thread: int = 0
    result: Result | None = None
    over: bool = False
    waiting: list[Waiter] = field(default_factory=list)
    began: float = 0.0
    tries: int = 0

    def wait(self) -> None:
        """Wait in this thread until it is over, or for a moment: to be called again while it is not."""
        woken = threading.Lock()  # of C: an interrupt does not leave it taken, as it does an Event's
        woken.acquire()
        self.waiting.append(woken.release)
        if not self.over:
            woken.acquire(timeout=LOOK)


def wake(tickets: Sequence[Ticket]) -> None:
    """These are over: wake who waits for them, each event loop once. May be called again, after an interrupt."""
    futures: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}
    for ticket in tickets:
        ticket.over = True  # first: who comes from here on does not wait
        for waiter in ticket.waiting:
            if callable(waiter):
                with suppress(RuntimeError):  # it was woken already
                    waiter()
            else:
                futures.setdefault(waiter.get_loop(), []).append(waiter)
    for loop, waiting in futures.items():
        with suppress(RuntimeError):  # a loop that was closed meanwhile: nothing waits there any more
            loop.call_soon_threadsafe(_answer, waiting)
    for ticket in tickets:
        ticket.waiting.clear()


def _answer(futures: Sequence[asyncio.Future[None]]) -> None:
    for future in futures:
        if not future.done():
            future.set_result(None)
