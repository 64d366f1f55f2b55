"""Whoever looks at a SQLite database, in whatever way and from the same process, costs nothing that was committed."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from looking import WAYS, by_sqlite

from tau import StateGraph
from tau.errors import StoreUnavailableError
from tau.stores.contract import Query
from tau.stores.sqlite import SQLiteStore
from tau.stores.sqlite.connection import patience
from tau.stores.sqlite.kept_locks import KeptLocks
from tau.testing.store_contract.batches import batch, one

LAST_ONE = (
    "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('select * from runs').fetchall(); c.close()"
)


def looking(path: Path, name: str, rounds: int, way: str, when: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(Path(__file__).with_name("looking.py")), str(path), name, str(rounds), way, when]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def stored(path: Path) -> set[str]:
    """What another process finds."""
    code = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]);"
        "print(c.execute('pragma integrity_check').fetchone()[0]);"
        "[print(row[0]) for row in c.execute('select run_id from runs')]; c.close()"
    )
    said = subprocess.run([sys.executable, "-c", code, str(path)], check=True, capture_output=True, text=True).stdout
    sound, *found = said.splitlines()
    assert sound == "ok"
    return set(found)


def look_from_elsewhere(path: Path) -> None:
    subprocess.run([sys.executable, "-c", LAST_ONE, str(path)], check=True)


@pytest.mark.needs("linux")
@pytest.mark.parametrize("when", ["between", "meanwhile"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("writers", "rounds"), [(3, 15), pytest.param(4, 300, marks=pytest.mark.deep)])
def test_what_writers_that_look_were_promised_survives_their_kill(
    tmp_path: Path, way: str, when: str, writers: int, rounds: int
) -> None:
    path = tmp_path / "a.db"
    running = [looking(path, f"w{number}", rounds, way, when) for number in range(writers)]
    told = [each.communicate()[0].split() for each in running]
    assert [each.returncode for each in running] == [-signal.SIGKILL] * writers
    promised = {run_id for lines in told for run_id in lines}
    assert len(promised) == writers * rounds
    assert stored(path) == promised
    store = SQLiteStore(path)
    assert all(len(store.read(run_id)) == 1 for run_id in promised)
    store.close()


@pytest.mark.needs("linux")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("reads", [False, True])
def test_after_a_look_no_other_process_takes_itself_for_the_last_one(tmp_path: Path, way: str, reads: bool) -> None:
    path = tmp_path / "a.db"
    store = SQLiteStore(path)
    one(store, batch("r0", 0))
    assert not reads or store.summary("r0") is not None
    for number in range(1, 4):
        WAYS[way](str(path))
        look_from_elsewhere(path)
        assert one(store, batch(f"r{number}", 0)) == 1
        assert stored(path) == {f"r{each}" for each in range(number + 1)}
    store.close()
    assert not Path(f"{path}-wal").exists() or os.path.getsize(f"{path}-wal") == 0
    assert len(stored(path)) == 4


PIPELINE = """
import os, sqlite3, signal, sys
from tau import StateGraph

graph = StateGraph("t", store="sqlite:///a.db")
note = lambda name: open("log", "a").write(name)

@graph.node
def a(state):
    note("a")
    return {"x": 1}

@graph.node
def b(state):
    note("b")
    database = sqlite3.connect("a.db")
    database.execute("select count(*) from runs").fetchall()
    database.close()
    return {"y": 1}

@graph.node
def c(state):
    note("c")
    return {"z": 1}

@graph.node
def d(state):
    note("d")
    if sys.argv[1] == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    return {"w": 1}

