"""Clauses of the store contract about dropping what lies before a manifest."""

from __future__ import annotations

import threading
from contextlib import suppress

import pytest

from tau.errors import StoreError
from tau.stores.contract import PositionConflict, Store
from tau.testing.store_contract.batches import batch, one, owner, race


def _long(store: Store, count: int = 200) -> dict[int, bytes]:
    """A run of so many commits, each with a blob of its own; its records by position."""
    written = {}
    for position in range(count):
        each = batch("r", position, blobs=[(b"n%d" % position, b"data %d" % position)], owner=owner("a"))
        assert one(store, each) == position + 1
        written[position + 1] = each.records[0]
    return written


class TrimClauses:
    """See `tau.testing.store_contract.suite.StoreContract`."""

    def test_what_lies_before_a_manifest_is_dropped_or_the_store_refuses(self, store: Store, other: Store) -> None:
        """Its position, summary and lease stay, commits go on, and what was named is gone, or may stay where a store
        cannot remove it in the same step. A store that refuses changes nothing."""
        written = _long(store)
        before, lease = store.summary("r"), store.lease("r")
        dropped = [b"n%d" % number for number in range(0, 150, 2)]
        if type(other).trim is Store.trim:
            with pytest.raises(StoreError, match="nothing was changed"):
                other.trim("r", 151, dropped, expected=200)
            assert dict(store.read("r")) == written
            assert len(store.blobs("r", dropped)) == len(dropped)
            return
        other.trim("r", 151, dropped, expected=200)
        rows = list(store.read("r"))
        assert rows[-50:] == [(at, written[at]) for at in range(151, 201)]
        assert rows[0][0] > 1
        assert all(written[at] == data for at, data in rows)
        assert list(other.scan("r")) == rows
        assert store.read("r", 190) == rows[-10:]
        assert store.summary("r") == other.summary("r") == before
        again = store.lease("r")
        assert (again is None) == (lease is None)
        kept = [b"n%d" % number for number in range(1, 200, 2)]
        assert len(other.blobs("r", kept)) == len(kept)
        for _ in range(2):
            other.trim("r", 151, dropped, expected=200)
        assert one(store, batch("r", 200, blobs=[(dropped[0], b"again")], owner=owner("a"))) == 201
        assert other.blobs("r", [dropped[0]]) in ({dropped[0]: b"again"}, {dropped[0]: b"data 0"})
        assert [at for at, _ in other.read("r")] == [*(at for at, _ in rows), 201]
        other.delete("r")
        assert list(store.read("r")) == []

    def test_trimming_beside_a_live_owner_costs_no_commit(self, store: Store, other: Store) -> None:
        """Its commits stand, whatever is dropped between them, and so does what they need."""
        if type(other).trim is Store.trim:
            return
        ended = threading.Event()

        def work() -> dict[int, bytes]:
            try:
                return _long(store, 80)
            finally:
                ended.set()

        def trim() -> int:
            count = 0
            while not ended.wait(0.01):
                seen = other.summary("r")
                if seen is not None and seen.position > 20:
                    first = seen.position - 10
                    with suppress(PositionConflict):
                        other.trim("r", first, [b"n%d" % number for number in range(first - 1)], expected=seen.position)
                        count += 1
            return count

        written, count = race([work, trim])
        assert isinstance(written, dict), written
        assert isinstance(count, int), count
        for each in (store, other):
            rows = list(each.read("r"))
            assert rows == [(at, written[at]) for at in range(rows[0][0], 81)]
            assert rows[0][0] <= 70
            assert len(each.blobs("r", [b"n%d" % number for number in range(69, 80)])) == 11

    def test_a_run_that_has_moved_on_is_not_trimmed(self, store: Store, other: Store) -> None:
        """Nor one that never was."""
        written = _long(store, 20)
        for run_id, expected in (("r", 19), ("r", 21), ("never", 1)):
            with pytest.raises((PositionConflict, StoreError)):
                other.trim(run_id, 10, [b"n1"], expected=expected)
        assert dict(store.read("r")) == written
        assert len(store.blobs("r", [b"n1"])) == 1
        assert store.summary("never") is None
