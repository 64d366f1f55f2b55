"""Clauses of the store contract about the log: writers, atomicity, durability, reading, blobs."""

from __future__ import annotations

import threading
from functools import partial
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from tau.errors import StoreError
from tau.stores.contract import Batch, PositionConflict, Store
from tau.testing.store_contract.batches import batch, one, owner, race


class LogClauses:
    """See `tau.testing.store_contract.suite.StoreContract`."""

    threads = 8
    large = 1_000_000
    forgets = False

    def reopen(self, store: Store, tmp_path: Path) -> Store:
        raise NotImplementedError

    # Two writers

    def test_of_two_that_expect_the_same_position_one_wins(self, store: Store, other: Store) -> None:
        """The second is told the position that it did not expect, and changes nothing."""
        mine, theirs = batch("r", 0), batch("r", 0)
        assert one(store, mine) == 1
        conflict = one(other, theirs)
        assert isinstance(conflict, PositionConflict)
        assert (conflict.run_id, conflict.expected, conflict.position) == ("r", 0, 1)
        assert other.read("r") == [(1, mine.records[0])]
        assert other.summary("r") == mine.summary

    def test_a_stale_writer_is_refused_after_any_number_of_commits(self, store: Store, other: Store) -> None:
        """Whatever happened to the files of the position that it expects."""
        assert one(other, batch("r", 0)) == 1
        assert one(other, batch("r", 1)) == 2
        for position in range(2, 200):
            assert one(store, batch("r", position)) == position + 1
        for expected in (0, 1, 2, 63, 64, 65, 128, 199):
            conflict = one(other, batch("r", expected))
            assert isinstance(conflict, PositionConflict), expected
            assert conflict.position == 200
        assert [position for position, _ in store.read("r")] == list(range(1, 201))

    def test_a_writer_from_the_future_is_refused(self, store: Store) -> None:
        """A position that the run has not reached is as wrong as one that it has left."""
        for expected in (1, 7):
            conflict = one(store, batch("never", expected))
            assert isinstance(conflict, PositionConflict)
            assert conflict.position == 0
        one(store, batch("r", 0, 3))
        for expected in (1, 2, 4):
            conflict = one(store, batch("r", expected))
            assert isinstance(conflict, PositionConflict)
            assert conflict.position == 3

    def test_several_logs_are_what_each_is_alone(self, store: Store) -> None:
        """Each after a position of its own; of a run that never existed, or was deleted, there is nothing."""
        for run_id, records in (("a", 3), ("b", 1), ("c", 2), ("gone", 2)):
            one(store, batch(run_id, 0, records))
        store.delete("gone")
        after = {"b": 0, "never": 0, "a": 1, "c": 2, "gone": 0}
        assert {run_id: list(log) for run_id, log in store.logs(after).items()} == {
            "a": list(store.read("a", 1)), "b": list(store.read("b")), "c": [], "gone": [], "never": [],
        }  # fmt: skip
        assert not store.logs({})

    def test_a_writer_of_before_a_deletion_is_refused_after_it(self, store: Store, other: Store) -> None:
        """Positions are never used again, so a run made anew cannot be mistaken for the old one."""
        for position in range(3):
            assert one(other, batch("r", position)) == position + 1
        store.delete("r")
        anew = batch("r", 4)
        assert one(store, anew) == 5
        for expected in range(5):
            conflict = one(other, batch("r", expected))
            assert isinstance(conflict, PositionConflict)
            assert conflict.position == 5
        assert other.read("r") == [(5, anew.records[0])]

    def test_a_writer_that_knows_another_record_is_refused_where_servers_forget(self, store: Store) -> None:
        """It is told what happened, and nothing is mixed; elsewhere ``before`` changes nothing."""
        first, second = batch("r", 0, 2), batch("r", 2)
        assert store.commit([first]) == [2]
        for wrong in (replace(second, before=first.records[0]), replace(batch("r", 4), before=b"another")):
            refused = one(store, wrong)
            if not self.forgets:
                assert refused == 3 or isinstance(refused, PositionConflict)
                return
            assert isinstance(refused, StoreError), refused
            assert "another history at position 2" in str(refused) or "went back from 4 to 2" in str(refused)
        grouped = store.commit(
            [batch("other", 0), replace(second, before=b"another"), replace(batch("n", 5), before=b"x")]
        )
        assert grouped[0] == 1
        assert [type(result) for result in grouped[1:]] == [StoreError, StoreError]
        assert store.read("r") == [(1, first.records[0]), (2, first.records[1])]
        assert one(store, replace(second, before=first.records[1])) == 3
        conflict = one(store, replace(batch("r", 2), before=first.records[1]))
        assert isinstance(conflict, PositionConflict)

    def test_of_many_threads_at_one_position_one_wins(self, store: Store, other: Store) -> None:
        """Round after round, through one store object and through two."""
        for position in range(10):
            batches = [batch("r", position) for _ in range(self.threads)]
            stores = [store, other] * self.threads
            calls = [lambda b=b, s=s: one(s, b) for b, s in zip(batches, stores, strict=False)]
            results = race(calls)
            winners = [number for number, result in enumerate(results) if result == position + 1]
            assert len(winners) == 1, results
            losers = [result for result in results if isinstance(result, PositionConflict)]
            assert len(losers) == self.threads - 1, results
            assert store.read("r", position) == [(position + 1, batches[winners[0]].records[0])]

    def test_many_threads_that_take_turns_lose_nothing(self, store: Store, other: Store) -> None:
        """Each tries again from the position that it is told; in the end all records are there, once."""

        def work(mine: Store) -> list[bytes]:
            expected = 0
            done: list[bytes] = []
            while len(done) < 5:
                mine_next = batch("r", expected)
                result = one(mine, mine_next)
                if isinstance(result, PositionConflict):
                    expected = result.position
                else:
                    assert isinstance(result, int), result
                    done.append(mine_next.records[0])
                    expected = result
            return done

        done = race([partial(work, mine) for mine in [store, other] * 2])
        rows = store.read("r")
        assert [position for position, _ in rows] == list(range(1, 21))
        assert sorted(record for _, record in rows) == sorted(record for records in done for record in records)

    def test_runs_of_many_threads_do_not_disturb_each_other(self, store: Store, other: Store) -> None:
        """Every run gets exactly its own records."""

        def work(run_id: str, mine: Store) -> list[Any]:
            return [one(mine, batch(run_id, position)) for position in range(10)]

        calls = [lambda n=n: work(f"run {n}", (store, other)[n % 2]) for n in range(self.threads)]
        assert race(calls) == [list(range(1, 11))] * self.threads

    def test_two_batches_of_one_run_in_one_call_follow_each_other(self, store: Store) -> None:
        """The second may expect what the first leaves; a third that expects the same is refused."""
        first, second, third = batch("r", 0, 2), batch("r", 2), batch("r", 2)
        results = store.commit([first, second, third])
        assert results[:2] == [2, 3]
        assert isinstance(results[2], PositionConflict)
        assert [record for _, record in store.read("r")] == [*first.records, *second.records]
        assert store.summary("r") == second.summary

    # Atomic, isolated

    def test_a_refused_batch_changes_nothing(self, store: Store) -> None:
        """Neither records nor blobs nor summary nor lease."""
        first = batch("r", 0, owner=owner("first"))
        one(store, first)
        one(store, batch("r", 0, blobs=[(b"digest", b"data")], owner=owner("second"), status="failed"))
        assert store.read("r") == [(1, first.records[0])]
        assert store.summary("r") == first.summary
        assert store.blobs("r", [b"digest"]) == {}
        lease = store.lease("r")
        assert lease is not None
        assert lease.nonce == "first"

    def test_a_conflict_does_not_fail_its_neighbours(self, store: Store) -> None:
        """Results come in the order of the batches."""
        one(store, batch("b", 0))
        results = store.commit([batch("a", 0), batch("b", 0), batch("c", 0), batch("b", 1)])
        assert isinstance(results[1], PositionConflict)
        assert (results[0], results[2], results[3]) == (1, 1, 2)

    def test_an_impossible_batch_does_not_fail_its_neighbours(self, store: Store) -> None:
        """One without records, or whose summary belongs elsewhere, is refused for itself."""
        wrong = batch("b", 0)
        elsewhere = Batch("b", 0, wrong.token, wrong.records, (), batch("c", 0).summary)
        results = store.commit([batch("a", 0), batch("b", 0, 0), elsewhere, batch("c", 0)])
        assert (results[0], results[3]) == (1, 1)
        assert all(isinstance(result, Exception) for result in results[1:3])
        assert store.summary("b") is None

    def test_no_batches_are_fine(self, store: Store) -> None:
        """An empty call does nothing."""
        assert list(store.commit([])) == []

    def test_a_reader_sees_whole_batches_only(self, store: Store, other: Store) -> None:
        """At every moment the log ends where some commit ended, and no position is missing."""
        done = threading.Event()
        lengths: set[int] = set()

        def write() -> None:
            try:
                for number in range(30):
                    assert one(store, batch("r", number * 5, 5)) == number * 5 + 5
            finally:
                done.set()

        def look() -> None:
            while not done.is_set():
                rows = other.read("r")
                assert [position for position, _ in rows] == list(range(1, len(rows) + 1))
                lengths.add(len(rows) % 5)

        assert race([write, look]) == [None, None]
        assert lengths <= {0}

    # Durable

    def test_what_was_committed_is_there_after_reopening(self, store: Store, tmp_path: Path) -> None:
        """Records, blobs, summary and position."""
        batches = [batch("r", number, blobs=[(bytes([number]), b"data %d" % number)]) for number in range(70)]
        for each in batches:
            assert isinstance(one(store, each), int)
        again = self.reopen(store, tmp_path)
        try:
            assert [record for _, record in again.read("r")] == [each.records[0] for each in batches]
            assert again.blobs("r", [bytes([n]) for n in range(70)]) == {bytes([n]): b"data %d" % n for n in range(70)}
            assert again.summary("r") == batches[-1].summary
            assert one(again, batch("r", 70)) == 71
        finally:
            again.close()

    def test_a_closed_store_opens_again_when_used(self, store: Store) -> None:
        """And closing twice is fine."""
        one(store, batch("r", 0))
        store.close()
        store.close()
        assert one(store, batch("r", 1)) == 2
        assert len(store.read("r")) == 2

    # Reading

    def test_an_unknown_run_is_empty(self, store: Store) -> None:
        """Nothing about it raises."""
        assert list(store.read("never")) == []
        assert store.summary("never") is None
        assert store.blobs("never", [b"x"]) == {}
        assert store.lease("never") is None
        assert store.renew("never", "nonce", 1.0) is False
        store.release("never", "nonce")
        store.delete("never")
        assert store.summary("never") is None

    def test_reading_starts_after_a_position(self, store: Store) -> None:
        """Also in the middle of a batch, at the end, and beyond it."""
        all_rows: list[tuple[int, bytes]] = []
        for number in range(50):
            each = batch("r", number * 3, 3)
            assert one(store, each) == number * 3 + 3
            all_rows += enumerate(each.records, number * 3 + 1)
        for after in (0, 1, 2, 3, 4, 75, 148, 149, 150, 151, 1000):
            assert store.read("r", after) == all_rows[after:], after

    def test_a_long_log_is_given_one_after_the_other_as_it_is_read(self, store: Store) -> None:
        """From any position on, also where others write meanwhile."""
        for number in range(4):
            one(store, batch("r", number * 2500, 2500))
            one(store, batch("another", number, 1))
        for after in (0, 1, 783, 784, 785, 7951, 7952, 7953, 8975, 8976, 8977, 9998, 9999, 10_000, 10_001):
            assert list(store.scan("r", after)) == list(store.read("r", after)), after
        found = store.scan("r")
        rows = [next(found)]
        one(store, batch("r", 10_000, 1))
        rows += found
        assert rows == list(store.read("r"))[: len(rows)]
        assert len(rows) in (10_000, 10_001)
        assert list(store.scan("never")) == []

    def test_the_newest_summary_is_returned_exactly(self, store: Store) -> None:
        """All fields, whatever they hold."""
        fields: dict[str, Any] = {
            "graph": "G \U0001f30d", "status": "waiting", "node": "a\nb", "iterations": 2**40, "tags": ("x", "", "y/z"),
            "created": 0.1, "updated": 2e11, "base": 0,
        }  # fmt: skip
        each = batch("r", 0, **fields)
        one(store, each)
        assert store.summary("r") == each.summary
        later = batch("r", 1, owner=owner("n"))
        one(store, later)
        assert store.summary("r") == later.summary

    # Blobs

    def test_a_blob_is_kept_once_under_its_digest(self, store: Store) -> None:
        """One that the run holds already changes nothing; what it does not hold is left out."""
        one(store, batch("r", 0, blobs=[(b"a", b"1"), (b"b", b"2"), (b"a" * 64, b"")]))
        one(store, batch("r", 1, blobs=[(b"a", b"1"), (b"c", b"3")]))
        found = store.blobs("r", iter([b"a", b"b", b"c", b"d", b"a" * 64, b"a"]))
        assert found == {b"a": b"1", b"b": b"2", b"c": b"3", b"a" * 64: b""}
        assert store.blobs("r", []) == {}

    def test_digests_that_begin_alike_are_told_apart(self, store: Store) -> None:
        """Digests are opaque bytes of any length."""
        blobs = [(b"\0" * n, b"%d" % n) for n in range(1, 40)] + [
            (b"12345678" + bytes([n]), bytes([n])) for n in range(9)
        ]
        one(store, batch("r", 0, blobs=blobs))
        assert store.blobs("r", [digest for digest, _ in blobs] + [b"12345678", b"\0" * 40]) == dict(blobs)

    def test_blobs_belong_to_their_run(self, store: Store) -> None:
        """Another run's deletion does not take them, and another run does not see them."""
        store.commit([batch("a", 0, blobs=[(b"x", b"1")]), batch("b", 0, blobs=[(b"x", b"1"), (b"y", b"2")])])
        assert store.blobs("a", [b"x", b"y"]) == {b"x": b"1"}
        store.delete("a")
        assert store.blobs("a", [b"x"]) == {}
        assert store.blobs("b", [b"x", b"y"]) == {b"x": b"1", b"y": b"2"}

    def test_large_data_comes_back_exactly(self, store: Store, tmp_path: Path) -> None:
        """A large record and large blobs, also after reopening and deleting."""
        data = bytes(range(256)) * (self.large // 256)
        each = batch("r", 0, [data, b"", data[1:]], blobs=[(b"large", data), (b"small", b"s"), (b"more", data[::-1])])
        assert one(store, each) == 3
        again = self.reopen(store, tmp_path)
        try:
            assert [record for _, record in again.read("r")] == [data, b"", data[1:]]
            assert again.blobs("r", [b"large", b"small", b"more"]) == dict(each.blobs)
            again.delete("r")
            assert again.blobs("r", [b"large", b"small"]) == {}
            assert one(again, batch("r", 4, blobs=[(b"large", data)])) == 5
            assert again.blobs("r", [b"large", b"small"]) == {b"large": data}
        finally:
            again.close()
