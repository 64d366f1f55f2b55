"""Workers on PostgreSQL beside a bare queue: many trivial runs, and which of them were done how often."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import psycopg
from measure import HERE, Figure, cpu_of, reaped

import tau
from tau import CheckpointConfig, GraphConfig, StateGraph
from tau.operations.submit import Line, Submitted, requests_of, send
from tau.stores.contract import Store
from tau.stores.postgres import PostgresStore

sys.path.insert(0, str(HERE.parent / "tests"))
from postgres_server import Server

JOBS = int(os.environ.get("JOBS", "5000"))
WORKERS = 8
TURNS = 3

CLAIM = """
update jobs set state = 1 where id = (select id from jobs where state = 0 order by id for update skip locked limit 1)
returning id
"""


def note(path: str, number: object) -> None:
    """One line for one job that is done, in a file that is only appended to."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{number}\n".encode())
    os.close(descriptor)


def graph_of(store: Store, path: str, name: str = "trivial") -> StateGraph:
    config = CheckpointConfig(store=store, interval=1, preserve=True)
    graph = StateGraph(GraphConfig(name, observer=None, checkpoint=config))
    graph.add_node("work", lambda state: note(path, state["number"]), version="1")
    graph.set_entry_point("work")
    graph.set_exit_point("work")
    return graph


def worker(url: str, path: str) -> None:
    """One worker of tau, to the end. What it is made of is loaded by a run of its own before."""
    with PostgresStore(url) as store:
        graph = graph_of(store, path)
        warm = graph_of(store, os.devnull, f"warm {os.getpid()}")
        warm.admit({"number": 0})
        tau.worker(warm, once=True)
        ready()
        tau.worker(graph, once=True)


def taker(url: str, path: str) -> None:
    """One worker of the bare queue: a claim and an end for each job, each a commit."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("update jobs set state = 2 where id = %s", (0,))
        note(os.devnull, 0)
        ready()
        while (row := connection.execute(CLAIM).fetchone()) is not None:
            note(path, row[0])
            connection.execute("update jobs set state = 2 where id = %s", row)


def ready() -> None:
    print("ready", flush=True)
    sys.stdin.readline()


class Round(NamedTuple):
    """What eight processes did: jobs a second, and the CPU of a job in milliseconds, theirs and the server's."""

    rate: float
    cpu: float
    server: float

    def __str__(self) -> str:
        return f"{self.rate:,.0f}/s (CPU of each {self.cpu:.2f} ms + {self.server:.2f} ms of the server)"


def timed(kind: str, server: Server, path: str) -> Round:
    """The jobs of a round, by eight processes that begin at once."""
    command = [sys.executable, __file__, kind, server.url(), path]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(WORKERS)
    ]
    for one in processes:
        assert one.stdout is not None
        assert one.stdout.readline() == "ready\n"
    loaded = sum(cpu_of(one.pid) for one in processes)
    of_server, ended = cpu_of(server.process.pid, children=True), reaped()
    began = time.perf_counter()
    for one in processes:  # all of them, before any is waited for
        assert one.stdin is not None
        one.stdin.write("\n")
        one.stdin.flush()
    for one in processes:
        one.wait()
    took = time.perf_counter() - began
    assert {one.returncode for one in processes} == {0}
    counts = Counter(Path(path).read_text().split())
    assert len(counts) == JOBS, "some were not done"
    assert set(counts.values()) == {1}, "some were done twice"
    of_server = cpu_of(server.process.pid, children=True) - of_server
    return Round(JOBS / took, (reaped() - ended - loaded) / JOBS * 1000, of_server / JOBS * 1000)


def median(rounds: list[Round]) -> Round:
    return Round(*map(statistics.median, zip(*rounds, strict=True)))


def workers(root: Path) -> Iterator[Figure]:
    """5,000 trivial runs, eight workers, in turns with a bare queue on the same server."""
    server = Server(Path(tempfile.mkdtemp(prefix="tau-pg-", dir=root.parent)))
    bare, ours, admitted = list[Round](), list[Round](), list[float]()
    url = server.url()
    try:
        with (
            closing(psycopg.connect(url, autocommit=True)) as connection,
            PostgresStore(url) as store,
        ):
            connection.execute("create table jobs(id bigint primary key, state integer not null)")
            connection.execute("create index on jobs(id) where state = 0")
            graph = graph_of(store, "")
            for turn in range(TURNS):
                numbers = range(turn * JOBS + 1, (turn + 1) * JOBS + 1)
                connection.execute("insert into jobs select n, 0 from unnest(%s::bigint[]) n", (list(numbers),))
                lines = [Line(number, f"r{number}", {"number": number}) for number in numbers]
                began = time.perf_counter()
                requests = [one for one in requests_of(graph, lines) if not hasattr(one, "why")]
                send(graph, lines, requests, Submitted())
                admitted.append(JOBS / (time.perf_counter() - began))
                connection.execute("vacuum analyze")
                bare.append(timed("taker", server, str(root / f"bare{turn}")))
                ours.append(timed("worker", server, str(root / f"ours{turn}")))
        ratios = [one.rate / other.rate for one, other in zip(ours, bare, strict=True)]
        note = f"runs: {median(ours)}, jobs: {median(bare)}; {statistics.median(admitted):,.0f}/s admitted"
        what = f"{JOBS:,} trivial runs, {WORKERS} workers, PostgreSQL, beside a bare queue"
        yield Figure(what, statistics.median(ratios), 0.5, "x", note, at_least=True, best=max(ratios))
    finally:
        server.close()


if __name__ == "__main__":
    {"worker": worker, "taker": taker}[sys.argv[1]](*sys.argv[2:])
