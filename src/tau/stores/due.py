"""Which runs may be taken: `Store.due` made of other calls, and what the built-in stores share of it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, Protocol

from tau.errors import CorruptCheckpointError
from tau.stores.summaries import TAKEN, Lease, Query, Summary

Due = tuple[Summary, Lease | None]

_MOST: Final = 1024  # so many rows are in memory at a time, unless more are wanted


class Asked(Protocol):
    """What is asked of a store for it."""

    def select(self, query: Query) -> Sequence[Summary]: ...
    def lease(self, run_id: str) -> Lease | None: ...
    def leases(self, run_ids: Iterable[str]) -> Mapping[str, Lease]: ...


def found_by_status(store: Asked, graph: str, limit: int, *, watched: bool) -> list[Due]:
    """See `Store.due`."""
    rows = [row for status in TAKEN for row in store.select(Query(graph=graph, status=status))]
    return sifted(rows, store, limit, watched=watched)


def sifted(rows: Iterable[Summary], store: Asked, limit: int, *, watched: bool) -> list[Due]:
    """Those of these runs that may be taken, by this machine's time of day."""
    now = time.time()
    taken = [row for row in rows if row.may_be_taken(now)]
    running = [row.run_id for row in taken if row.status == "running"]
    try:
        held = store.leases(running) if running else {}
    except CorruptCheckpointError:  # that of one of them is
        held = {}
        for run_id in running:
            try:
                found = store.lease(run_id)
            except CorruptCheckpointError:
                taken = [row for row in taken if row.run_id != run_id]
                continue
            held |= {} if found is None else {run_id: found}
    return in_order([(row, held.get(row.run_id)) for row in taken], limit, watched=watched)


def sizes(limit: int) -> Iterator[int]:
    """How many rows to ask a server for, time after time, until ``limit`` are found that can be read: what is damaged
    stays at the head of a queue for ever, and must not hide what is behind it."""
    yield (size := limit)
    while size:
        size = max(size, min(2 * size, _MOST))
        yield size


def in_order(found: Sequence[Due], limit: int, *, watched: bool) -> list[Due]:
    """Those whose lease does not have time left, as `Store.due` gives them: what may be taken at once, up to the limit,
    then what has to be watched."""
    free, watch = [], []
    for row, lease in sorted(found, key=lambda one: (one[0].not_before or 0.0, one[0].created)):
        if row.status != "running" or lease is None or (lease.expires_in is not None and lease.expires_in <= 0):
            free.append((row, lease))
        elif lease.expires_in is None:
            watch.append((row, lease))
    return free[:limit] + (watch if watched else [])
