"""Batches, summaries and owners for tests of stores."""

from __future__ import annotations

import itertools
import secrets
import threading
from collections.abc import Callable, Sequence
from typing import Any

from tau.stores.contract import Batch, Owner, Store, Summary

_serial = itertools.count(1)


def owner(nonce: str = "owner", lease: float = 60.0) -> Owner:
    return Owner(nonce=nonce, host="host", boot="boot", pid=1, started=1, lease=lease)


def summary(run_id: str, position: int, **fields: Any) -> Summary:
    """A summary of a running run; every one is newer than all before it."""
    newest = float(next(_serial))
    known: dict[str, Any] = {"graph": "graph", "status": "running", "base": 1, "created": 1.0, "updated": newest}
    return Summary(run_id=run_id, position=position, **{**known, **fields})


def batch(
    run_id: str,
    expected: int,
    records: int | Sequence[bytes] = 1,
    *,
    blobs: Sequence[tuple[bytes, bytes]] = (),
    **fields: Any,
) -> Batch:
    """A batch of that many records, unlike all others; ``fields`` go into the summary."""
    token = secrets.token_bytes(16)
    if isinstance(records, int):
        records = [token + number.to_bytes(4, "big") for number in range(records)]
    after = summary(run_id, expected + len(records), **{"base": expected + 1, **fields})
    return Batch(run_id, expected, token, tuple(records), tuple(blobs), after)


def one(store: Store, batch: Batch) -> int | Exception:
    """Commit a single batch."""
    (result,) = store.commit([batch])
    return result


def race(workers: Sequence[Callable[[], Any]]) -> list[Any]:
    """Call all of them at the same moment, each in a thread of its own; what each returned, or raised."""
    barrier = threading.Barrier(len(workers))
    results: list[Any] = [None] * len(workers)

    def work(number: int) -> None:
        barrier.wait()
        try:
            results[number] = workers[number]()
        except BaseException as error:
            results[number] = error

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(workers))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results
