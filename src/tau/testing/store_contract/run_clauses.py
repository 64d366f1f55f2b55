"""Clauses of the store contract about runs: leases, deletion, listing, names, isolation."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tau.stores.contract import PositionConflict, Query, Store, emptied
from tau.testing.store_contract.batches import batch, one, owner, race

RUN_IDS = (
    "plain", "Plain", "with space", "a/b", "a%2fb", "a%2Fb", "../up", "..", ".", "/root", "\\", "CON", "con.", "nul",
    "x" * 500, "x" * 501, "e\u0301", "\u00e9", "\U0001f30d" * 1024, "'; drop table runs; --", "%", "_", "*",
    "new\nline", " ", "-rf",
    "\ufeff", "r-plain", "h-plain", "?a=b", "a#b", "\x01", "\x7f", "\u202e",
)  # fmt: skip


class RunClauses:
    """See `tau.testing.store_contract.suite.StoreContract`."""

    def reopen(self, store: Store, tmp_path: Path) -> Store:
        raise NotImplementedError

    # Which store it is

    def test_a_store_has_one_name_for_all_who_open_it(self, store: Store, other: Store, tmp_path: Path) -> None:
        """At the same moment, too; where it is kept is never listed, and it outlives the object."""
        with ThreadPoolExecutor(2) as pool:
            names = list(pool.map(lambda one: one.identity(), [store, other]))
        assert names == [store.identity()] * 2
        assert len(names[0]) >= 16
        assert self.reopen(store, tmp_path).identity() == names[0]
        assert store.list() == []
        assert list(store.runs()) == []
        assert list(store.select(Query())) == []

    # Runs that are put in part by part

    def test_a_run_that_is_put_in_part_by_part_is_seen_when_it_is_complete(self, store: Store, other: Store) -> None:
        """All parts but the last have status deleted, and a deletion takes them away."""
        start = 0
        for again in (False, True):
            parts = [
                batch("r", start, 2, blobs=[(b"x1", b"data")], status="deleted", graph="", base=start + 1),
                batch("r", start + 2, blobs=[(b"x2", b"l" * 200_000)], status="deleted", graph="", base=start + 1),
                batch("r", start + 3, 2, blobs=[(b"x3", b"more")], status="failed", base=start + 1, iterations=4),
            ]
            for part in parts[:-1]:
                assert one(store, part) == part.summary.position
                assert other.summary("r") == part.summary
                assert list(other.select(Query())) == []
                assert other.list() == []
                assert other.lease("r") is None
            if not again:
                other.delete("r", expected=start + 3)
                assert isinstance(one(store, parts[-1]), PositionConflict)
                assert list(other.read("r")) == []
                assert other.blobs("r", [b"x1", b"x2"]) == {}
                left = other.summary("r")
                assert left is not None
                start = left.position
        assert one(store, parts[-1]) == start + 5
        assert other.summary("r") == parts[-1].summary
        assert [record for _, record in other.read("r")] == [one for part in parts for one in part.records]
        assert other.blobs("r", [b"x1", b"x2", b"x3"]) == {b"x1": b"data", b"x2": b"l" * 200_000, b"x3": b"more"}
        assert [row.run_id for row in other.select(Query())] == ["r"]

    # Leases

    def test_a_commit_with_an_owner_starts_its_lease(self, store: Store, other: Store) -> None:
        """For everybody to see, for at most the time that the owner asked for."""
        one(store, batch("r", 0, owner=owner("a", lease=60.0)))
        lease = other.lease("r")
        assert lease is not None
        assert lease.nonce == "a"
        assert lease.expires_in is None or 0 < lease.expires_in <= 60.0

    def test_every_commit_and_renewal_is_a_sign_of_life(self, store: Store, other: Store) -> None:
        """Where there is no clock, the counter tells; it never returns to a value that was seen."""
        seen = []
        for position in range(3):
            one(store, batch("r", position, owner=owner("a")))
            for _ in range(3):
                lease = other.lease("r")
                assert lease is not None
                seen.append(lease.counter)
                assert store.renew("r", "a", 30.0) is True
        assert len(set(seen)) == len(seen)
        lease = other.lease("r")
        assert lease is not None
        assert lease.expires_in is None or 0 < lease.expires_in <= 30.0

    def test_a_lease_that_ran_out_is_still_held(self, store: Store) -> None:
        """An owner that slept simply renews it."""
        one(store, batch("r", 0, owner=owner("a", lease=0.0)))
        lease = store.lease("r")
        assert lease is not None
        assert lease.expires_in is None or lease.expires_in <= 0.0
        assert store.renew("r", "a", 60.0) is True
        lease = store.lease("r")
        assert lease is not None
        assert lease.expires_in is None or lease.expires_in > 0.0

    def test_only_the_holder_renews_and_releases(self, store: Store, other: Store) -> None:
        """An owner that was superseded can do neither."""
        one(store, batch("r", 0, owner=owner("a")))
        one(other, batch("r", 1, owner=owner("b")))
        before = store.lease("r")
        assert store.renew("r", "a", 60.0) is False
        store.release("r", "a")
        after = store.lease("r")
        assert before is not None
        assert after is not None
        assert (after.nonce, after.counter) == ("b", before.counter)
        assert other.renew("r", "b", 60.0) is True

    def test_a_released_lease_is_gone_until_the_next_commit(self, store: Store) -> None:
        """Releasing twice is fine, renewing what was released is not."""
        one(store, batch("r", 0, owner=owner("a")))
        store.release("r", "a")
        store.release("r", "a")
        assert store.lease("r") is None
        assert store.renew("r", "a", 60.0) is False
        one(store, batch("r", 1, owner=owner("a")))
        lease = store.lease("r")
        assert lease is not None
        assert lease.nonce == "a"
        assert store.renew("r", "a", 60.0) is True

    def test_a_commit_without_an_owner_ends_the_lease(self, store: Store) -> None:
        """Finishing and letting go are one step."""
        one(store, batch("r", 0, owner=owner("a")))
        one(store, batch("r", 1, status="finished"))
        assert store.lease("r") is None
        assert store.renew("r", "a", 60.0) is False

    def test_a_lease_survives_reopening(self, store: Store, tmp_path: Path) -> None:
        """A process that died leaves its lease behind."""
        one(store, batch("r", 0, owner=owner("a")))
        again = self.reopen(store, tmp_path)
        try:
            lease = again.lease("r")
            assert lease is not None
            assert lease.nonce == "a"
        finally:
            again.close()

    def test_renewals_do_not_disturb_commits(self, store: Store, other: Store) -> None:
        """Both go on at once, from different threads and stores."""
        one(store, batch("r", 0, owner=owner("a")))

        def commit() -> list[object]:
            return [one(store, batch("r", position, owner=owner("a"))) for position in range(1, 20)]

        def renew() -> list[object]:
            return [other.renew("r", "a", 60.0) for _ in range(20)]

        assert race([commit, renew]) == [list(range(2, 21)), [True] * 20]

    # Deletion

    def test_a_deleted_run_keeps_a_position_only(self, store: Store, other: Store) -> None:
        """One above the last, no records, no blobs, no lease; status deleted, and it is not listed."""
        last = batch("r", 3, blobs=[(b"x", b"1")], owner=owner("a"))
        store.commit([batch("r", 0, 3), last])
        store.delete("r")
        assert list(other.read("r")) == []
        assert other.blobs("r", [b"x"]) == {}
        assert other.lease("r") is None
        assert other.renew("r", "a", 1.0) is False
        assert other.summary("r") == emptied(last.summary, keep_summary=False)
        assert other.select(Query()) == []

    def test_a_summary_can_be_kept(self, store: Store) -> None:
        """It is listed as before, with nothing left to resume from."""
        last = batch("r", 0, status="finished", tags=("t",))
        one(store, last)
        store.delete("r", keep_summary=True)
        kept = store.summary("r")
        assert kept is not None
        assert kept == emptied(last.summary, keep_summary=True)
        assert list(store.read("r")) == []
        assert store.select(Query(tag="t")) == [kept]
        store.delete("r", keep_summary=True)
        assert store.summary("r") == kept
        store.delete("r")
        assert store.summary("r") == emptied(kept, keep_summary=False)
        assert store.select(Query()) == []

    def test_deleting_again_changes_nothing(self, store: Store, tmp_path: Path) -> None:
        """A deletion that was broken off can be repeated."""
        one(store, batch("r", 0))
        store.delete("r")
        first = store.summary("r")
        store.delete("r", keep_summary=True)
        again = self.reopen(store, tmp_path)
        try:
            again.delete("r")
            assert again.summary("r") == first
        finally:
            again.close()

    def test_a_deleted_run_begins_again_where_it_ended(self, store: Store, tmp_path: Path) -> None:
        """Any number of times, with nothing of the old life in the new one."""
        position = 0
        for life in range(3):
            for number in range(70 if life == 0 else 2):
                each = batch("r", position, blobs=[(b"%d %d" % (life, number), b"x")])
                position += 1
                assert one(store, each) == position
            assert len(store.read("r")) == (70 if life == 0 else 2)
            assert store.blobs("r", [b"0 0", b"1 0", b"2 0"]) == {b"%d 0" % life: b"x"}
            store.delete("r")
            position += 1
        again = self.reopen(store, tmp_path)
        try:
            assert again.read("r") == []
            assert isinstance(one(again, batch("r", 0)), PositionConflict)
            assert one(again, batch("r", position)) == position + 1
            assert len(again.read("r")) == 1
        finally:
            again.close()

    def test_a_deletion_leaves_other_runs_alone(self, store: Store) -> None:
        """Also those whose ids look alike."""
        ids = ["r", "R", "r ", "r/", "rr", "r%"]
        store.commit([batch(run_id, 0) for run_id in ids])
        store.delete("r")
        assert {summary.run_id for summary in store.select(Query())} == set(ids[1:])
        assert all(len(store.read(run_id)) == 1 for run_id in ids[1:])

    # Listing

    def test_runs_are_listed_newest_first(self, store: Store, other: Store) -> None:
        """By the time of their last update; ``limit`` bounds the rows."""
        store.commit([batch(f"r{number}", 0) for number in range(5)])
        one(other, batch("r1", 1))
        found = store.select(Query())
        assert [summary.run_id for summary in found] == ["r1", "r4", "r3", "r2", "r0"]
        assert found[0] == store.summary("r1")
        assert [summary.run_id for summary in store.select(Query(limit=2))] == ["r1", "r4"]
        assert store.select(Query(limit=0)) == []

    def test_runs_are_listed_by_graph_status_and_tag(self, store: Store) -> None:
        """All conditions hold at once; nothing in them is a pattern."""
        store.commit(
            [
                batch("a", 0, graph="g", status="failed", tags=("x", "y")),
                batch("b", 0, graph="g", status="finished", tags=("xy",)),
                batch("c", 0, graph="h", status="failed", tags=()),
            ]
        )

        def ids(**query: Any) -> set[str]:
            return {summary.run_id for summary in store.select(Query(**query))}

        assert ids() == {"a", "b", "c"}
        assert ids(graph="g") == {"a", "b"}
        assert ids(status="failed") == {"a", "c"}
        assert ids(tag="x") == {"a"}
        assert ids(graph="g", status="failed", tag="y") == {"a"}
        assert ids(graph="%") == ids(tag="%") == ids(status="' or 1=1 --") == set()
        one(store, batch("a", 1, graph="g", status="finished", tags=("x", "y")))
        assert ids(status="failed") == {"c"}

    # Names and isolation

    def test_any_run_id_works_exactly(self, store: Store, tmp_path: Path) -> None:
        """Each is a run of its own, and comes back as it was."""
        batches = {run_id: batch(run_id, 0, blobs=[(b"x", run_id.encode())]) for run_id in RUN_IDS}
        assert store.commit(list(batches.values())) == [1] * len(RUN_IDS)
        again = self.reopen(store, tmp_path)
        try:
            assert {summary.run_id for summary in again.select(Query())} == set(RUN_IDS)
            for run_id, each in batches.items():
                assert again.read(run_id) == [(1, each.records[0])]
                assert again.blobs(run_id, [b"x"]) == {b"x": run_id.encode()}
                assert again.summary(run_id) == each.summary
        finally:
            again.close()

    def test_ids_are_found_by_how_they_begin(self, store: Store, other: Store) -> None:
        """By these very characters; ids of deleted runs may be among them, and long ones may be left out."""
        given = ("climate-1", "climate-10", "Climate-1", "climate%1", "climate_1", "other", "\U0010ffff", "\u00e9a")
        for run_id in given:
            one(store, batch(run_id, 0))
        assert sorted(other.run_ids()) == sorted(given)
        for prefix in (
            "climate-1",
            "climate-",
            "c",
            "C",
            "climate%",
            "%",
            "_",
            "\u00e9",
            "\U0010ffff",
            "zz",
            "climate-11",
        ):
            found = other.run_ids(prefix)
            assert sorted(found) == sorted(run_id for run_id in given if run_id.startswith(prefix)), prefix

    def test_some_ids_are_ids_of_runs(self, store: Store) -> None:
        """No more ids than were asked for, and none that no run had."""
        given = {"climate-1", "climate-2", "other"}
        for run_id in given:
            one(store, batch(run_id, 0))
        for limit in (1, 2, 5):
            found = store.some_run_ids(limit)
            assert len(found) <= limit
            assert {*found} <= given

    def test_what_was_returned_is_the_callers(self, store: Store) -> None:
        """Changing a result changes nothing in the store."""
        one(store, batch("r", 0, blobs=[(b"x", b"1")]))
        rows, blobs, found = store.read("r"), store.blobs("r", [b"x"]), store.select(Query())
        expected = list(rows), dict(blobs), list(found)
        for result in (rows, blobs, found):
            if hasattr(result, "clear"):
                result.clear()
        assert (store.read("r"), store.blobs("r", [b"x"]), store.select(Query())) == expected
