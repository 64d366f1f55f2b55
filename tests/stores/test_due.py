"""Which runs may be taken, where another version of tau, damage or a plain store of somebody's own is in the play."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest
from msgspec.structs import replace

from tau.stores.contract import Store, Summary
from tau.stores.due import found_by_status
from tau.stores.file import FileStore
from tau.stores.file.index import SETTLED, Index
from tau.stores.memory import MemoryStore
from tau.stores.sqlite import SQLiteStore
from tau.stores.summaries import pack, unpack
from tau.testing.store_contract.batches import batch, one, owner, summary


class OlderSummary(msgspec.Struct, frozen=True, kw_only=True):
    """As versions of before there were workers know it."""

    run_id: str
    graph: str
    status: str
    position: int
    base: int
    node: str | None = None
    iterations: int = 0
    tags: tuple[str, ...] = ()
    owner: Any = None
    created: float = 0.0
    updated: float = 0.0
    pauses: int = 0
    deadline: float | None = None


def names(store: Store, **options: Any) -> list[str]:
    return [row.run_id for row, _ in store.due("graph", 9, **options)]


def test_a_summary_that_an_older_version_wrote_is_read_and_the_other_way_round() -> None:
    new = summary("r", 3, status="admitted", not_before=5.0)
    older = msgspec.msgpack.decode(pack(new)[4:], type=OlderSummary)
    assert (older.run_id, older.status, older.position, older.base) == ("r", "admitted", 3, 1)
    lost = msgspec.msgpack.decode(msgspec.msgpack.encode(older), type=Summary)
    assert lost == replace(new, not_before=None)


@pytest.mark.parametrize("status", ["running", "interrupted", "waiting", "failed"])
def test_of_the_runs_of_an_older_version_those_that_died_are_found(status: str) -> None:
    """Of one that is interrupted it is not known why."""
    store = MemoryStore()
    one(store, batch("r", 0, status=status, owner=owner(lease=0.0) if status == "running" else None))
    assert names(store) == (["r"] if status == "running" else [])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e300])
def test_an_impossible_time_is_damage(value: float) -> None:
    store = summary("r", 1, status="admitted", not_before=value)
    with pytest.raises(Exception, match="impossible time"):
        unpack(pack(store), "here")


def test_a_damaged_run_is_left_out_and_the_others_are_found(tmp_path: Path) -> None:
    with SQLiteStore(tmp_path / "runs.db") as store:
        store.commit([batch(f"r{n}", 0, owner=owner(lease=0.0), not_before=float(n)) for n in range(4)])
        connection = apsw.Connection(store.path)
        connection.execute("update runs set summary = x'00' where run_id = 'r1'")
        connection.execute("update runs set expires = 'soon' where run_id = 'r2'")
        connection.close()
        assert names(store) == ["r0", "r3"]
        assert [row.run_id for row, _ in found_by_status(store, "graph", 9, watched=True)] == ["r0", "r3"]


def test_the_built_in_stores_find_what_select_and_leases_find(tmp_path: Path) -> None:
    stores: list[Store] = [MemoryStore(), SQLiteStore(tmp_path / "runs.db"), FileStore(tmp_path / "runs")]
    for store in stores:
        for n, status in enumerate(["admitted", "interrupted", "waiting", "running", "finished"] * 2):
            held = owner(lease=60.0 * (n > 5)) if status == "running" else None
            at = None if n % 4 == 3 else time.time() + (n - 6) * 1000
            one(store, batch(f"r{n}", 0, status=status, owner=held, not_before=at))
        for watched in (True, False):
            for limit in (0, 1, 9):
                found = [(row.run_id, lease is None) for row, lease in store.due("graph", limit, watched=watched)]
                by_status = found_by_status(store, "graph", limit, watched=watched)
                assert found == [(row.run_id, lease is None) for row, lease in by_status]
        store.close()


def test_an_index_that_an_older_version_wrote_is_not_believed(tmp_path: Path) -> None:
    """It knows no ``not_before``, and would have dropped it."""
    store = FileStore(tmp_path)
    store.commit([batch(f"r{n}", 0, status="admitted", not_before=1.0) for n in range(20)])
    index = Index(str(tmp_path), str(tmp_path / "runs"))
    newest = max((tmp_path / "runs" / f"r-r{n}").stat().st_ctime_ns for n in range(20))
    while (now := index._now()) is not None and now <= newest + SETTLED:
        time.sleep(0.05)
    assert len(names(store)) == 9
    entries = [replace(one, summary=replace(one.summary, not_before=None)) for one in index._read().values()]
    assert len(entries) == 20
    index._write(entries)
    assert names(store) == []  # so it would be
    path = tmp_path / "index"
    path.write_bytes(b"tauindx1" + path.read_bytes()[8:])
    assert len(names(store)) == 9
