"""Commits from inside a node: one at a time, for any number of threads and event loops.

A record is held back in the journal as soon as it is made; what comes while a commit is under way is in the next
one. No event loop waits for a store: what its tasks need is committed in the thread of the store's committer.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping

from tau.errors import StoreError, too_late
from tau.log.committer import Result
from tau.log.journal import Append, Journal
from tau.log.records import Item
from tau.stores.contract import Batch
from tau.values.stored import StoredValue
from tau.waiting import Flag


class _Commit:
    """One commit under way. ``over`` is told when it has ended, ``error`` is why it failed; there is none where it was
    broken off, and the threads that waited try it again."""

    def __init__(self, thread: int) -> None:
        self.thread = thread
        self.batch: Batch | None = None
        self.error: Exception | None = None
        self.over = Flag()

    def holds(self, position: int) -> bool:
        return self.batch is not None and position <= self.batch.summary.position


class StepCommits:
    """The commits of one attempt at a visit of ``node``. Thread-safe.

    The engine stands still meanwhile, so the journal is free whenever none of these is under way.
    """

    def __init__(self, journal: Journal, node: str) -> None:
        self._journal = journal
        self._node = node
        self._lock = threading.Lock()
        self._closed = False
        self._commit: _Commit | None = None

    def commit(self, record: Item | None = None, cell: StoredValue | None = None) -> str:
        """Commit an item and what was held back before it, in the caller's thread; or wait for the thread that does.

        Returns the node of the newest checkpoint in the commit, if any. Raises why it could not be.
        """
        position, newest = self._hold(record, cell), ""
        mine = _Commit(threading.get_ident())
        try:
            while (under_way := self._join(mine, position)) is not None:
                if under_way is mine:
                    assert mine.batch is not None
                    newest = self._end(mine, self._journal.store.committer.commit(mine.batch))
                    break
                under_way.over.wait()
                self._check(under_way, position)
        finally:
            if self._commit is mine:
                self._end(mine, None)
        self._check(mine, position)
        return newest

    async def commit_async(
        self, record: Item | None = None, cell: StoredValue | None = None, packed: Mapping[bytes, bytes] | None = None
    ) -> str:
        """The same for an event loop. A commit once begun is completed: a cancellation is raised after it. ``packed``
        are blobs of the item that are compressed already, by name."""
        from tau.node.async_calls import until  # asyncio is only loaded where something needs it

        position, newest = self._hold(record, cell, packed), [""]
        while True:
            mine = _Commit(0)
            under_way = self._join(mine, position)
            if under_way is None:
                return newest[0]
            if under_way is mine:
                assert mine.batch is not None
                self._submit(mine, mine.batch, newest)
            await until(under_way.over)
            self._check(under_way, position)

    def close(self) -> None:
        """The attempt has ended, and what it left behind can save nothing more; waits for a commit under way."""
        under_way = self._shut()
        if under_way is not None and under_way.thread == threading.get_ident():
            self._end(under_way, None)  # an interrupt left it behind
        elif under_way is not None:
            under_way.over.wait()

    async def close_async(self) -> None:
        """`close` for an event loop."""
        from tau.node.async_calls import until

        under_way = self._shut()
        if under_way is not None:
            await until(under_way.over)

    def _shut(self) -> _Commit | None:
        with self._journal.lock:
            self._closed = True
        return self._commit

    def _hold(self, record: Item | None, cell: StoredValue | None, packed: Mapping[bytes, bytes] | None = None) -> int:
        """Hold the record back with what is held already; the position up to which is to be stored."""
        journal = self._journal
        with journal.lock:
            if self._closed:
                raise too_late(self._node)
            if record is not None and cell is not None:
                assert journal.progress is not None
                journal.hold(Append((record,), journal.progress, {"": cell}, packed=packed))
            return journal.end

    def _join(self, mine: _Commit, position: int) -> _Commit | None:
        """The commit to wait for, ``mine`` where the caller is to carry it out; ``None`` where all is stored."""
        with self._lock:
            if self._journal.position >= position:
                return None
            if self._commit is None:
                mine.batch = self._journal.held()
                if mine.batch is None:
                    raise StoreError("what a step had to save was refused with another commit; resume the run")
                self._commit = mine
            return self._commit

    def _submit(self, mine: _Commit, batch: Batch, newest: list[str]) -> None:
        def answered(result: Result) -> None:
            newest[0] = self._end(mine, result)

        try:
            self._journal.store.committer.submit(batch, answered)
        except BaseException:
            self._end(mine, None)
            raise

    def _check(self, commit: _Commit, position: int) -> None:
        """Raise why the record at this position is not stored, where that commit was to store it."""
        if commit.error is not None and commit.holds(position) and self._journal.position < position:
            raise commit.error

    def _end(self, commit: _Commit, result: Result | None) -> str:
        """Note what became of a commit, and let the next one begin; the node of the newest checkpoint in it."""
        newest = ""
        if commit.over.is_set():
            return newest
        try:
            if commit.batch is not None and result is not None:
                newest = self._journal.settle(commit.batch, result)
        except Exception as error:
            if not isinstance(result, Exception):  # what the handler of a signal raises is for its own thread only
                raise
            commit.error = error
        finally:
            with self._lock:
                if self._commit is commit:
                    self._commit = None
            if not commit.over.is_set():
                commit.over.set()
        return newest
