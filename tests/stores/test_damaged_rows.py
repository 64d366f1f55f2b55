"""One damaged run does not take the others' listing down: it is shown as damaged."""

from __future__ import annotations

import gc
import os
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest
from filling import directory
from msgspec.structs import replace

from tau import State, StateGraph
from tau.cli.places import is_there
from tau.errors import CorruptCheckpointError, StoreUnavailableError, TauError
from tau.stores import names
from tau.stores.contract import PositionConflict, Query, Store
from tau.stores.file import FileStore
from tau.stores.memory import MemoryStore
from tau.stores.sqlite import SQLiteStore
from tau.stores.summaries import pack
from tau.stores.user_store import AdaptedStore, adapt
from tau.testing.store_contract.batches import batch, one

IMPOSSIBLE = [1e18, -1e18, float("inf"), float("nan")]


def three(store: Store, middle: str = "bad/\N{DEGREE SIGN}") -> list[str]:
    ids = ["good1", middle, "good2"]
    for run_id in ids:
        one(store, batch(run_id, 0, graph="g", status="finished"))
    return ids


def check_deletion(store: Store, ids: list[str]) -> None:
    """All of the damaged run is gone, its earlier writers are refused, and it can begin anew; the others stay."""
    with pytest.raises(CorruptCheckpointError):
        store.delete(ids[1], keep_summary=True)
    with pytest.raises(CorruptCheckpointError):
        store.delete_at(ids[1], 1)
    assert len(store.runs()) == 3
    for _ in range(2):
        store.delete(ids[1])
        summary = store.summary(ids[1])
        assert summary is not None
        assert summary.status == "deleted"
        assert store.read(ids[1]) == []
        assert {one.run_id for one in store.runs()} == {ids[0], ids[2]}
    for expected in range(summary.position):
        assert isinstance(one(store, batch(ids[1], expected)), PositionConflict)
    assert one(store, batch(ids[1], summary.position, base=summary.position + 1)) == summary.position + 1
    assert [position for position, _ in store.read(ids[1])] == [summary.position + 1]


def check(store: Store, ids: list[str]) -> None:
    with_damage = {summary.run_id: summary.status for summary in store.runs()}
    assert with_damage == {ids[0]: "finished", ids[1]: "damaged", ids[2]: "finished"}
    assert [summary.run_id for summary in store.select(Query(status="damaged"))] == [ids[1]]
    assert {summary.run_id for summary in store.select(Query(status="finished"))} == {ids[0], ids[2]}
    assert set(store.list()) == {ids[0], ids[2]}
    with pytest.raises(CorruptCheckpointError):
        store.summary(ids[1])


@pytest.mark.parametrize("data", [b"", b"\0", b"\0" * 40, *IMPOSSIBLE])
def test_a_damaged_row_of_a_database(tmp_path: Path, data: Any) -> None:
    store = SQLiteStore(tmp_path / "runs.db")
    ids = three(store)
    summary = store.summary(ids[1])
    assert summary is not None
    damaged = data if isinstance(data, bytes) else pack(replace(summary, updated=data))
    connection = apsw.Connection(store.path)
    connection.execute("update runs set summary = ? where run_id = ?", (damaged, ids[1]))
    connection.close()
    check(store, ids)
    check_deletion(store, ids)
    store.close()


@pytest.mark.parametrize("position", [7, "x", None])
def test_a_row_whose_position_is_damaged(tmp_path: Path, position: Any) -> None:
    store = SQLiteStore(tmp_path / "runs.db")
    ids = three(store)
    connection = apsw.Connection(store.path)
    if position is None:
        connection.execute("update runs set summary = x'', position = 'x' where run_id = ?", (ids[1],))
    else:
        connection.execute("update runs set position = ? where run_id = ?", (position, ids[1]))
    connection.close()
    with pytest.raises(CorruptCheckpointError):
        store.summary(ids[1])
    check_deletion(store, ids)
    store.close()


@pytest.mark.parametrize("what", ["cut off", "altered", "empty", "a file", "a copy"])
def test_a_damaged_directory_of_a_run(tmp_path: Path, what: str) -> None:
    store = FileStore(tmp_path)
    ids = three(store)
    where = directory(store, ids[1])
    path = where / names.slot(1)
    content = path.read_bytes()
    path.unlink()
    if what == "a file":
        where.rmdir()
        where.write_bytes(b"no directory")
        damaged = {summary.run_id: summary.status for summary in store.runs()}
        assert damaged == {ids[0]: "finished", ids[1]: "damaged", ids[2]: "finished"}
        return
    if what == "a copy":
        content = (directory(store, ids[0]) / names.slot(1)).read_bytes()
    altered = {"cut off": content[:-1], "altered": content[:20] + b"x" + content[21:], "empty": b""}
    path.write_bytes(altered.get(what, content))
    check(store, ids)
    check_deletion(store, ids)


@pytest.mark.parametrize("what", ["slot", "cover", "gap"])
def test_a_damaged_directory_of_many_commits(tmp_path: Path, what: str) -> None:
    store = FileStore(tmp_path)
    ids = three(store)
    for expected in range(1, 70):
        one(store, batch(ids[1], expected, graph="g"))
    where = directory(store, ids[1])
    packs = names.packs(os.listdir(where))
    cover = next(name for name in packs if len(name) == 34)
    if what == "slot":
        (where / packs[-1]).write_bytes(b"")
    else:
        for name in packs:
            if name > cover:
                (where / name).unlink()
        if what == "cover":
            (where / cover).write_bytes(b"damaged")
        else:
            (where / cover).rename(where / names.cover(3, int(cover[1:17])))
            (where / "p0000000000000001").unlink(missing_ok=True)
    with pytest.raises(CorruptCheckpointError):
        FileStore(tmp_path).summary(ids[1])
    check_deletion(FileStore(tmp_path), ids)