graph.sequence(a, b, c, d)
graph.execute({}, run_id="r", if_exists="resume")
"""


def test_a_node_that_looks_costs_no_finished_node(tmp_path: Path) -> None:
    (tmp_path / "pipeline.py").write_text(PIPELINE)
    run = [sys.executable, "pipeline.py"]
    assert subprocess.run([*run, "die"], cwd=tmp_path, check=False).returncode == -signal.SIGKILL
    subprocess.run([*run, "live"], cwd=tmp_path, check=True)
    assert (tmp_path / "log").read_text() == "abcdd"


@pytest.mark.parametrize("reads", [False, True])
def test_a_log_that_a_look_deleted_is_noticed_before_the_commit_is_told(tmp_path: Path, reads: bool) -> None:
    """Where the system has no locks that last."""
    path = tmp_path / "a.db"
    store = SQLiteStore(path)
    store._connections._locks.hold = False
    one(store, batch("r0", 0))
    for number in range(1, 4):
        by_sqlite(str(path))
        assert not reads or store.summary("r0") is not None
        assert one(store, batch(f"r{number}", 0)) == 1
        assert stored(path) == {f"r{each}" for each in range(number + 1)}
    store.close()


@pytest.mark.needs("linux")
@pytest.mark.parametrize("ends", [("-wal", "-shm"), ("-wal",), ("-shm",)])
@pytest.mark.parametrize("first", ["commit", "read"])
def test_a_log_that_was_removed_by_hand_costs_nothing(tmp_path: Path, ends: tuple[str, ...], first: str) -> None:
    path = tmp_path / "a.db"
    store = SQLiteStore(path)
    for number in range(5):
        one(store, batch(f"r{number}", 0))
    for end in ends:
        os.unlink(f"{path}{end}")
    if first == "read":
        assert len(store.select(Query())) == 5
        assert len(stored(path)) == 5
    assert one(store, batch("r5", 0)) == 1
    assert len(stored(path)) == 6
    store.close()
    assert len(stored(path)) == 6


def test_who_closes_or_forgets_a_store_clears_up(tmp_path: Path) -> None:
    """The database alone is whole then, and may be copied."""
    path = tmp_path / "a.db"
    for number, way in enumerate(("close", "forget", "look")):
        store = SQLiteStore(path)
        one(store, batch(way, 0))
        one(store, batch(way, 1))
        if way == "look":
            by_sqlite(str(path))
        if way != "forget":
            store.close()
        del store
        copy = tmp_path / f"copy{number}.db"
        copy.write_bytes(path.read_bytes())
        assert way in stored(copy)
    subprocess.run([sys.executable, "-c", EXITS, str(path)], check=True)
    assert os.path.getsize(path) > 0
    assert not Path(f"{path}-wal").exists()


EXITS = """
import sys
from tau import StateGraph

graph = StateGraph("t", store=f"sqlite:///{sys.argv[1]}")
graph.add_node("n", lambda state: {"a": 1})
graph.sequence("n")
graph.execute({}, run_id="exits")
"""


@pytest.mark.needs("linux")
def test_two_taus_never_write_at_once_even_without_the_locks_of_sqlite(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "a.db", busy_timeout=0.05)
    one(store, batch("r", 0))
    other = KeptLocks(store.path)
    assert other.take(patience(0.0))
    other.write(patience(0.0))
    refused = one(store, batch("r", 1))
    assert isinstance(refused, StoreUnavailableError)
    assert "locked" in str(refused)
    assert len(store.read("r")) == 1
    other.written()
    assert one(store, batch("r", 1)) == 2
    other.close()
    store.close()


def test_another_store_in_the_process_keeps_its_locks_when_one_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    one_store, other = SQLiteStore(path), SQLiteStore(path)
    assert one(one_store, batch("r", 0)) == 1
    assert one(other, batch("s", 0)) == 1
    one_store.close()
    look_from_elsewhere(path)
    assert Path(f"{path}-wal").exists()
    assert one(other, batch("s", 1)) == 2
    other.close()
    assert not Path(f"{path}-wal").exists()


def test_a_store_that_a_program_looks_at_all_the_time_still_ends_its_runs(tmp_path: Path) -> None:
    """A connection of Python's sqlite3 that stays open, in the middle of a read."""
    graph = StateGraph("t", store=f"sqlite:///{tmp_path}/a.db")
    graph.add_node("n", lambda state: {"a": 1})
    graph.sequence("n")
    graph.execute({}, run_id="r0")
    with closing(sqlite3.connect(tmp_path / "a.db")) as database:
        cursor = database.execute("select run_id from runs")
        for number in range(1, 5):
            graph.execute({}, run_id=f"r{number}")
        assert len(cursor.fetchall()) >= 1
    assert stored(tmp_path / "a.db") == {f"r{number}" for number in range(5)}
    graph.store.close()
