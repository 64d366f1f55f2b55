"""Forks: importing tau changes nothing for a program that forks, and what a child inherits is never used in it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tau import forks
from tau.errors import StoreError
from tau.stores import open_store
from tau.stores.contract import Query
from tau.stores.sqlite.connections import Connections
from tau.testing.store_contract.batches import batch, one

FORKING = """
import os, sys, threading, time
import tau
from tau import open_store
stores = [open_store(url) for url in sys.argv[3:]]
for store in stores:
    store.runs()
end = time.monotonic() + float(sys.argv[2])
def work(number):
    for _ in range(int(sys.argv[1])):
        pid = os.fork()
        if pid == 0:
            for store in stores:
                store.runs()
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
        if time.monotonic() > end:
            break
    done.append(number)
done = []
threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join(max(1.0, end + 30 - time.monotonic()))
print(len(done), flush=True)
os._exit(0)
"""


@pytest.mark.parametrize("urls", [(), ("sqlite:///{}/a.db", "sqlite:///{}/b.db", "file:{}/runs", "memory:")])
@pytest.mark.parametrize(("times", "seconds"), [(15, 20.0), pytest.param(10**9, 20.0, marks=pytest.mark.deep)])
def test_eight_threads_can_fork_at_once(tmp_path: Path, urls: tuple[str, ...], times: int, seconds: float) -> None:
    """With nothing but the import of tau, and with stores in use."""
    command = [sys.executable, "-c", FORKING, str(times), str(seconds), *(url.format(tmp_path) for url in urls)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.strip() == "8", done.stderr


def result_of(child: Callable[[], str]) -> str:
    """What ``child`` returned in a child of fork, or the error that it raised there."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            said = child()
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        os.write(theirs, said.encode())
        os._exit(0)
    os.close(theirs)
    with os.fdopen(ours) as file:
        said = file.read()
    os.waitpid(pid, 0)
    return said


def test_a_fork_in_the_middle_of_a_commit_leaves_the_connection_to_the_parent(tmp_path: Path) -> None:
    """The child can neither use nor close it, nor open another to the same file, and its own end does not touch it."""
    store = open_store(f"sqlite:///{tmp_path}/runs.db")
    one(store, batch("r", 0))
    connections: Connections = store._connections  # type: ignore[attr-defined]
    said: list[str] = []

    def child() -> str:
        try:
            refused = one(store, batch("r", 1))
            assert isinstance(refused, StoreError)
            store.select(Query())
        except StoreError as error:
            return f"{refused} / {error}"
        return "not refused"

    def work(connection: object) -> None:
        connection.execute("update runs set graph = 'changed'")  # type: ignore[attr-defined]
        said.append(result_of(child))

    connections.write("change", work)
    assert "middle of a commit" in said[0]
    assert "spawn" in said[0]
    other = open_store(f"sqlite:///{tmp_path}/../{tmp_path.name}/runs.db")
    row = connections.read(lambda connection: connection.execute("select graph from runs").fetchall())
    assert row == [("changed",)]
    assert one(other, batch("r", 1)) == 2
    store.close()


RETURNING = """
import os, sys
from tau.errors import StoreError
from tau.stores import open_store
from tau.testing.store_contract.batches import batch, one
from tau.stores.sqlite.store import SQLiteStore
url = sys.argv[1]
store = open_store(url)
one(store, batch("r", 0))
real = SQLiteStore._append_next
children = []
def append_next(self, *args):
    found = real(self, *args)
    if not children:
        children.append(os.fork())  # and the child goes on with the commit
    return found
SQLiteStore._append_next = append_next
result = one(store, batch("r", 1))
if children == [0]:
    assert isinstance(result, StoreError) and "spawn" in str(result), result
    sys.exit(7)  # the interpreter ends as it does for every program
assert os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]) == 7
assert result == 2, result
assert one(store, batch("r", 2)) == 3
store.close()
assert len(open_store(url).read("r")) == 3
print("whole")
"""


def test_a_child_that_returns_into_the_commit_cannot_go_on_with_it(tmp_path: Path) -> None:
    command = [sys.executable, "-c", RETURNING, f"sqlite:///{tmp_path}/runs.db"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip() == "whole", done.stderr


def test_what_is_watched_is_not_kept_alive() -> None:
    before = len(forks._members)
    forks.watch(forks.Forked())
    assert len(forks._members) == before


def test_a_fork_of_another_thread_while_a_handler_forks_in_a_commit_hangs_neither(tmp_path: Path) -> None:
    """The one waits for the end of the commit, the other is in the middle of it and waits for nothing.

    In a process of its own, in which no other test has left a thread behind.
    """
    program = f"import {Path(__file__).stem} as tests; tests.fork_twice({str(tmp_path)!r})"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", program], env=environment, timeout=120, check=True)


def fork_twice(folder: str) -> None:
    store = open_store(f"sqlite:///{folder}/runs.db")
    one(store, batch("r", 0))
    connections: Connections = store._connections  # type: ignore[attr-defined]
    said: list[str] = []
    waits = threading.Event()

    def fork_elsewhere() -> None:
        waits.set()
        said.append(result_of(lambda: str(len(store.select(Query())))))

    other = threading.Thread(target=fork_elsewhere, daemon=True)

    def work(connection: object) -> None:
        other.start()
        assert waits.wait(20)
        said.append(result_of(lambda: "child"))

    connections.write("change", work)
    other.join(30)
    assert sorted(said) == ["1", "child"]
    store.close()
