"""A process that drops what lies before a manifest is killed at any of its requests: the run is whole, and goes on."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from s3_proxy import Request, S3Proxy
from servers import KINDS

from s3_server import through
from tau import open_store
from tau.stores.contract import Store
from tau.testing.store_contract.batches import batch, one

DEEP = pytest.mark.deep
COUNT = 72  # commits, of which an S3 store has merged 64
FIRST = 69
DROPPED = [b"n%d" % number for number in range(0, FIRST - 1, 2)]
KEPT = [b"n%d" % number for number in range(COUNT) if number % 2 or number >= FIRST]
TRIMS = f"""
import sys
from tau import open_store
with open_store(sys.argv[1]) as store:
    store.trim(sys.argv[2], {FIRST}, {DROPPED!r}, expected={COUNT})
"""


class Killer:
    """Ends a process at one of its requests, from 0 on, before the server has it or after it was carried out."""

    def __init__(self, at: int, how: str) -> None:
        self.at, self.how, self.seen = at, how, 0
        self._process: subprocess.Popen[str] | None = None
        self._begun = threading.Event()

    def run(self, url: str, run_id: str) -> int:
        """The exit code of one that trims that run."""
        command = [sys.executable, "-c", TRIMS, url, run_id]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as self._process:
            self._begun.set()
            told = self._process.communicate()[1]
        assert self._process.returncode in (0, -9), told
        return self._process.returncode

    def asked(self, carry_out: Callable[[], object]) -> str:
        """What becomes of a request."""
        self.seen += 1
        if self.seen - 1 != self.at:
            return ""
        self._begun.wait()
        assert self._process is not None
        if self.how == "after":
            carry_out()
        self._process.kill()
        return "" if self.how == "after" else "before"


@contextmanager
def before(name: str, request: pytest.FixtureRequest, url: str, killer: Killer) -> Iterator[str]:
    """The URL of the store behind a proxy in which the killer waits."""
    server = request.getfixturevalue(name)
    if name != "s3":
        strike: Callable[[int], str | float] = lambda number: killer.asked(lambda: None)  # noqa: E731
        with KINDS[name][1](("127.0.0.1", server.port), strike, is_commit=lambda data: True) as proxy:
            yield server.tcp(port=proxy.port)
        return

    def choose(number: int, asked: Request) -> str | bytes:
        answer: list[Any] = []
        return killer.asked(lambda: answer.append(s3_proxy._asked(asked))) or (answer[0] if answer else "")

    with S3Proxy(server.port, choose) as s3_proxy:
        yield through(url, s3_proxy.port)


def fill(store: Store, run_id: str) -> list[tuple[int, bytes]]:
    for number in range(COUNT):
        blobs = [(b"n%d" % number, b"data %d" % number)]
        assert one(store, batch(run_id, number, blobs=blobs, status="interrupted", base=FIRST)) == number + 1
    return list(store.read(run_id))


def check(url: str, run_id: str, written: list[tuple[int, bytes]]) -> None:
    """What is needed is there, trimming again drops the rest, and the run goes on."""
    with open_store(url) as store:
        for _ in range(2):
            rows = list(store.read(run_id))
            assert rows == written[-len(rows) :]
            assert rows[0][0] <= FIRST
            assert len(store.blobs(run_id, KEPT)) == len(KEPT)
            store.trim(run_id, FIRST, DROPPED, expected=COUNT)
        assert store.read(run_id)[0][0] == FIRST
        assert store.blobs(run_id, DROPPED) == {}
        assert one(store, batch(run_id, COUNT)) == COUNT + 1
        assert [at for at, _ in store.read(run_id)] == [*range(FIRST, COUNT + 2)]


@pytest.mark.parametrize("how", ["before", "after"])
@pytest.mark.parametrize("points", [1, pytest.param(1000, marks=DEEP)])
@pytest.mark.parametrize("name", ["postgres", "redis", "s3"])
def test_a_run_is_whole_wherever_who_trims_it_is_killed(
    request: pytest.FixtureRequest, name: str, points: int, how: str
) -> None:
    url = request.getfixturevalue(f"{name}_url")
    for number in range(2):  # a server may have to be told its scripts first
        run_id, counter = f"counted {number}", Killer(-1, how)
        with open_store(url) as store:
            written = fill(store, run_id)
        with before(name, request, url, counter) as behind:
            assert counter.run(behind, run_id) == 0
        check(url, run_id, written)
    total = counter.seen
    assert total >= 3
    for at in sorted({(2 * number + 1) * total // (2 * points) for number in range(points)}):
        run_id = f"killed at {at}"
        with open_store(url) as store:
            written = fill(store, run_id)
        killer = Killer(at, how)
        with before(name, request, url, killer) as behind:
            assert killer.run(behind, run_id) == -9
        check(url, run_id, written)
