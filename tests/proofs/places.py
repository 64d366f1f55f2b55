"""The stores of the proofs. A new one enters by a line in `STORES`, and where it has a server by one in `SERVERS`."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

STORES: dict[str, Callable[[pytest.FixtureRequest, Path], str]] = {
    "sqlite": lambda request, place: f"sqlite:///{place}/runs.db",
    "file": lambda request, place: f"file://{place}/runs",
    "postgres": lambda request, place: str(request.getfixturevalue("postgres_url")),
    "redis": lambda request, place: str(request.getfixturevalue("redis_url")),
    "s3": lambda request, place: str(request.getfixturevalue("s3_url")),
}
"""From a name to the URL of a store without runs, which any process may open."""


class Server(NamedTuple):
    """A server that may be restarted: the URL of a store without runs there, and what restarts it while a block runs,
    so many seconds after each start."""

    url: str
    restarting: Callable[[float], AbstractContextManager[None]]
    starts: Callable[[], int]


def _server(fixture: str, how: int) -> Callable[[pytest.FixtureRequest], Server]:
    def server(request: pytest.FixtureRequest) -> Server:
        found: Any = request.getfixturevalue(fixture)
        return Server(found.empty(), lambda pause: found.process.restarting(pause, how), lambda: found.process.starts)

    return server


SERVERS = {"postgres": _server("own_postgres", signal.SIGQUIT), "redis": _server("own_redis", signal.SIGKILL)}


@pytest.fixture
def ground() -> Iterator[Path]:
    """A directory in memory where there is one: a killed process does not show what a disk would lose."""
    memory = Path("/dev/shm")
    place = Path(tempfile.mkdtemp(prefix="tau-proofs-", dir=memory if os.access(memory, os.W_OK) else None))
    yield place
    shutil.rmtree(place)


@pytest.fixture(params=STORES)
def url(request: pytest.FixtureRequest, ground: Path) -> str:
    return STORES[request.param](request, ground)


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> Server:
    return SERVERS[request.param](request)
