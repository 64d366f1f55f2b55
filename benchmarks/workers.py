"""Workers on PostgreSQL beside a bare queue: many trivial runs, and which of them were done how often."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
from measure import HERE, Figure

import tau
from tau import CheckpointConfig, GraphConfig, StateGraph
from tau.operations.submit import Line, Submitted, requests_of, send
from tau.stores.postgres import PostgresStore

sys.path.insert(0, str(HERE.parent / "tests"))
from postgres_server import Server

JOBS = int(os.environ.get("JOBS", "5000"))
WORKERS = 8

CLAIM = """
update jobs set state = 1 where id = (select id from jobs where state = 0 order by id for update skip locked limit 1)
returning id
"""


def note(path: str, number: object) -> None:
    """One line for one job that is done, in a file that is only appended to."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{number}\n".encode())
    os.close(descriptor)


def graph_of(store: PostgresStore, path: str) -> StateGraph:
    config = CheckpointConfig(store=store, interval=1, preserve=True)
    graph = StateGraph(GraphConfig("trivial", observer=None, checkpoint=config))
    graph.add_node("work", lambda state: note(path, state["number"]), version="1")
    graph.set_entry_point("work")
    graph.set_exit_point("work")
    return graph


def worker(url: str, path: str) -> None:
    """One worker of tau, to the end."""
    with PostgresStore(url) as store:
        graph = graph_of(store, path)
        store.due("trivial", 1)
        ready()
        tau.worker(graph, once=True)


def taker(url: str, path: str) -> None:
    """One worker of the bare queue: a claim and an end for each job, each a commit."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("select 1")
        ready()
        while (row := connection.execute(CLAIM).fetchone()) is not None:
            note(path, row[0])
            connection.execute("update jobs set state = 2 where id = %s", row)


def ready() -> None:
    print("ready", flush=True)
    sys.stdin.readline()


def timed(kind: str, url: str, path: str) -> float:
    """Jobs a second of eight processes that begin at once."""
    command = [sys.executable, __file__, kind, url, path]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(WORKERS)
    ]
    for one in processes:
        assert one.stdout is not None
        assert one.stdout.readline() == "ready\n"
    began = time.perf_counter()
    for one in processes:
        one.communicate("\n")
        assert one.stdin is not None
    took = time.perf_counter() - began
    assert {one.returncode for one in processes} == {0}
    counts = Counter(Path(path).read_text().split())
    assert len(counts) == JOBS, "some were not done"
    assert set(counts.values()) == {1}, "some were done twice"
    return JOBS / took


def workers(root: Path) -> Iterator[Figure]:
    """5,000 trivial runs, eight workers, beside a bare queue in the same session."""
    server = Server(Path(tempfile.mkdtemp(prefix="tau-pg-", dir=root.parent)))
    try:
        with closing(psycopg.connect(server.url(), autocommit=True)) as connection:
            connection.execute("create table jobs(id bigint primary key, state integer not null)")
            connection.execute("create index on jobs(id) where state = 0")
            connection.execute("insert into jobs select n, 0 from generate_series(1, %s) n", (JOBS,))
        with PostgresStore(server.url()) as store:
            graph = graph_of(store, "")
            lines = [Line(number, f"r{number}", {"number": number}) for number in range(1, JOBS + 1)]
            began = time.perf_counter()
            requests = [one for one in requests_of(graph, lines) if not hasattr(one, "why")]
            send(graph, lines, requests, Submitted())  # type: ignore[arg-type]
            admitted = JOBS / (time.perf_counter() - began)
        bare = timed("taker", server.url(), str(root / "bare"))
        ours = timed("worker", server.url(), str(root / "ours"))
        note = f"runs a second: {ours:,.0f} beside {bare:,.0f}; {admitted:,.0f} admitted"
        what = f"{JOBS:,} trivial runs, {WORKERS} workers, PostgreSQL, beside a bare queue"
        yield Figure(what, ours / bare, 0.5, "x", note, at_least=True, best=ours / bare)
    finally:
        server.close()


if __name__ == "__main__":
    {"worker": worker, "taker": taker}[sys.argv[1]](*sys.argv[2:])
