"""Runs in the memory of one process: they end with it."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence

from tau.stores.contract import Batch, Lease, PositionConflict, Query, Store, Summary, emptied, problem
from tau.stores.summaries import matches


class _Run:
    """``records[i]`` has the position ``floor + 1 + i``."""

    __slots__ = ("blobs", "counter", "expires", "floor", "nonce", "records", "summary")

    def __init__(self) -> None:
        self.summary: Summary | None = None
        self.floor = 0
        self.records: list[bytes] = []
        self.blobs: dict[bytes, bytes] = {}
        self.nonce: str | None = None
        self.counter = 0
        self.expires = 0.0

    @property
    def position(self) -> int:
        return self.floor + len(self.records)


class MemoryStore(Store):
    """A store in memory. It survives `close`, but not the process; after a fork the child has a copy of its own.

    ``clock`` gives seconds that only grow; leases are measured by it.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.location = "memory:"
        self._clock = clock
        self._runs: dict[str, _Run] = {}
        self._lock = threading.Lock()
        _stores.add(self)

    def commit(self, batches: Sequence[Batch]) -> list[int | Exception]:
        with self._lock:
            return list(map(self._append, batches))

    def _append(self, batch: Batch) -> int | Exception:
        wrong = problem(batch)
        if wrong is not None:
            return wrong
        run = self._runs.get(batch.run_id)
        position = 0 if run is None else run.floor + len(run.records)
        if position != batch.expected:
            return PositionConflict(batch.run_id, batch.expected, position)
        if run is None:
            run = self._runs[batch.run_id] = _Run()
        run.records.extend(batch.records)
        for digest, data in batch.blobs:
            run.blobs.setdefault(digest, data)
        run.summary = batch.summary
        owner = batch.summary.owner
        if owner is None:
            run.nonce = None
        else:
            run.nonce = owner.nonce
            run.counter += 1
            run.expires = self._clock() + owner.lease
        return position + len(batch.records)

    def read(self, run_id: str, after: int = 0) -> list[tuple[int, bytes]]:
        with self._lock:
            run = self._runs.get(run_id)
            if run is None:
                return []
            start = max(after, run.floor)
            return list(enumerate(run.records[start - run.floor :], start + 1))

    def summary(self, run_id: str) -> Summary | None:
        with self._lock:
            run = self._runs.get(run_id)
            return None if run is None else run.summary

    def blobs(self, run_id: str, digests: Iterable[bytes]) -> Mapping[bytes, bytes]:
        wanted = list(digests)
        with self._lock:
            run = self._runs.get(run_id)
            return {} if run is None else {digest: run.blobs[digest] for digest in wanted if digest in run.blobs}

    def select(self, query: Query) -> list[Summary]:
        with self._lock:
            summaries = [run.summary for run in self._runs.values() if run.summary is not None]
        found = [summary for summary in summaries if matches(summary, query)]
        found.sort(key=lambda summary: summary.updated, reverse=True)
        return found[: query.limit]

    def delete(self, run_id: str, keep_summary: bool = False) -> None:
        with self._lock:
            run = self._runs.get(run_id)
            if run is None or run.summary is None:
                return
            run.floor = run.position
            run.records = []
            run.blobs = {}
            run.summary = emptied(run.summary, keep_summary)
            run.nonce = None

    def lease(self, run_id: str) -> Lease | None:
        with self._lock:
            run = self._runs.get(run_id)
            if run is None or run.nonce is None:
                return None
            return Lease(run.nonce, run.counter, run.expires - self._clock())

    def renew(self, run_id: str, nonce: str, seconds: float) -> bool:
        with self._lock:
            run = self._runs.get(run_id)
            if run is None or run.nonce != nonce:
                return False
            run.counter += 1
            run.expires = self._clock() + seconds
            return True

    def release(self, run_id: str, nonce: str) -> None:
        with self._lock:
            run = self._runs.get(run_id)
            if run is not None and run.nonce == nonce:
                run.nonce = None

    def close(self) -> None:
        pass


_stores: weakref.WeakSet[MemoryStore] = weakref.WeakSet()


def _quiesce() -> None:
    # A child must not inherit a lock that a thread which does not exist there holds.
    global _held  # noqa: PLW0603
    _held = list(_stores)
    for store in _held:
        store._lock.acquire()


def _go_on() -> None:
    while _held:
        _held.pop()._lock.release()


_held: list[MemoryStore] = []
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_quiesce, after_in_parent=_go_on, after_in_child=_go_on)
