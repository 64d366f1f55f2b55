"""A batch on its way into a store, and what waits for it: threads, event loops, or a function that gets the result."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Union

from msgspec import Struct, field

from tau.stores.contract import Batch
from tau.waiting import LOOK

if TYPE_CHECKING:
    import asyncio

Result = int | Exception
Waiter = Union["asyncio.Future[None]", Callable[[], object]]


class Ticket(Struct, eq=False):
    """A batch to be committed. ``thread`` is the number of the thread that commits it, 0 for the committer's own.

    ``answer`` is called with the result in the committer's thread. After that the ticket is ``over``, and all that
    waits for it is woken, even if the commit was interrupted and there is no result.
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
        """Wait in this thread until it is over, or for a moment; call it again while the ticket is not over."""
        woken = threading.Lock()  # implemented in C: an interrupt does not leave it taken, as it can with an Event
        woken.acquire()
        self.waiting.append(woken.release)
        if not self.over:
            woken.acquire(timeout=LOOK)


class Flight:
    """What the parts of one run that commit at the same time share: the ticket ``under_way``, of which there is one at
    a time as the log has one order, and the nodes of checkpoints that were held back and are stored by now (``told``
    holds each once). ``newest`` handed something over last. To be used with the journal's lock."""

    __slots__ = ("newest", "told", "under_way")

    def __init__(self) -> None:
        self.under_way: Ticket | None = None
        self.told: deque[str] = deque()
        self.newest: Any = None


def wake(tickets: Sequence[Ticket]) -> None:
    """Mark these tickets as over and wake what waits for them, each event loop once. May be called again if it was
    interrupted."""
    futures: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}
    for ticket in tickets:
        ticket.over = True  # first, so that a thread that comes later does not wait
        for waiter in ticket.waiting:
            if callable(waiter):
                with suppress(RuntimeError):  # it was woken already
                    waiter()
            else:
                futures.setdefault(waiter.get_loop(), []).append(waiter)
    for loop, waiting in futures.items():
        with suppress(RuntimeError):  # the loop was closed in the meantime: nothing waits there any more
            loop.call_soon_threadsafe(_answer, waiting)
    for ticket in tickets:
        ticket.waiting.clear()


def _answer(futures: Sequence[asyncio.Future[None]]) -> None:
    for future in futures:
        if not future.done():
            future.set_result(None)
