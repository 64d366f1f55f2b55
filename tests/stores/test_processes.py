"""Stores shared by processes: races, forks, limits of the operating system."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from forked import in_child

from tau.stores import open_store
from tau.stores.contract import PositionConflict, Store
from tau.stores.file import FileStore
from tau.stores.memory import MemoryStore
from tau.stores.sqlite import SQLiteStore
from tau.testing.store_contract.batches import batch, one

URLS = ["sqlite:///{}/runs.db", "file://{}/runs"]


def run_racers(url: str, count: int, rounds: int) -> list[list[int]]:
    """What each of that many processes won."""
    command = [sys.executable, str(Path(__file__).with_name("racing.py")), url, str(rounds)]
    racers = [
        subprocess.Popen([*command, f"p{number}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for number in range(count)
    ]
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.close()
        racer.stdin = None
    outputs = [racer.communicate()[0] for racer in racers]
    assert [racer.returncode for racer in racers] == [0] * count
    return [[int(line) for line in output.split()] for output in outputs]


@pytest.mark.parametrize("url", [*URLS, "postgres", "redis", "s3"])
@pytest.mark.parametrize(("count", "rounds"), [(4, 40), pytest.param(32, 100, marks=pytest.mark.deep)])
def test_of_many_processes_at_one_position_one_wins(
    request: pytest.FixtureRequest, tmp_path: Path, url: str, count: int, rounds: int
) -> None:
    """Round after round, from the creation of the store on; what the log holds is what the winners wrote."""
    url = url.format(tmp_path) if url in URLS else request.getfixturevalue(f"{url}_url")
    won = run_racers(url, count, rounds)
    assert sorted(position for positions in won for position in positions) == list(range(rounds))
    winners = {position: f"p{number}" for number, positions in enumerate(won) for position in positions}
    store = open_store(url)
    assert store.read("r") == [(n + 1, f"{winners[n]} {n}".encode()) for n in range(rounds)]
    store.close()


@pytest.mark.parametrize("make", [SQLiteStore, FileStore])
def test_parent_and_child_both_go_on_after_a_fork(tmp_path: Path, make: Callable[[Path], Store]) -> None:
    """With the store open before; nothing that either of them was promised is lost when the other one closes it."""
    store = make(tmp_path / "store")
    assert one(store, batch("r", 0)) == 1
    ready, go_on = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            assert one(store, batch("r", 1)) == 2
            os.write(ready[1], b"x")
            os.read(go_on[0], 1)  # the parent closes the store and opens it again now
            assert one(store, batch("r", 3)) == 4
            assert len(store.read("r")) == 4
            status = 0
        finally:
            os._exit(status)
    os.read(ready[0], 1)
    assert len(store.read("r")) == 2
    store.close()
    assert one(store, batch("r", 2)) == 3
    os.write(go_on[1], b"x")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert isinstance(one(store, batch("r", 3)), PositionConflict)
    assert one(store, batch("r", 4)) == 5
    assert len(store.read("r")) == 5
    store.close()
    for descriptor in (*ready, *go_on):
        os.close(descriptor)


def test_a_fork_while_another_thread_commits_breaks_nothing(tmp_path: Path) -> None:
    """The child finds no lock held by a thread that it does not have."""
    import threading

    store = SQLiteStore(tmp_path / "a.db")
    memory = MemoryStore()
    stop = threading.Event()
    count = [0]

    def work() -> None:
        while not stop.is_set():
            assert one(store, batch("r", count[0])) == count[0] + 1
            one(memory, batch("m", count[0]))
            count[0] += 1

    thread = threading.Thread(target=work)
    thread.start()

    def child() -> None:
        assert one(store, batch("child", 0)) == 1 or isinstance(one(store, batch("child", 0)), PositionConflict)
        memory.summary("m")
        assert isinstance(store.read("r"), list)

    for _ in range(10):
        in_child(child)
    stop.set()
    thread.join()
    assert len(store.read("r")) == count[0]
    assert len(store.read("child")) == 1
    store.close()


def test_a_child_of_fork_has_its_own_copy_of_a_memory_store() -> None:
    store = MemoryStore()
    one(store, batch("r", 0))

    def child() -> None:
        assert one(store, batch("r", 1)) == 2

    in_child(child)
    assert len(store.read("r")) == 1


LIMITED = """
import resource, sys
from tau.stores import open_store
from tau.testing.store_contract.batches import batch, one
store = open_store(sys.argv[1])
assert one(store, batch("r", 0)) == 1
{limit}
refused = [one(store, batch("r", 1, blobs=[(b"x", bytes(10_000_000))])), {more}]
{lift}
print(*[type(each).__name__ for each in refused])
print(str(refused[0]))
assert len(store.read("r")) == 1
assert one(store, batch("r", 1)) == 2
assert len(store.read("r")) == 2
store.close()
again = open_store(sys.argv[1])
assert len(again.read("r")) == 2
"""


def limited(url: str, limit: str, lift: str = "", more: str = "") -> list[str]:
    program = LIMITED.format(limit=limit, lift=lift, more=more)
    done = subprocess.run([sys.executable, "-c", program, url], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("url", URLS)
def test_a_file_that_may_not_grow_is_a_full_store(tmp_path: Path, url: str) -> None:
    """The run stays as it was, and goes on when there is room again."""
    kinds, message = limited(
        url.format(tmp_path),
        "hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, hard))",
        "resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))",
    )
    assert kinds == "StoreFullError"
    assert str(tmp_path) in message
    assert "limit" in message
    assert not list(tmp_path.rglob("+*"))


@pytest.mark.parametrize("url", URLS)
def test_too_many_open_files_is_unavailable(tmp_path: Path, url: str) -> None:
    """The remedy is named, and everything works again once files are closed."""
    kinds, message = limited(
        url.format(tmp_path),
        "store.close()\n"
        "hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))",
        "resource.setrlimit(resource.RLIMIT_NOFILE, (1000, hard))",
    )
    assert kinds == "StoreUnavailableError"
    assert str(tmp_path) in message
