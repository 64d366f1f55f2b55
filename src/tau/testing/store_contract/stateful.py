"""A store compared with a model of dicts, in any order of calls that hypothesis finds.

::

    class TestMine(StoreMachine.TestCase):
        settings = settings(max_examples=50, stateful_step_count=40)

Subclass `StoreMachine` with a ``make_store``; the machine opens several stores at one place, commits through all of
them, also stale and from the future, drops some without closing them, as a crash does, and opens new ones.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tau.stores.contract import Batch, PositionConflict, Query, Store, Summary, deletion
from tau.testing.store_contract.batches import batch, owner
from tau.testing.store_contract.due_clauses import LATER

runs = st.sampled_from(["r", "R", "a/b", "\U0001f30d"])
writers = st.integers(0, 2)
nonces = st.sampled_from(["a", "b"])
left = st.sampled_from(
    [
        {},
        {},
        {"status": "admitted", "not_before": 1.0},
        {"status": "interrupted", "not_before": 2.0},
        {"status": "waiting", "not_before": LATER},
        {"status": "interrupted"},
        {"status": "finished"},
    ]
)
digests = st.sampled_from([b"1", b"2" * 32, b"3" * 32])


@dataclass
class Run:
    """What a run must look like."""

    position: int = 0
    records: list[tuple[int, bytes]] = field(default_factory=list)
    blobs: dict[bytes, bytes] = field(default_factory=dict)
    summary: Summary | None = None
    nonce: str | None = None

    @property
    def is_free(self) -> bool:
        """Whether a worker may take it now."""
        return self.nonce is None and self.summary is not None and self.summary.may_be_taken(time.time())


class StoreMachine(RuleBasedStateMachine):
    """Subclass it and say how to make a store. A difference from the model raises `AssertionError`, as in any test.

    >>> from tau.stores.file import FileStore
    >>> from tau.testing import StoreMachine
    >>> class Machine(StoreMachine):
    ...     def make_store(self, path):
    ...         return FileStore(path)
    ...     def reopen(self, store, path):
    ...         return self.make_store(path)
    >>> TestMine = Machine.TestCase  # pytest finds it
    """

    def make_store(self, path: Path) -> Store:
        """The store to be tested, at ``path``. Raises `NotImplementedError` until a subclass defines it."""
        raise NotImplementedError("return a store at path")

    def reopen(self, store: Store, path: Path) -> Store:
        """Another store at the same place; ``store`` may be closed or abandoned. Raises what `make_store` raises."""
        return self.make_store(path)

    @initialize()
    def begin(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="tau-"))
        first = self.make_store(self.path)
        self.stores = [first, self.reopen(first, self.path), self.reopen(first, self.path)]
        self.model: dict[str, Run] = {}

    def teardown(self) -> None:
        if hasattr(self, "stores"):
            for store in self.stores:
                store.close()
            shutil.rmtree(self.path)

    def expect(self, each: Batch) -> int | None:
        """Apply the batch to the model: the new position, or ``None`` for a conflict."""
        run = self.model.get(each.run_id, Run())
        if run.position != each.expected:
            return None
        self.model[each.run_id] = run
        for record in each.records:
            run.position += 1
            run.records.append((run.position, record))
        for digest, data in each.blobs:
            run.blobs.setdefault(digest, data)
        run.summary = each.summary
        run.nonce = each.summary.owner.nonce if each.summary.owner else None
        return run.position

    def commit(self, writer: int, batches: Sequence[Batch]) -> None:
        results = self.stores[writer].commit(batches)
        assert len(results) == len(batches)
        for each, result in zip(batches, results, strict=True):
            expected = self.expect(each)
            if expected is None:
                assert isinstance(result, PositionConflict), result
                assert result.position == self.model.get(each.run_id, Run()).position
            else:
                assert result == expected, result

    @rule(
        writer=writers,
        run_id=runs,
        off=st.sampled_from([0, 0, 0, 0, -1, -2, 1, -5]),
        count=st.integers(1, 3),
        nonce=st.none() | nonces,
        named=st.lists(digests, max_size=3),
        fields=left,
    )
    def append(
        self,
        writer: int,
        run_id: str,
        *,
        off: int,
        count: int,
        nonce: str | None,
        named: list[bytes],
        fields: dict[str, Any],
    ) -> None:
        expected = max(0, self.model.get(run_id, Run()).position + off)
        held = None if nonce is None or fields else owner(nonce)
        blobs = [(digest, digest * 3) for digest in named]
        self.commit(writer, [batch(run_id, expected, count, blobs=blobs, owner=held, **fields)])

    @rule(writer=writers, ids=st.lists(runs, min_size=2, max_size=5))
    def append_group(self, writer: int, ids: list[str]) -> None:
        """All from the positions of before, so that the second batch of a run is stale."""
        self.commit(writer, [batch(run_id, self.model.get(run_id, Run()).position) for run_id in ids])

    @rule(writer=writers, run_id=runs, times=st.integers(60, 70))
    def append_many(self, writer: int, run_id: str, times: int) -> None:
        """Enough commits to make a store merge, if it does that."""
        start = self.model.get(run_id, Run()).position
        self.commit(writer, [batch(run_id, start + number, owner=owner("a")) for number in range(times)])

    @rule(writer=writers, run_id=runs, keep=st.booleans(), off=st.sampled_from([None, None, 0, 0, -1, -2, 1]))
    def delete(self, writer: int, run_id: str, keep: bool, off: int | None) -> None:
        run = self.model.get(run_id, Run())
        expected = None if off is None else max(0, run.position + off)
        after = None
        try:
            if run.summary is not None:
                after = deletion(run.summary, keep, expected, empty=not run.records)
            elif expected:
                raise PositionConflict(run_id, expected, 0)
        except PositionConflict:
            with pytest.raises(PositionConflict):
                self.stores[writer].delete(run_id, keep, expected=expected)
            return
        self.stores[writer].delete(run_id, keep, expected=expected)
        if after is not None:
            run.records, run.blobs, run.nonce = [], {}, None
            run.summary, run.position = after, after.position

    @rule(writer=writers, run_id=runs, nonce=nonces)
    def renew(self, writer: int, run_id: str, nonce: str) -> None:
        assert self.stores[writer].renew(run_id, nonce, 60.0) is (self.model.get(run_id, Run()).nonce == nonce)

    @rule(writer=writers, run_id=runs, nonce=nonces)
    def release(self, writer: int, run_id: str, nonce: str) -> None:
        self.stores[writer].release(run_id, nonce)
        run = self.model.get(run_id)
        if run is not None and run.nonce == nonce:
            run.nonce = None

    @rule(writer=writers)
    def crash(self, writer: int) -> None:
        """Drop a store as it is, and come back."""
        self.stores[writer] = self.reopen(self.stores[writer], self.path)

    @rule(writer=writers)
    def close(self, writer: int) -> None:
        self.stores[writer].close()

    @rule(writer=writers, run_id=runs, after=st.integers(0, 100))
    def read_from(self, writer: int, run_id: str, after: int) -> None:
        expected = [row for row in self.model.get(run_id, Run()).records if row[0] > after]
        assert list(self.stores[writer].read(run_id, after)) == expected

    @invariant()
    def every_store_shows_what_the_model_holds(self) -> None:
        for store in getattr(self, "stores", []):
            for run_id, run in self.model.items():
                assert store.summary(run_id) == run.summary
                tail = max(0, run.position - 5)
                assert list(store.read(run_id, tail)) == [row for row in run.records if row[0] > tail]
                assert store.blobs(run_id, [b"1", b"2" * 32, b"3" * 32]) == run.blobs
                lease = store.lease(run_id)
                assert (None if lease is None else lease.nonce) == run.nonce
            listed = [run.summary for run in self.model.values() if run.summary and run.summary.status != "deleted"]
            listed.sort(key=lambda summary: summary.updated, reverse=True)
            assert list(store.select(Query())) == listed
            free = {run_id for run_id, run in self.model.items() if run.is_free}
            found = [row.run_id for row, lease in store.due("graph", 9) if lease is None]
            assert sorted(found) == sorted(free)
