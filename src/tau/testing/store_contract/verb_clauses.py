"""Clauses of the store contract about an owner at work and a second process that calls any verb at any moment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pytest

from tau.stores.contract import Batch, PositionConflict, Query, Store
from tau.testing.store_contract.batches import batch, one, owner

Verb = Callable[[Store, int], object]


def life(start: int = 0, nonce: str = "a", name: bytes = b"x") -> list[Batch]:
    """The commits of a run, from the position ``start`` on: admission, an item, checkpoints, a manifest, the end."""
    mine = owner(nonce)
    admission = batch("r", start, 2, blobs=[(name + b"1", b"data")], owner=mine, base=start + 1)
    rest = [
        batch("r", start + 2, owner=mine, base=start + 1),
        batch("r", start + 3, 2, blobs=[(name + b"2", b"more")], owner=mine, base=start + 1, iterations=1),
        batch("r", start + 5, blobs=[(name + b"large", b"l" * 200_000)], owner=mine, base=start + 1, iterations=2),
        batch("r", start + 6, owner=mine, base=start + 7, iterations=3),
        batch("r", start + 7, 2, status="finished", base=start + 7, iterations=4),
    ]
    return [admission, *rest]


def _refused(store: Store, position: int, keep_summary: bool = False) -> None:
    with pytest.raises(PositionConflict) as raised:
        store.delete("r", keep_summary, expected=position)
    assert raised.value.run_id == "r"
    assert raised.value.expected == position


HARMLESS: Final[dict[str, Verb]] = {
    "read": lambda store, position: store.read("r"),
    "read what comes next": lambda store, position: store.read("r", position),
    "summary": lambda store, position: store.summary("r"),
    "blobs": lambda store, position: store.blobs("r", [b"x1", b"x2", b"none"]),
    "select": lambda store, position: store.select(Query(status="running")),
    "runs": lambda store, position: store.runs(),
    "list": lambda store, position: store.list(),
    "lease": lambda store, position: store.lease("r"),
    "renew for another": lambda store, position: store.renew("r", "b", 60.0),
    "renew for the owner": lambda store, position: store.renew("r", "a", 60.0),
    "release for another": lambda store, position: store.release("r", "b"),
    "release for the owner": lambda store, position: store.release("r", "a"),
    "commit from the future": lambda store, position: one(store, batch("r", position + 1)),
    "commit from before": lambda store, position: one(store, batch("r", position - 1)) if position else None,
    "commit of another run": lambda store, position: one(store, batch(f"other {position}", 0)),
    "delete another run": lambda store, position: store.delete("R"),
    "delete from the future": lambda store, position: _refused(store, position + 1),
    "delete from before": lambda store, position: _refused(store, position - 1) if position > 1 else None,
    "drop from before": lambda store, position: _refused(store, position - 1, True) if position > 1 else None,
    "close": lambda store, position: store.close(),
}
"""What a second process may do beside an owner that works; the position is the one that the run is at."""

DELETIONS: Final[dict[str, Verb]] = {
    "delete": lambda store, position: store.delete("r"),
    "keep the summary": lambda store, position: store.delete("r", keep_summary=True),
    "delete here": lambda store, position: store.delete("r", expected=position),
    "keep the summary here": lambda store, position: store.delete("r", keep_summary=True, expected=position),
    "delete in two steps": lambda store, position: (store.delete("r", keep_summary=True), store.delete("r")),
    "delete twice": lambda store, position: [store.delete("r", expected=position) for _ in range(2)],
}


class VerbClauses:
    """See `tau.testing.store_contract.suite.StoreContract`."""

    @pytest.mark.parametrize("verb", HARMLESS)
    def test_a_second_process_does_not_disturb_an_owner(self, store: Store, other: Store, verb: str) -> None:
        """Whatever it calls at whatever position, short of writing at the very position that the owner expects."""
        commits = life()
        for number, each in enumerate(commits):
            HARMLESS[verb](other, each.expected)
            assert one(store, each) == each.summary.position
            assert other.summary("r") == each.summary
            written = [record for past in commits[: number + 1] for record in past.records]
            assert [record for _, record in other.read("r")] == written
        HARMLESS[verb](other, commits[-1].summary.position)
        blobs = {name: data for each in commits for name, data in each.blobs}
        assert store.blobs("r", blobs) == other.blobs("r", blobs) == blobs

    @pytest.mark.parametrize("verb", DELETIONS)
    def test_after_a_deletion_every_earlier_owner_is_refused(self, store: Store, other: Store, verb: str) -> None:
        """At every position of a run: nothing of it is left, and nothing that its owner does brings any of it back."""
        start = 0
        for done in range(1, 7):
            commits = life(start)
            for each in commits[:done]:
                assert one(store, each) == each.summary.position
            DELETIONS[verb](other, commits[done - 1].summary.position)
            left = other.summary("r")
            self._goes_on_in_vain(store, commits, done)
            assert store.summary("r") == other.summary("r") == left
            assert left is not None
            assert left.base == 0
            assert left.position > commits[done - 1].summary.position
            assert list(other.read("r")) == []
            assert other.blobs("r", [b"x1", b"x2", b"xlarge"]) == {}
            start = left.position

    @pytest.mark.parametrize("verb", DELETIONS)
    def test_a_run_begun_anew_is_safe_from_its_earlier_owners(self, store: Store, other: Store, verb: str) -> None:
        """At every position of the old run and of the new one, which passes all positions that the old one expects."""
        start = 0
        for done in range(1, 7):
            old = life(start)
            for each in old[:done]:
                assert one(store, each) == each.summary.position
            DELETIONS[verb](other, old[done - 1].summary.position)
            other.delete("r")
            left = other.summary("r")
            assert left is not None
            new = life(left.position, nonce="b", name=b"y")
            for number, each in enumerate(new):
                assert one(other, each) == each.summary.position
                self._goes_on_in_vain(store, old, done)
                _refused(store, old[done - 1].summary.position, keep_summary=True)
                assert other.summary("r") == each.summary
                written = [record for past in new[: number + 1] for record in past.records]
                assert [record for _, record in other.read("r")] == written
                lease = other.lease("r")
                assert (lease.nonce if lease is not None else "") == ("b" if each.summary.owner is not None else "")
            assert other.blobs("r", [b"x1", b"x2", b"xlarge", b"y1"]) == {b"y1": b"data"}
            other.delete("r")
            start = new[-1].summary.position + 1

    @pytest.mark.parametrize("done", range(1, 6))
    def test_of_a_commit_and_a_deletion_at_one_position_one_comes_first(
        self, store: Store, other: Store, done: int
    ) -> None:
        """The deletion that comes second is refused, and the run goes on."""
        commits = life()
        for each in commits[:done]:
            assert one(store, each) == each.summary.position
        at = commits[done].expected
        assert one(store, commits[done]) == commits[done].summary.position
        _refused(other, at)
        _refused(other, at, keep_summary=True)
        assert other.summary("r") == commits[done].summary

    def test_a_deletion_of_nothing_expects_nothing(self, store: Store) -> None:
        """A run that never existed is at position 0."""
        store.delete("never", expected=0)
        with pytest.raises(PositionConflict):
            store.delete("never", expected=3)
        assert store.summary("never") is None

    def _goes_on_in_vain(self, store: Store, commits: list[Batch], done: int) -> None:
        for each in commits[: done + 1]:
            assert isinstance(one(store, each), PositionConflict)
        late = batch("r", commits[done - 1].summary.position, owner=owner("a"), base=commits[0].expected + 1)
        assert isinstance(one(store, late), PositionConflict)
        assert store.renew("r", "a", 60.0) is False
        store.release("r", "a")
