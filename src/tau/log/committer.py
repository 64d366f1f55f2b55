"""One committer per store: whatever many runs have queued goes into one call of `Store.commit`."""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Union

from msgspec import Struct
from msgspec.structs import replace

from tau.errors import StoreError
from tau.stores.contract import Batch, PositionConflict, Store
from tau.stores.failures import start_thread

if TYPE_CHECKING:
    import asyncio

Result = int | Exception
Listener = Union["asyncio.Future[None]", Callable[[Result], None]]


class Ticket(Struct, eq=False):
    """A batch that waits to be committed. ``answer`` is done once ``result`` is there, where a loop waits for it."""

    batch: Batch
    answer: Listener | None = None
    result: Result | None = None


class Committer:
    """Commits the batches of any number of threads and event loops.

    Nobody waits for company: who comes while a commit is under way is in the next one.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.stale = False
        _committers.add(self)
        self._queue: deque[Ticket] = deque()
        self._answered: deque[Ticket] = deque()
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    def commit(self, batch: Batch) -> Result:
        """Commit, in the caller's thread: the new position, or why not."""
        if not self._queue and not self._lock.locked():
            with self._lock:
                return self._alone(batch)
        ticket = Ticket(batch)
        self._queue.append(ticket)
        with self._lock:
            if ticket.result is None:
                self._flush()
        assert ticket.result is not None
        return ticket.result

    def submit(self, batch: Batch, answer: Listener) -> Ticket:
        """Commit in a thread of the committer's own.

        ``answer`` is told when the ticket has its result: a future in its own loop, a function, which is given the
        result, in the committer's thread.
        """
        if self._thread is None:
            self._start()
        ticket = Ticket(batch, answer)
        self._queue.append(ticket)
        if not self._wake.is_set():
            self._wake.set()
        return ticket

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = start_thread(self._serve, "tau-commit", self.store.location)

    def _serve(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            with self._lock:
                while self._queue:
                    self._flush()
            while self._answered:  # without the lock: they may commit something in turn
                ticket = self._answered.popleft()
                assert ticket.result is not None
                assert callable(ticket.answer)
                ticket.answer(ticket.result)

    def _flush(self) -> None:
        tickets: list[Ticket] = []
        results: Sequence[Result]
        while self._queue:
            tickets.append(self._queue.popleft())
        try:
            results = self.store.commit([ticket.batch for ticket in tickets])
        except Exception as error:
            results = [error] * len(tickets)
        except BaseException as error:
            self._settle(tickets, [_broken_off(error)] * len(tickets))
            raise
        self._settle(tickets, results)

    def _settle(self, tickets: list[Ticket], results: Sequence[Result]) -> None:
        answered: dict[asyncio.AbstractEventLoop, list[Ticket]] = {}
        for ticket, result in zip(tickets, results, strict=True):
            ticket.result = self._confirm(ticket.batch, result) if isinstance(result, Exception) else result
            if callable(ticket.answer):
                self._answered.append(ticket)
                self._wake.set()
            elif ticket.answer is not None:
                answered.setdefault(ticket.answer.get_loop(), []).append(ticket)
        for loop, group in answered.items():
            with suppress(RuntimeError):  # a loop that was closed meanwhile: nobody waits there any more
                loop.call_soon_threadsafe(_answer, group)

    def _confirm(self, batch: Batch, error: Exception) -> Result:
        """Resolve a refusal that may be a lost reply: if the log holds our very bytes, the commit was applied."""
        if not isinstance(error, StoreError | PositionConflict):
            return error
        try:
            rows = self.store.read(batch.run_id, batch.expected)
        except Exception as unread:
            return unread if isinstance(unread, StoreError) else error
        stored, mine = [record for _, record in rows], list(batch.records)
        if stored[: len(mine)] == mine:
            return batch.expected + len(mine)
        if isinstance(error, PositionConflict) and stored and stored == mine[: len(stored)]:
            # An earlier commit of these was applied and never answered for; what was added since may follow.
            rest = replace(batch, expected=batch.expected + len(stored), records=batch.records[len(stored) :])
            return self._alone(rest)
        return error

    def _alone(self, batch: Batch) -> Result:
        try:
            result = self.store.commit([batch])[0]
        except Exception as raised:
            result = raised
        return result if isinstance(result, int) else self._confirm(batch, result)


_committers: weakref.WeakSet[Committer] = weakref.WeakSet()


def _after_fork() -> None:
    # The thread that served the queue, and whoever held the lock, do not exist in the child.
    for committer in _committers:
        committer.stale = True


os.register_at_fork(after_in_child=_after_fork)


def _answer(tickets: list[Ticket]) -> None:
    for ticket in tickets:
        answer = ticket.answer
        if answer is not None and not callable(answer) and not answer.done():
            answer.set_result(None)


def _broken_off(error: BaseException) -> StoreError:
    return StoreError(f"the commit was broken off by {type(error).__name__}; resume the run to see what was saved")
