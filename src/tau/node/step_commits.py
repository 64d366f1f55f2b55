"""Commits from inside a node: one at a time, for any number of threads and event loops.

A record is held back in the journal as soon as it is made; what comes while a ticket is under way is in the next
one. No event loop waits for a store: what its tasks need is committed in the thread of the store's committer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from threading import get_ident

from tau.errors import StoreError, TauError
from tau.late_imports import load_module
from tau.log.append import Append
from tau.log.chained import to_store
from tau.log.journal import Journal
from tau.log.records import Item, Planned
from tau.log.tickets import Result, Ticket, wake
from tau.node.current import too_late
from tau.stores.contract import Batch
from tau.values.stored import StoredValue


class StepCommits:
    """The commits of one attempt at a visit of ``node``, or of a branch of it. Thread-safe.

    The engine stands still meanwhile, so the journal is free whenever no ticket is under way.
    """

    def __init__(self, journal: Journal, node: str) -> None:
        self._journal = journal
        self._node = node
        self._closed = False
        self._flight = journal.flight
        self._failed: Exception | None = None
        self._is_asked = False
        self._kept: list[tuple[Item, StoredValue]] = []  # finished, and not held back yet

    def commit(self, record: Item | None = None, cell: StoredValue | None = None) -> None:
        """Commit an item and what was held back before it, in the caller's thread; or wait for the thread that does.
        Raises why it could not be."""
        if record is not None:
            self.forgive()
        self._commit(self._hold(record, cell))

    def append(self, append: Append) -> None:
        """Hold the records of a branch back, and commit them if that is due. Raises why they could not be."""
        position = self.hold(append)
        if self._journal.is_due(append):
            self._commit(position)

    def _commit(self, position: int) -> None:
        journal = self._journal
        mine: Ticket | None = None
        try:
            while mine is None and journal.stored < position:
                with journal.lock:
                    ticket = self._current()
                    if ticket is None and (batch := self._held(position)) is not None:
                        mine = ticket = self._flight.under_way = Ticket(batch, thread=get_ident())
                if ticket is None:
                    continue
                if ticket is mine:
                    self._end(ticket, journal.store.committer.commit(ticket.batch))
                elif ticket.thread == get_ident():  # of a signal handler in the middle of it
                    raise journal.store.committer.guard.refusal()
                else:
                    ticket.wait()
                self._check(ticket, position)
            self.check()
        finally:
            if mine is not None and (not mine.over or mine.waiting):
                self._end(mine, None)

    async def commit_async(
        self, record: Item | None = None, cell: StoredValue | None = None, packed: Mapping[bytes, bytes] | None = None
    ) -> None:
        """The same for an event loop. A commit once begun is completed: a cancellation is raised after it. ``packed``
        are blobs of the item that are compressed already, by name."""
        if record is not None:
            self.forgive()
        await self.commit_to(self._hold(record, cell, packed))

    async def commit_to(self, position: int) -> None:
        """Commit what is held back up to there. Raises why it could not be."""
        load_module("tau.node.async_calls")
        from tau.node.async_calls import over  # asyncio is only loaded where something needs it

        journal = self._journal
        while journal.stored < position:
            mine: Ticket | None = None
            try:
                with journal.lock:
                    ticket = self._current()
                    if ticket is None and (batch := self._held(position)) is not None:
                        mine = ticket = self._flight.under_way = Ticket(batch)
                if mine is not None:
                    mine.answer = partial(self._end, mine)
                    journal.store.committer.submit(mine)
            except BaseException:
                if mine is not None:
                    self._end(mine, None)
                raise
            if ticket is not None:
                await over(ticket)
                self._check(ticket, position)
        self.check()

    def hand_over(self, record: Item, cell: StoredValue, packed: Mapping[bytes, bytes] | None = None) -> None:
        """Have an item committed by the committer, with whatever else is made until its thread has its turn, and wait
        for nothing; a later `commit` raises why that could not be. Raises why an earlier one could not be stored; the
        item is held back with it then."""
        self._hold(record, cell, packed)
        self.check()
        self._flight.newest = self
        if not self._is_asked and self._current() is None:
            self._is_asked = True
            try:
                self._journal.store.committer.soon(self._start)
            except BaseException:
                self._is_asked = False
                raise

    def keep(self, record: Item, cell: StoredValue) -> None:
        """Have an item committed with what comes next; no thread waits for another here. Raises as `hand_over`."""
        if self._closed:
            raise too_late(self._node)
        self._kept.append((record, cell))
        self._flight.newest = self
        if self._failed is not None:
            raise self._failed

    def keep_up(self) -> None:
        """Hold back what was kept. Raises nothing: what is not owned any more stays kept."""
        if not self._journal.lock._is_owned():  # else it comes in the middle of that: of a signal handler
            with self._journal.lock, suppress(TauError):
                self._hold_kept()

    def _hold_kept(self) -> None:
        """To be called with the journal's lock. An interrupt leaves each of them held back once, or twice."""
        if count := len(self._kept):
            self._journal.hold_items(self._kept[:count])
            del self._kept[:count]

    def start(self, then: Callable[[], object]) -> bool:
        """Have the committer commit what is held back, and call ``then`` at the end of the ticket under way, from any
        thread; whether there is one. Raises why something could not be stored."""
        self.check()
        self._refuse_reentry()
        if self._current() is None:
            self._start_another()
        ticket = self._current()
        if ticket is None:
            return False
        ticket.waiting.append(then)
        return not ticket.over

    def hold(self, append: Append) -> int:
        """Hold the records of a branch back; the position up to which they lie."""
        self._refuse_reentry()
        with self._journal.lock:
            if self._closed:
                raise too_late(self._node)
            self.check()
            self._hold_kept()
            self._journal.hold(append)
            return self._journal.made

    def note(self, record: Planned) -> int:
        """Hold it back, to be stored with what is committed next; its position."""
        journal = self._journal
        self._refuse_reentry()
        with journal.lock:
            if self._closed:
                raise too_late(self._node)
            assert journal.progress is not None
            self._hold_kept()
            journal.hold(Append((record,), journal.progress, {}))
            return journal.end

    def told(self) -> str:
        """The node of a checkpoint that was held back and is stored by now, once; empty if there is none."""
        with self._journal.lock:  # with it a ticket is settled and this is noted
            return self._flight.told.popleft() if self._flight.told else ""

    def check(self) -> None:
        """Raise why something that was handed over could not be stored."""
        if self._failed is not None:
            raise self._failed

    def forgive(self) -> None:
        """Try again to store what could not be, because the store failed: it is held back still."""
        if isinstance(self._failed, StoreError):
            self._failed = None

    def unsaved(self) -> int:
        """How many records are not stored yet."""
        return self._journal.end - self._journal.position + len(self._kept)

    def wait(self) -> bool:
        """Wait for the ticket under way, or for a moment; whether there was one. Raises as `check`."""
        self.check()
        ticket = self._current()
        if ticket is None or ticket.thread == get_ident():
            return False
        ticket.wait()
        self.check()
        return True

    async def wait_async(self) -> bool:
        """`wait` for an event loop."""
        load_module("tau.node.async_calls")
        from tau.node.async_calls import over

        self.check()
        ticket = self._current()
        if ticket is None:
            return False
        await over(ticket)
        self.check()
        return True

    def _start(self) -> None:
        self._is_asked = False
        self._start_another()

    def _start_another(self) -> None:
        """Hand what is held back to the committer, unless a ticket is under way, at whose end this is called again."""
        mine: Ticket | None = None
        try:
            with self._journal.lock:
                if self._closed or self._failed is not None or self._current() is not None:
                    return
                self._hold_kept()
                if (batch := self._journal.held()) is None:
                    return
                mine = self._flight.under_way = Ticket(batch)
            mine.answer = partial(self._answered, mine)
            self._journal.store.committer.submit(mine)
        except BaseException:
            if mine is not None:
                self._end(mine, None)
            raise

    def _answered(self, ticket: Ticket, result: Result) -> None:
        self._end(ticket, result, handed_over=True)
        another = self._flight.newest if self._closed else None  # a branch goes on where another one has ended
        (another or self)._start_another()

    def close(self) -> None:
        """The attempt has ended, and what it left behind can save nothing more; waits for a commit under way."""
        ticket = self.shut()
        while ticket is not None and not ticket.over:
            ticket.wait()

    async def close_async(self) -> None:
        """`close` for an event loop."""
        load_module("tau.node.async_calls")
        from tau.node.async_calls import over

        ticket = self.shut()
        if ticket is not None:
            await over(ticket)

    def shut(self) -> Ticket | None:
        """What the attempt left behind can save nothing more; the commit that is under way, if any."""
        with self._journal.lock:
            self._closed = True
        self.keep_up()
        ticket = self._current()
        if ticket is not None and ticket.thread == get_ident():  # an interrupt left it behind
            self._end(ticket, None)
        return ticket

    def _hold(self, record: Item | None, cell: StoredValue | None, packed: Mapping[bytes, bytes] | None = None) -> int:
        """Hold the record back with what is held already; the position up to which is to be stored."""
        journal = self._journal
        self._refuse_reentry()
        with journal.lock:
            if self._closed:
                raise too_late(self._node)
            if not isinstance(self._failed, StoreError):  # a store that failed may take it later
                self.check()
            self._hold_kept()
            if record is not None and cell is not None:
                assert journal.progress is not None
                journal.hold(Append((record,), journal.progress, to_store(cell), packed=packed))
            return journal.made

    def _refuse_reentry(self) -> None:
        """Raise `ReentryError` in the handler of a signal that came while its thread was in the middle of this."""
        if self._journal.lock._is_owned():
            raise self._journal.store.committer.guard.refusal()

    def _current(self) -> Ticket | None:
        """The ticket under way; none where an interrupt kept the last one from being put away."""
        ticket = self._flight.under_way
        return None if ticket is None or ticket.over else ticket

    def _held(self, position: int) -> Batch | None:
        """What is held back, to be stored by one ticket at a time; ``None`` where it is stored up to there."""
        batch = self._journal.held() if self._journal.stored < position else None
        if batch is None and self._journal.stored < position:
            said = "what a step had to save was refused with another commit; resume the run"
            raise self._journal.refused or StoreError(said)
        return batch

    def _check(self, ticket: Ticket, position: int) -> None:
        """Raise why the record at this position is not stored, where that ticket was to store it."""
        error = ticket.result
        if not isinstance(error, Exception) or not ticket.over or self._journal.stored >= position:
            return
        if position <= ticket.batch.summary.position - self._journal.answers:
            raise error

    def _end(self, ticket: Ticket, result: Result | None, handed_over: bool = False) -> None:
        """Note what became of a commit, and let the next one begin. Whoever is woken by its end finds it in `told`
        and, for one that was handed over, in `check`."""
        try:
            with self._journal.lock:
                if self._flight.under_way is ticket and (newest := self._settled(ticket, result)):
                    self._flight.told.append(newest)
                if handed_over and isinstance(ticket.result, Exception):
                    self._failed = ticket.result
        finally:
            wake((ticket,))

    def _settled(self, ticket: Ticket, result: Result | None) -> str:
        try:
            if self._journal.goes_behind(result):
                ticket.result = self._journal.position  # it is no failure: what is held back is committed once more
                return ""
            return "" if result is None else self._journal.settle(ticket.batch, result)
        except Exception as error:
            if not isinstance(result, Exception):  # what the handler of a signal raises is for its own thread only
                raise
            ticket.result = error
            return ""
        finally:
            self._flight.under_way = None
