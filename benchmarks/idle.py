"""What a worker without work costs: its CPU, and how often it asks the store."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from measure import HERE, Figure
from workers import graph_of

import tau
from tau import open_store
from tau.stores.postgres import PostgresStore

sys.path.insert(0, str(HERE.parent / "tests"))
from postgres_server import Server
from redis_server import Server as RedisServer

SECONDS = float(os.environ.get("IDLE", "60"))
WARM = 7.0  # by then it has looked for the dead once, too
ASKS = ("due", "select", "leases", "lease", "summary", "read", "logs")


class Polled(PostgresStore):
    """As behind a pooler: nothing tells of runs."""

    def listen(self, graph: str) -> None:
        return None


def worker(kind: str, url: str) -> None:
    """Idle for a while, then for as long as is measured; prints the CPU seconds and the questions of that."""
    with Polled(url) if kind == "polled" else open_store(url) as store:
        asked = [0]
        for name in ASKS:
            setattr(store, name, counted(getattr(store, name), asked))
        graph = graph_of(store, os.devnull)
        tau.worker(graph, max_runtime=WARM)
        asked[0], began = 0, time.process_time()
        tau.worker(graph, max_runtime=SECONDS)
        print(time.process_time() - began, asked[0])


def counted(ask: Any, asked: list[int]) -> Any:
    """``ask``, of which the calls are counted."""

    def wrapped(*arguments: Any, **options: Any) -> Any:
        asked[0] += 1
        return ask(*arguments, **options)

    return wrapped


def idle(root: Path) -> Iterator[Figure]:
    """A worker without work on four stores, at the same time."""
    with ExitStack() as servers:
        postgres = Server(Path(tempfile.mkdtemp(prefix="tau-pg-", dir=root.parent)))
        servers.callback(postgres.close)
        with PostgresStore(postgres.url()) as store:
            store.identity()  # a store in which there was something: that makes the tables
        redis = RedisServer(Path(tempfile.mkdtemp(prefix="tau-valkey-", dir=root.parent)))
        servers.callback(redis.close)
        cases = {
            "PostgreSQL, told": ("told", postgres.url()),
            "PostgreSQL, not told": ("polled", postgres.url()),
            "Redis": ("", redis.url()),
            "SQLite": ("", f"sqlite:///{root / 'idle.db'}"),
        }
        processes = {
            name: subprocess.Popen([sys.executable, __file__, *case], stdout=subprocess.PIPE, text=True)
            for name, case in cases.items()
        }
        for name, process in processes.items():
            cpu, asked = map(float, process.communicate()[0].split())
            what = f"an idle worker on {name}, CPU of one processor"
            note = f"{asked / SECONDS:.2f} questions a second (at most 1)"
            assert asked <= SECONDS + 3, note
            yield Figure(what, cpu / SECONDS * 100, 1.0, "%", note)


if __name__ == "__main__":
    worker(*sys.argv[1:])