def test_what_is_no_run_is_no_row(tmp_path: Path) -> None:
    """Files and directories of others beside those of the runs."""
    store = FileStore(tmp_path)
    one(store, batch("r", 0))
    for name in ("plot.png", "r-plot.png", "r- copy", "h-1", "r-"):
        (tmp_path / "runs" / name).mkdir()
    assert [summary.run_id for summary in store.runs()] == ["r"]


@pytest.mark.parametrize("kind", ["sqlite", "file"])
def test_only_what_is_not_there_counts_as_absent(tmp_path: Path, kind: str) -> None:
    """A store behind a file, a loop of links or a name that is too long cannot be looked into: that is said."""
    make = SQLiteStore if kind == "sqlite" else FileStore
    assert is_there(make(tmp_path / "none" / "runs")) is False
    (tmp_path / "file").write_text("")
    os.symlink("loop", tmp_path / "loop")
    for place in ("file/runs", "loop/runs", "x" * 300):
        with pytest.raises(StoreUnavailableError, match="cannot look into"):
            is_there(make(tmp_path / place))


def test_a_database_that_is_not_a_regular_file_is_named_as_such(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (Path("/dev/null"), tmp_path / "pipe"):
        with pytest.raises(StoreUnavailableError, match="a device, a pipe or a socket; name another place") as refused:
            list(SQLiteStore(path).runs())
        assert not refused.value.transient


def in_time(work: Callable[[], object]) -> BaseException | None:
    """What was raised by work that must not hang."""
    raised: list[BaseException | None] = []

    def run() -> None:
        try:
            work()
            raised.append(None)
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(30.0)
    assert raised, "it hangs"
    return raised[0]


@pytest.mark.parametrize("suffix", ["-journal", "-wal", "-shm"])
def test_a_pipe_beside_a_database_is_named_and_holds_nobody_up(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "runs.db"
    with SQLiteStore(path) as store:
        store.commit([batch("r", 0)])
    for beside in tmp_path.glob("runs.db?*"):
        beside.unlink()
    os.mkfifo(f"{path}{suffix}")
    error = in_time(lambda: list(SQLiteStore(path).runs()))
    assert isinstance(error, StoreUnavailableError)
    assert f"runs.db{suffix} beside it is a device, a pipe or a socket; move that away" in str(error)


def test_a_pipe_in_the_place_of_a_file_of_a_file_store_holds_nobody_up(tmp_path: Path) -> None:
    """Opening one to read waits for somebody who writes."""
    with FileStore(tmp_path) as store:
        store.commit([batch("r", 0)])
        run = next((tmp_path / "runs").iterdir())
        files = [path for path in (tmp_path / "tau-store", *run.iterdir()) if path.is_file()]
        assert len(files) > 1
    for path in files:
        kept = path.read_bytes()
        path.unlink()
        os.mkfifo(path)
        for work in (
            lambda: list(FileStore(tmp_path).runs()),
            lambda: FileStore(tmp_path).read("r"),
            lambda: FileStore(tmp_path).lease("r"),
            lambda: FileStore(tmp_path).commit([batch("r", 1)]),
        ):
            error = in_time(work)
            assert error is None or isinstance(error, TauError), (path, error)
        path.unlink()
        path.write_bytes(kept)
    assert len(FileStore(tmp_path).read("r")) >= 1


class Verbs:
    def __init__(self) -> None:
        self.kept: dict[str, State] = {}

    def save(self, state: State) -> None:
        self.kept[state.run_id] = state

    def load(self, run_id: str) -> State:
        return self.kept[run_id]

    def delete(self, run_id: str) -> None:
        del self.kept[run_id]

    def list(self) -> list[str]:
        return list(self.kept)


def test_a_damaged_state_of_a_store_of_a_users_own(tmp_path: Path) -> None:
    class Bytes(Verbs):
        def save(self, state: State) -> None:
            (tmp_path / state.run_id).write_bytes(state.to_bytes())

        def load(self, run_id: str) -> State:
            if not (tmp_path / run_id).exists():
                raise KeyError(run_id)
            return State.from_bytes((tmp_path / run_id).read_bytes())

        def delete(self, run_id: str) -> None:
            (tmp_path / run_id).unlink()

    store = adapt(Bytes())
    store.save(State({"a": 1}, run_id="r"))
    data = (tmp_path / "r").read_bytes()
    (tmp_path / "r").write_bytes(data[:-1])
    with pytest.raises(CorruptCheckpointError):
        store.delete("r", expected=1)
    store.delete("r")
    assert store.summary("r") is None


def test_a_store_of_a_users_own_is_freed() -> None:
    """It is the same store for the same object as long as anybody holds it, and no longer."""
    verbs = Verbs()
    assert adapt(verbs) is adapt(verbs)
    graph = StateGraph("g", store=verbs)
    graph.add_node("a", lambda state: {"a": 1})
    graph.sequence("a")
    assert graph.execute({})["a"] == 1
    assert isinstance(graph.store, AdaptedStore)
    assert adapt(verbs) is graph.store
    gone = weakref.ref(verbs)
    del verbs, graph
    gc.collect()
    assert gone() is None


def test_a_store_that_was_written_before_deletions_had_a_position(tmp_path: Path) -> None:
    """A subclass whose delete takes a run and ``keep_summary`` deletes what a run with preserve=False leaves."""

    class Older(MemoryStore):
        def delete(self, run_id: str, keep_summary: bool = False) -> None:  # type: ignore[override]
            super().delete(run_id, keep_summary)

    store = Older()
    one(store, batch("r", 0))
    store.delete_at("r", 1, keep_summary=True)
    assert store.read("r") == []
    assert store.summary("r") is not None
