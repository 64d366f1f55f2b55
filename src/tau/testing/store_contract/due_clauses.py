"""Clauses of the store contract about the runs that a worker may take."""

from __future__ import annotations

import time
from pathlib import Path

from tau.stores.contract import Store
from tau.testing.store_contract.batches import batch, one, owner

LATER = 1e11  # seconds since 1970: in the year 5138


class DueClauses:
    """See `tau.testing.store_contract.suite.StoreContract`."""

    def reopen(self, store: Store, tmp_path: Path) -> Store:
        raise NotImplementedError

    def test_runs_that_may_be_taken_are_found_oldest_first(self, store: Store, other: Store) -> None:
        """Those of one graph, each as its summary is, up to the limit; nothing in a name is a pattern."""
        batches = [
            batch("third", 0, status="admitted", not_before=3.0),
            batch("first", 0, status="interrupted", not_before=1.0),
            batch("second", 0, status="waiting", not_before=2.0),
            batch("elsewhere", 0, status="admitted", not_before=1.0, graph="another"),
        ]
        assert store.commit(batches) == [1] * 4
        assert _due(other) == ["first", "second", "third"]
        assert _due(other, limit=2) == ["first", "second"]
        assert _due(other, limit=0) == []
        assert _due(other, "another") == ["elsewhere"]
        assert _due(other, "%") == _due(other, "") == _due(other, "Graph") == []
        assert dict(other.due("graph", 9)) == {each.summary: None for each in batches[:3]}

    def test_runs_that_are_not_to_be_taken_are_not_found(self, store: Store) -> None:
        """Those whose time has not come, those that a person stopped, and those that have ended."""
        store.commit(
            [
                batch("later", 0, status="admitted", not_before=LATER),
                batch("deadline", 0, status="waiting", not_before=time.time() + 3600),
                batch("stopped", 0, status="interrupted"),
                batch("asked", 0, status="waiting"),
                *(batch(status, 0, status=status, not_before=1.0) for status in ("failed", "finished", "cancelled")),
                batch("kept", 0, status="admitted", not_before=1.0),
                batch("deleted", 0, status="admitted", not_before=1.0),
                batch("now", 0, status="admitted", not_before=time.time() - 60),
            ]
        )
        store.delete("kept", keep_summary=True)
        store.delete("deleted")
        assert _due(store) == ["now"]

    def test_what_takes_or_moves_a_run_is_seen_at_once(self, store: Store, other: Store) -> None:
        """A claim, a new time, an end, a beginning anew."""
        assert one(store, batch("r", 0, status="admitted", not_before=1.0)) == 1
        assert _due(other) == ["r"]
        one(store, batch("r", 1, owner=owner("a"), not_before=1.0))
        assert [row for row, lease in other.due("graph", 9, watched=False) if lease is not None] == []
        one(store, batch("r", 2, status="interrupted", not_before=LATER))
        assert _due(other) == []
        one(store, batch("r", 3, status="interrupted", not_before=1.0))
        assert _due(other) == ["r"]
        one(store, batch("r", 4, status="finished"))
        assert _due(other) == []
        store.delete("r")
        one(store, batch("r", 6, status="admitted", not_before=1.0))
        assert _due(other) == ["r"]

    def test_a_run_is_free_when_its_lease_is(self, store: Store, other: Store, tmp_path: Path) -> None:
        """Where the store has a clock: when it has run out, or was let go; but not before its time."""
        store.commit(
            [
                batch("alive", 0, owner=owner("a", lease=600.0), not_before=1.0),
                batch("let go", 0, owner=owner("b", lease=600.0), not_before=2.0),
                batch("ran out", 0, owner=owner("c", lease=0.0), not_before=3.0),
                batch("older", 0, owner=owner("d", lease=0.0)),
                batch("crashed again", 0, owner=owner("e", lease=0.0), not_before=LATER),
            ]
        )
        store.release("let go", "b")
        alive = store.lease("alive")
        assert alive is not None
        has_clock = alive.expires_in is not None
        for looking in (store, other, self.reopen(store, tmp_path)):
            free = looking.due("graph", 9, watched=False)
            watched = looking.due("graph", 9)
            names = [row.run_id for row, _ in free]
            assert names == ["older", "let go", "ran out"] if has_clock else names in ([], ["let go"])
            rest = [] if has_clock else ["older", "alive", "ran out"]
            assert [row.run_id for row, _ in watched] == (names if has_clock else ["let go", *rest])
            for row, lease in watched:
                found = looking.lease(row.run_id)
                assert (lease and (lease.nonce, lease.counter)) == (found and (found.nonce, found.counter))
            first = "older" if has_clock else "let go"
            assert [row.run_id for row, _ in looking.due("graph", 1)] == [first, *rest]
        store.renew("ran out", "c", 600.0)
        assert "ran out" not in [row.run_id for row, _ in other.due("graph", 9, watched=False)]

    def test_many_runs_of_any_name_can_be_due(self, store: Store) -> None:
        """And the oldest of them are found."""
        graph = "g\U0001f30d'; --"
        batches = [batch(f"r{n}", 0, graph=graph, status="admitted", not_before=1000.0 - n) for n in range(150)]
        assert store.commit(batches) == [1] * 150
        assert _due(store, graph, limit=3) == ["r149", "r148", "r147"]
        assert len(_due(store, graph, limit=1000)) == 150

    def test_some_of_the_runs_that_are_due_are_found(self, store: Store, other: Store) -> None:
        """Of the first so many, for one of many workers."""
        batches = [batch(f"r{n:02}", 0, status="admitted", not_before=float(n)) for n in range(40)]
        assert store.commit(batches) == [1] * 40
        first = [f"r{n:02}" for n in range(30)]
        found = other.some_due("graph", 5, 30)
        names = [row.run_id for row, _ in found]
        assert len(found) >= 5
        assert names == [name for name in first if name in names]
        assert found == [(batches[first.index(name)].summary, None) for name in names]
        assert [row.run_id for row, _ in other.some_due("graph", 30, 30)] == first
        assert other.some_due("another", 5, 30, watched=False) == []


def _due(store: Store, graph: str = "graph", limit: int = 100) -> list[str]:
    return [row.run_id for row, _ in store.due(graph, limit)]
