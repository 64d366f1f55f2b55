"""The indexes of a SQLite store: listings and workers need them, commits of a run that goes on do not write them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from tau.stores.contract import Query
from tau.stores.sqlite import SQLiteStore
from tau.testing.store_contract.batches import batch, one, owner

INDEXES = ["runs_by_time", "runs_free", "runs_running"]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLiteStore]:
    with SQLiteStore(tmp_path / "runs.db") as made:
        yield made


def asked(store: SQLiteStore, statement: str) -> list[Any]:
    connection = apsw.Connection(store.path)
    try:
        return connection.execute(statement).fetchall()
    finally:
        connection.close()


def indexes(store: SQLiteStore) -> list[str]:
    found = asked(store, "select name from sqlite_schema where type = 'index' and name like 'runs_%' order by name")
    return [name for (name,) in found]


@pytest.mark.parametrize("seed", range(5))
def test_a_listing_is_in_the_order_of_the_summaries_although_the_index_is_behind(store: SQLiteStore, seed: int) -> None:
    chance, now, positions = random.Random(seed), 1000.0, dict.fromkeys(range(30), 0)
    for _ in range(300):
        number = chance.choice(list(positions))
        now += chance.choice([0.0, 0.001, 0.01, 0.04, 0.06])
        status = chance.choice(["running", "running", "running", "finished"])
        held = owner() if status == "running" else None
        each = batch(f"r{number}", positions[number], owner=held, status=status, updated=now)
        positions[number] += 1
        assert one(store, each) == positions[number]
    everything = store.select(Query())
    assert [row.updated for row in everything] == sorted((row.updated for row in everything), reverse=True)
    for limit in (1, 2, 5, 10, 29, 30, 31):
        assert [row.updated for row in store.select(Query(limit=limit))] == [row.updated for row in everything][:limit]
    running = [row.updated for row in everything if row.status == "running"]
    assert [row.updated for row in store.select(Query(limit=5, status="running"))] == running[:5]
    lag = asked(store, "select max(abs(updated)) from runs")[0][0]
    assert now - 0.06 <= lag <= now


def test_a_file_of_before_gets_them_with_its_first_commit_and_is_read_without(store: SQLiteStore) -> None:
    one(store, batch("r", 0, owner=owner(lease=0.0), not_before=1.0))
    assert indexes(store) == INDEXES
    store.close()
    for name in INDEXES:
        asked(store, f"drop index {name}")
    assert [row.run_id for row in store.runs(limit=5)] == ["r"]
    assert [row.run_id for row, _ in store.due("graph", 5)] == ["r"]
    assert indexes(store) == []
    one(store, batch("s", 0))
    assert indexes(store) == INDEXES


def test_what_an_older_version_leaves_in_the_columns_is_not_believed(store: SQLiteStore) -> None:
    """It puts the time of the commit, by another clock, where a worker looks first."""
    one(store, batch("stopped", 0, status="interrupted"))
    one(store, batch("admitted", 0, status="admitted", not_before=1.0))
    asked(store, "update runs set expires = 5.0")
    assert [row.run_id for row, _ in store.due("graph", 1)] == ["admitted"]


def test_a_commit_of_a_run_that_goes_on_writes_none_of_them(store: SQLiteStore) -> None:
    """The first of two has its row in each; the second one moves no entry."""
    one(store, batch("r", 0, owner=owner(), updated=1000.0))
    for position in range(1, 9):
        one(store, batch("r", position, owner=owner(), updated=1000.0 + position / 200))
    assert asked(store, "select updated from runs") == [(1000.0,)]
    one(store, batch("r", 9, owner=owner(), updated=1000.06))
    assert asked(store, "select updated from runs") == [(1000.06,)]
    summary = store.summary("r")
    assert summary is not None
    assert summary.updated == 1000.06


def test_a_listing_is_two_questions_whatever_is_running(store: SQLiteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.commit([batch(f"r{number}", 0, owner=owner(f"n{number}")) for number in range(100)])
    calls: list[object] = []
    read = store._connections.read
    monkeypatch.setattr(store._connections, "read", lambda work: (calls.append(work), read(work))[1])
    assert [row.status for row in store.runs(limit=50)] == ["running"] * 50
    assert len(calls) == 2
