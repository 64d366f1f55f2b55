"""`tau.stats`: runs, checkpoints, bytes and resumes, counted from the logs."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from keeping import LONG, asking, pipeline
from redis import Redis

import tau
from tau import ExecutionError, RunInterruptedError, RunWaitingError, StateGraph, Stop
from tau.host import Host
from tau.log.append import Append
from tau.log.journal import Journal
from tau.log.records import Claimed
from tau.stores.contract import Store
from tau.stores.memory import MemoryStore
from tau.testing.store_wrappers import StoreWrapper


def numbers(store: Store, run_id: str) -> Any:
    (found,) = [one for one in tau.stats(store).runs if one.run_id == run_id]
    return found


def claim(store: Store, run_id: str) -> None:
    """What a process leaves that is killed as soon as it has the run."""
    journal = Journal(store, run_id, Host(), Host().owner(60.0), interval=1)
    found = journal.look(None)
    assert found is not None
    assert found.progress is not None
    found.progress.status = "running"
    batch = journal.prepare(Append((Claimed(),), found.progress, found.values, flush=True, expected=found.position))
    assert batch is not None
    journal.settle(batch, store.committer.commit(batch))


def test_runs_checkpoints_and_bytes(store: Store, tmp_path: Path) -> None:
    pipeline(store, tmp_path).execute({"start": 1958}, run_id="done")
    with pytest.raises(ExecutionError):
        pipeline(store, tmp_path, broken="analyze", name="other").execute({"start": 1}, run_id="failed")
    found = tau.stats(store)
    assert found.statuses == {"finished": 1, "failed": 1}
    assert (found.checkpoints, found.resumes, found.resume_success_rate) == (6, 0, None)
    assert found.interval_seconds is not None
    done = numbers(store, "done")
    assert (done.checkpoints, done.items, done.records) == (4, 5, len(store.read("done")))
    assert done.size_bytes > sum(len(data) for _, data in store.read("done"))
    assert len(LONG) < done.keys["raw"] < 2 * len(LONG)
    assert done.keys["lines"] > 2200
    assert done.keys["(items)"] > 3 * len(LONG)
    assert found.size_bytes == sum(one.size_bytes for one in found.runs)
    assert [one.run_id for one in tau.stats(store, graph="other").runs] == ["failed"]
    assert [one.run_id for one in tau.stats(store, limit=1).runs] == ["failed"]


def test_a_resume_succeeds_that_neither_fails_nor_is_killed(store: Store, tmp_path: Path) -> None:
    with pytest.raises(ExecutionError):
        pipeline(store, tmp_path, broken="analyze").execute({"start": 1}, run_id="r")
    with pytest.raises(ExecutionError):
        pipeline(store, tmp_path, broken="analyze").resume("r")
    assert (numbers(store, "r").resumes, numbers(store, "r").failed) == (1, 1)
    claim(store, "r")  # the second resume is killed, the third too, which the store shows as dead
    claim(store, "r")
    assert tau.stats(store).statuses == {"dead": 1}
    one = numbers(store, "r")
    assert (one.resumes, one.succeeded, one.failed) == (3, 0, 3)
    stop = Stop()
    stop.set("enough")
    with pytest.raises(RunInterruptedError):
        pipeline(store, tmp_path).resume("r", stop=stop)
    pipeline(store, tmp_path).resume("r")
    one = numbers(store, "r")
    assert (one.resumes, one.succeeded, one.failed) == (5, 2, 3)
    assert tau.stats(store).resume_success_rate == 0.4


def test_a_first_attempt_that_is_killed_is_not_a_resume(store: Store, tmp_path: Path) -> None:
    with pytest.raises(RunWaitingError):
        asking(store).execute({}, run_id="r")
    asking(store).resume("r", answers={"review": 1})
    one = numbers(store, "r")
    assert (one.resumes, one.succeeded, one.failed) == (1, 1, 0)


def test_a_run_at_work_counts_for_neither(store: Store) -> None:
    seen = []
    graph = StateGraph("g", store=store)

    def node(state: Any) -> None:
        if seen:
            seen.append(numbers(store, "r"))
        else:
            seen.append(None)
            raise ValueError("no")

    graph.add_node("only", node)
    graph.sequence("only")
    with pytest.raises(ExecutionError):
        graph.execute({}, run_id="r")
    graph.resume("r")
    assert (seen[1].status, seen[1].resumes, seen[1].succeeded, seen[1].failed) == ("running", 1, 0, 0)


def test_of_a_run_whose_checkpoints_are_gone_there_is_only_the_status(store: Store, tmp_path: Path) -> None:
    pipeline(store, tmp_path).execute({"start": 1}, run_id="r")
    store.delete("r", keep_summary=True)
    one = numbers(store, "r")
    assert (one.status, one.checkpoints, one.size_bytes) == ("finished", 0, 0)


class Altered(StoreWrapper):
    """Shows other records than the store holds, or none, at some positions of one run."""

    def __init__(self, store: Store, run_id: str) -> None:
        super().__init__(store)
        self.run_id = run_id
        self.records: dict[int, bytes | None] = {}

    def scan(self, run_id: str, after: int = 0) -> Any:
        for at, data in self.store.scan(run_id, after):
            shown = self.records.get(at, data) if run_id == self.run_id else data
            if shown is not None:
                yield at, shown


def test_a_run_whose_log_is_damaged_anywhere_is_told_and_counted_to_there(store: Store, tmp_path: Path) -> None:
    for run_id in ("bad", "good"):
        pipeline(store, tmp_path).execute({"start": 1}, run_id=run_id)
    whole = numbers(store, "good")
    assert tau.stats(store).damaged == ()
    altered, records = Altered(store, "bad"), list(store.read("bad"))
    for position, data in records:
        for wrong in (None, data[:-1] + bytes([data[-1] ^ 1])):
            altered.records = {position: wrong}
            found = tau.stats(altered)
            assert found.damaged == ("bad",)
            assert found.statuses == {"finished": 2}
            by_id = {one.run_id: one for one in found.runs}
            assert by_id["bad"].damage
            assert by_id["bad"].records == position - 1
            assert by_id["good"] == whole
    altered.records = {at: None for at, _ in records}
    assert tau.stats(altered).damaged == ("bad",)


def test_what_was_deleted_meanwhile_is_not_damaged(tmp_path: Path) -> None:
    class Deleting(StoreWrapper):
        def scan(self, run_id: str, after: int = 0) -> Any:
            self.store.delete(run_id)
            return self.store.scan(run_id, after)

    store = MemoryStore()
    pipeline(store, tmp_path).execute({"start": 1}, run_id="r")
    assert tau.stats(Deleting(store)).damaged == ()


def test_a_history_that_was_cut_is_not_damaged(tmp_path: Path) -> None:
    store = MemoryStore()
    graph = StateGraph("long", store=store)
    for number in range(40):
        graph.add_node(f"n{number}", lambda state: {"x": "y" * 20, "z": [state.get("z")]})
    graph.sequence(*(f"n{number}" for number in range(40)))
    graph.execute({}, run_id="r")
    assert tau.collect_runs(store, None, trim=True).trimmed == ("r",)
    found = tau.stats(store)
    assert found.damaged == ()
    assert 0 < found.checkpoints < 40


def spoil(store: Store, request: pytest.FixtureRequest) -> None:
    """Damage what the store holds of the run "bad", by another road than tau's."""
    kind = store.location.partition(":")[0]
    if isinstance(store, MemoryStore):
        store._runs["bad"].records[1] = b"spoilt"
    elif kind == "sqlite":
        with closing(sqlite3.connect(store.location.removeprefix("sqlite:///"))) as database, database:
            assert database.execute("update runs set summary = x'00' where run_id = 'bad'").rowcount == 1
    elif kind == "file":
        found = [path for path in Path(store.location.removeprefix("file://")).rglob("r-bad/*") if path.is_file()]
        assert [path.write_bytes(b"spoilt") for path in found]
    elif kind == "postgresql":
        with psycopg.connect(request.getfixturevalue("postgres_url")) as database:
            assert database.execute("update tau.runs set summary = '' where run_id = 'bad'").rowcount == 1
    elif kind == "s3":
        server, url = request.getfixturevalue("s3"), request.getfixturevalue("s3_url")
        found = [key for key in server.objects(url) if key.startswith("log/r-bad/")]
        assert [server.put(url, key, b"spoilt") for key in found]
    else:
        with Redis.from_url(request.getfixturevalue("redis_url")) as keys:
            keys.set("tau:run:bad", "of another type")


def test_of_damaged_runs_the_others_are_counted_in_every_store(
    store: Store, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    for run_id in ("bad", "good"):
        pipeline(store, tmp_path).execute({"start": 1}, run_id=run_id)
    whole = numbers(store, "good")
    spoil(store, request)
    found = tau.stats(store)
    assert found.damaged == ("bad",)
    assert {one.run_id: one for one in found.runs}["good"] == whole
    assert sum(found.statuses.values()) == 2
    assert [one.run_id for one in tau.verify(store).damage][:1] == ["bad"]
