"""The first version of tau deletes runs without taking a position: an owner at work finds out all the same."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest
from filling import directory
from msgspec.structs import replace

from tau.stores import names
from tau.stores.contract import PositionConflict, Store, Summary
from tau.stores.file import FileStore
from tau.stores.file.run_directory import RunDirectory
from tau.stores.packs import build
from tau.stores.sqlite import SQLiteStore
from tau.stores.summaries import pack
from tau.testing.store_contract.batches import batch, one
from tau.testing.store_contract.verb_clauses import life


def emptied_at(summary: Summary, keep: bool) -> Summary:
    """What that version leaves."""
    if keep:
        return replace(summary, base=0, owner=None)
    return replace(summary, base=0, owner=None, status="deleted", graph="", node=None, tags=(), iterations=0)


def delete_in_database(store: SQLiteStore, summary: Summary) -> None:
    connection = apsw.Connection(store.path)
    connection.execute("delete from log")
    connection.execute("delete from blobs")
    change = "update runs set last = null, nonce = null, summary = ?, status = ?"
    connection.execute(change, (pack(summary), summary.status))
    connection.close()


def delete_in_directory(store: FileStore, summary: Summary) -> None:
    with RunDirectory(str(directory(store)), "r") as run:
        token = run.seen().token
        name = names.tombstone(summary.position)
        run.publish(name, build("r", summary.position + 1, token, summary, records=()), replace=True)
        for found in sorted(path.name for path in directory(store).iterdir()):
            if found[0] == "p" and found < name:
                run.remove(found)


@pytest.mark.parametrize("kind", ["sqlite", "file"])
@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("done", range(1, 6))
@pytest.mark.parametrize("reopened", [False, True])
def test_its_deletion_is_noticed_by_the_owner(tmp_path: Path, kind: str, keep: bool, done: int, reopened: bool) -> None:
    store: Store = SQLiteStore(tmp_path / "runs.db") if kind == "sqlite" else FileStore(tmp_path)
    commits = life()
    for each in commits[:done]:
        one(store, each)
    left = emptied_at(commits[done - 1].summary, keep)
    if isinstance(store, SQLiteStore):
        delete_in_database(store, left)
    else:
        assert isinstance(store, FileStore)
        delete_in_directory(store, left)
    if reopened:
        store.close()
    assert isinstance(one(store, commits[done]), PositionConflict)
    assert store.summary("r") == left
    assert list(store.read("r")) == []
    store.delete("r", keep, expected=left.position)  # it is done: nothing happens
    assert store.summary("r") == left
    assert store.renew("r", "a", 60.0) is False
    anew = life(left.position, nonce="b", name=b"y")
    for each in anew:
        assert one(store, each) == each.summary.position
    assert len(store.read("r")) == sum(len(each.records) for each in anew)
    assert isinstance(one(store, batch("r", left.position)), PositionConflict)
    store.close()
