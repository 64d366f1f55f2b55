"""Commits from inside a node: one at a time, for any number of threads and event loops.

Whoever comes while a commit is under way is in the next one. Nobody waits with a lock in hand, and no event loop waits
at all: a commit that nobody's thread is to wait for happens in the thread of the store's committer.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import Final

from tau.errors import StoreError, too_late
from tau.log.journal import Append, Journal
from tau.log.records import Item
from tau.stores.contract import Batch
from tau.values.stored import Cell

Result = int | Exception

_COMMITTER: Final = -1  # stands for the committer's thread where the ident of a leading thread is kept


class Ticket:
    """An item to be committed, or nothing but what an interval held back.

    ``answer`` gets the node of the newest checkpoint in the commit, for one ticket of each commit; the others get "".
    """

    __slots__ = ("answer", "cell", "record")

    def __init__(self, record: Item | None = None, cell: Cell | None = None) -> None:
        self.record = record
        self.cell = cell
        self.answer: Future[str] = Future()


class InnerCommits:
    """The commits of one attempt at a visit of ``node``. Thread-safe.

    The engine stands still meanwhile, so the journal is free whenever none of these is under way.
    """

    def __init__(self, journal: Journal, node: str) -> None:
        self.closed = False
        self._journal = journal
        self._node = node
        self._lock = threading.Lock()
        self._idle = threading.Condition(self._lock)
        self._waiting: list[Ticket] = []
        self._under_way: list[Ticket] = []
        self._batch: Batch | None = None
        self._leader = 0

    def commit(self, ticket: Ticket) -> str:
        """Commit in the caller's thread, or wait for whoever does. Raises why it could not be."""
        me = threading.get_ident()
        result: Result = _broken_off()
        try:
            if self._enter(ticket, me):
                result = self._commit()
        finally:
            if self._leader == me:
                self._end(result)
        return ticket.answer.result()

    async def commit_async(self, ticket: Ticket) -> str:
        """The same for an event loop. A commit once begun is completed: a cancellation is raised after it."""
        from tau.node.async_calls import done  # asyncio is only loaded where something needs it

        if self._enter(ticket, _COMMITTER):
            self._submit()
        await done(ticket.answer)
        return ticket.answer.result()

    def close(self) -> None:
        """The attempt has ended, and what it left behind can save nothing more; waits for a commit under way."""
        with self._lock:
            self.closed = True
        if self._leader == threading.get_ident():
            self._end(_broken_off())  # an interrupt left it behind
        with self._lock:
            while self._leader:
                self._idle.wait()

    async def close_async(self) -> None:
        """`close` for an event loop."""
        from tau.node.async_calls import done

        with self._lock:
            self.closed = True
            last = self._waiting[-1:] or self._under_way[-1:]
        if last:
            await done(last[0].answer)

    def _enter(self, ticket: Ticket, leader: int) -> bool:
        """Queue a ticket; whether the caller is to commit what waits, because nobody else does."""
        with self._lock:
            if self.closed:
                raise too_late(self._node)
            self._waiting.append(ticket)
            if ticket.record is not None and ticket.cell is not None:
                self._journal.items[ticket.record.scope, ticket.record.key] = ticket.cell
            return self._lead(leader)

    def _lead(self, leader: int) -> bool:
        if self._leader or not self._waiting:
            return False
        self._leader = leader
        self._under_way, self._waiting = self._waiting, []
        return True

    def _prepare(self) -> Batch | None:
        journal = self._journal
        with journal.lock:
            for ticket in self._under_way:
                if ticket.record is not None and ticket.cell is not None:
                    assert journal.progress is not None
                    journal.prepare(Append((ticket.record,), journal.progress, {"": ticket.cell}))
            self._batch = journal.held()
        return self._batch

    def _commit(self) -> Result:
        try:
            batch = self._prepare()
        except Exception as error:
            return error
        return 0 if batch is None else self._journal.store.committer.commit(batch)

    def _submit(self) -> None:
        result: Result = 0
        try:
            batch = self._prepare()
            if batch is not None:
                self._journal.store.committer.submit(batch, lambda result: self._end(result, batch))
                return
        except Exception as error:
            result = error
        except BaseException:
            self._end(_broken_off())
            raise
        self._end(result)

    def _end(self, result: Result, batch: Batch | None = None) -> None:
        """Tell the tickets of a commit what became of it, and let the next ones be committed.

        ``batch`` is given where the answer may come late, after an interrupt that ended it already.
        """
        if batch is not None and batch is not self._batch:
            return
        newest, error = "", result if isinstance(result, Exception) else None
        if self._batch is not None:
            try:
                newest = self._journal.settle(self._batch, result)
            except Exception as raised:
                error = raised
        with self._lock:
            told, self._under_way = self._under_way, []
            self._leader, self._batch = 0, None
            more = self._lead(_COMMITTER)
            self._idle.notify_all()
        for ticket in told:
            if error is not None:
                ticket.answer.set_exception(error)
            else:
                ticket.answer.set_result(newest)
                newest = ""
        if more:
            self._submit()


def _broken_off() -> StoreError:
    return StoreError("the commit of a step was broken off; resume the run to see what was saved")
