"""Damaged runs at the head of a server's queue do not hide those behind them from workers."""

from __future__ import annotations

import psycopg
import pytest
from servers import Served, served

from tau.stores.contract import Query
from tau.testing.store_contract.batches import batch, one, owner

__all__ = ["served"]

GOOD = ["good0", "good1", "good2"]


def fill(served: Served, damaged: int) -> None:
    """So many damaged runs that were due before the good ones."""
    with served.make(served.url) as store:
        store.commit([batch(f"bad{n}", 0, status="admitted", not_before=1.0 + n % 7) for n in range(damaged)])
        store.commit([batch(name, 0, status="admitted", not_before=at) for at, name in enumerate(GOOD, 10)])
    if served.name == "postgres":
        with psycopg.connect(served.url) as database:
            database.execute("update tau.runs set summary = '' where run_id like 'bad%'")
        return
    with served.server.client() as keys:
        for n in range(damaged):
            key = f"tau:run:bad{n}"
            if n % 3 == 0:
                assert keys.delete(key) == 1
            elif n % 3 == 1:
                keys.hset(key, "summary", b"")
            else:
                keys.set(key, "of another type")


@pytest.mark.parametrize("damaged", [15, 16, 20, 100])
def test_damaged_runs_hide_none_of_those_that_are_due_after_them(served: Served, damaged: int) -> None:
    fill(served, damaged)
    with served.make(served.url) as store:
        for watched in (True, False):
            assert [row.run_id for row, _ in store.due("graph", 16, watched=watched)] == GOOD
            assert [row.run_id for row, _ in store.due("graph", 1, watched=watched)] == GOOD[:1]
            assert store.due("graph", 0, watched=watched) == []
        assert len(store.select(Query(status="damaged"))) == damaged
        assert len(store.runs()) == damaged + len(GOOD)
        assert len(store.select(Query(graph="graph", status="admitted"))) == len(GOOD)


def test_those_that_others_hold_hide_none_and_come_once(served: Served) -> None:
    with served.make(served.url) as store:
        for n in range(20):
            one(store, batch(f"dead{n}", 0, owner=owner(lease=0.0)))
            one(store, batch(f"held{n}", 0, owner=owner(lease=60.0)))
    fill(served, 20)
    with served.make(served.url) as store:
        dead = {f"dead{n}" for n in range(20)}
        found = [row.run_id for row, _ in store.due("graph", 100)]
        assert len(found) == 23
        assert set(found) == dead | set(GOOD)
        assert {row.run_id for row, _ in store.due("graph", 16)} <= dead
