"""Runs in the memory of one process: they end with it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from tau.late_imports import load_module
from tau.stores.contract import Batch, Lease, PositionConflict, Query, Store, Summary, deletion, problem
from tau.stores.reentry import Door
from tau.stores.summaries import matches


class _Run(Struct, frozen=True, gc=False):
    """One run at one moment: what comes after it replaces it as a whole, so that no reader ever sees half a commit.

    ``records[i]`` has the position ``floor + 1 + i``. Later moments share the two containers: of the list only the
    first ``length`` belong to this one, and a blob that nothing names is harmless.
    """

    summary: Summary
    floor: int
    length: int
    records: list[bytes]
    blobs: dict[bytes, bytes]
    nonce: str | None
    counter: int
    expires: float

    @property
    def position(self) -> int:
        return self.floor + self.length


class MemoryStore(Store):
    """A store in memory. It survives `close`, but not the process; after a fork the child has a copy of its own.

    ``clock`` gives seconds that only grow; leases are measured by it. Making one raises nothing.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.location = "memory:"
        self._clock = clock
        self._runs: dict[str, _Run] = {}
        self._writes = Door("the memory store")

    # Writing: one thread at a time, and not one that is in the middle of it.

    def commit(self, batches: Sequence[Batch]) -> list[int | Exception]:
        if len(batches) == 1:  # most commits are of one run
            return [self._writes.enter(self._append, batches[0])]
        return self._writes.enter(self._append_all, batches)

    def _append_all(self, batches: Sequence[Batch]) -> list[int | Exception]:
        return list(map(self._append, batches))

    def _append(self, batch: Batch) -> int | Exception:
        wrong = problem(batch)
        if wrong is not None:
            return wrong
        run_id, summary = batch.run_id, batch.summary
        run = self._runs.get(run_id)
        if run is None:
            run = _Run(summary, 0, 0, [], {}, None, 0, 0.0)
        floor, length, records = run.floor, run.length, run.records
        if floor + length != batch.expected:
            return PositionConflict(run_id, batch.expected, floor + length)
        if len(records) > length:  # of a commit that was broken off
            del records[length:]
        records.extend(batch.records)
        for digest, data in batch.blobs:
            run.blobs.setdefault(digest, data)
        position, owner = summary.position, summary.owner
        if owner is None:
            after = _Run(summary, floor, position - floor, records, run.blobs, None, run.counter, 0.0)
        else:
            until, count = self._clock() + owner.lease, run.counter + 1
            after = _Run(summary, floor, position - floor, records, run.blobs, owner.nonce, count, until)
        self._runs[run_id] = after
        return position

    def delete(self, run_id: str, keep_summary: bool = False, *, expected: int | None = None) -> None:
        def work(run_id: str) -> None:
            run = self._runs.get(run_id)
            if run is None:
                if expected:
                    raise PositionConflict(run_id, expected, 0)
                return
            after = deletion(run.summary, keep_summary, expected, empty=run.length == 0)
            if after is not None:
                self._runs[run_id] = _Run(after, after.position, 0, [], {}, None, run.counter, 0.0)

        self._writes.enter(work, run_id)

    def trim(self, run_id: str, first: int, blobs: Iterable[bytes], *, expected: int) -> None:
        def work(run_id: str) -> None:
            run = self._runs.get(run_id)
            if run is None or run.position != expected:
                raise PositionConflict(run_id, expected, 0 if run is None else run.position)
            cut = min(max(first - 1 - run.floor, 0), run.length)
            names = set(blobs)
            kept = {name: data for name, data in run.blobs.items() if name not in names}
            records = run.records[cut : run.length]
            self._runs[run_id] = replace(
                run, floor=run.floor + cut, length=run.length - cut, records=records, blobs=kept
            )

        self._writes.enter(work, run_id)

    def renew(self, run_id: str, nonce: str, seconds: float) -> bool:
        def work(run_id: str) -> bool:
            run = self._runs.get(run_id)
            if run is None or run.nonce != nonce:
                return False
            self._runs[run_id] = replace(run, counter=run.counter + 1, expires=self._clock() + seconds)
            return True

        return self._writes.enter(work, run_id)

    def release(self, run_id: str, nonce: str) -> None:
        def work(run_id: str) -> None:
            run = self._runs.get(run_id)
            if run is not None and run.nonce == nonce:
                self._runs[run_id] = replace(run, nonce=None)

        self._writes.enter(work, run_id)

    # Reading takes no lock: a run is got at one moment.

    def read(self, run_id: str, after: int = 0) -> list[tuple[int, bytes]]:
        run = self._runs.get(run_id)
        if run is None:
            return []
        start = max(after, run.floor)
        return list(enumerate(run.records[start - run.floor : run.length], start + 1))

    def summary(self, run_id: str) -> Summary | None:
        run = self._runs.get(run_id)
        return None if run is None else run.summary

    def blobs(self, run_id: str, digests: Iterable[bytes]) -> Mapping[bytes, bytes]:
        run = self._runs.get(run_id)
        held = {} if run is None else run.blobs
        return {digest: held[digest] for digest in digests if digest in held}

    def select(self, query: Query) -> list[Summary]:
        found = [run.summary for run in list(self._runs.values()) if matches(run.summary, query)]
        found.sort(key=lambda summary: summary.updated, reverse=True)
        return found[: query.limit]

    def run_ids(self, prefix: str = "") -> list[str]:
        return [run_id for run_id in list(self._runs) if run_id.startswith(prefix) and run_id]

    def some_run_ids(self, limit: int) -> list[str]:
        return [row.run_id for row in self.select(Query(limit=limit))]

    def due(self, graph: str, limit: int, *, watched: bool = True) -> list[tuple[Summary, Lease | None]]:
        load_module("tau.stores.due")
        from tau.stores.due import sifted

        rows = [run.summary for run in list(self._runs.values()) if run.summary.graph == graph]
        return sifted(rows, self, limit, watched=watched)

    def lease(self, run_id: str) -> Lease | None:
        run = self._runs.get(run_id)
        if run is None or run.nonce is None:
            return None
        return Lease(run.nonce, run.counter, run.expires - self._clock())

    def close(self) -> None:
        pass
