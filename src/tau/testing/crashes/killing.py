"""The store of a process that is to be killed: it counts commits, notes which were acknowledged, and kills at one."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from tau.stores.contract import Batch, Store
from tau.testing.crashes.calls import Calls, counted, die
from tau.testing.crashes.points import AFTER, BEFORE, INSIDE, Point
from tau.testing.store_wrappers import StoreWrapper


class Acknowledged(Struct):
    """A commit that the store has acknowledged: which one, by how many ``calls``, and what it appended to the run
    behind ``expected``, as the digest of each record."""

    commit: int
    calls: int
    expected: int = 0
    records: list[str] = []


def digest_of(record: bytes) -> str:
    return hashlib.sha256(record).hexdigest()[:32]


class KillingStore(StoreWrapper):
    """Passes everything on to ``store``; kills this process at ``point``.

    What is acknowledged is appended to the file ``ledger``, a line for each commit and batch of ``run_id``, so that it
    outlives the process. Raises what ``store`` raises.
    """

    def __init__(self, store: Store, run_id: str, ledger: str, point: Point | None = None) -> None:
        super().__init__(store)
        self.run_id = run_id
        self.point = point
        self.commits = 0
        self._ledger = os.open(ledger, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._lock = threading.RLock()

    def commit(self, batches: Sequence[Batch]) -> Sequence[int | Exception]:
        with self._lock:
            self.commits += 1
            at = self.point if self.point is not None and self.point.commit == self.commits else None
            if at is not None and at.kind == BEFORE:
                die()
            calls = Calls(at.call if at is not None and at.kind == INSIDE else 0)
            with counted(calls):
                results = super().commit(batches)
            if at is not None and at.kind == INSIDE:
                die()  # fewer calls than in the run that was counted: then it is the last moment inside
            self._note(calls.count, batches, results)
            if at is not None and at.kind == AFTER:
                die()
            return results

    def _note(self, calls: int, batches: Sequence[Batch], results: Sequence[Any]) -> None:
        lines = [Acknowledged(self.commits, calls)]
        for batch, result in zip(batches, results, strict=True):
            if isinstance(result, int) and batch.run_id == self.run_id:
                records = [digest_of(record) for record in batch.records]
                lines.append(Acknowledged(self.commits, calls, batch.expected, records))
        os.write(self._ledger, b"".join(msgspec.json.encode(line) + b"\n" for line in lines))


def acknowledged(ledger: str) -> list[Acknowledged]:
    """What a process left in its ledger; empty where it came to no commit."""
    try:
        with open(ledger, "rb") as file:
            return [msgspec.json.decode(line, type=Acknowledged) for line in file]
    except FileNotFoundError:
        return []
