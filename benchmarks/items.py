"""What the items of a map cost: alone beside a bare pool of threads, kept on SQLite, and by the million."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from measure import Figure

from tau import Context, ParallelConfig, ParallelResult, State, StateGraph, parallel_node, process_parallel

ITEMS = 1000
THREADS = 16
ROUNDS = 15
MILLION = 1_000_000
KILLED = 9
"""The exit code of a process that ends itself at once."""


def square(item: int) -> int:
    """An item that takes no time."""
    return item * item


def bare() -> None:
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(square, range(ITEMS)))


def alone() -> None:
    process_parallel(range(ITEMS), square, ParallelConfig(max_workers=THREADS, observer=None))


def kept(root: Path) -> Callable[[], None]:
    """In a node of a run on disk."""
    graph = StateGraph("items", store=f"sqlite:///{root}/items.db")

    @graph.node
    def node(state: State, ctx: Context) -> None:
        ctx.map("square", square, range(ITEMS), workers=THREADS)

    graph.sequence(node)

    def run() -> None:
        graph.execute({})

    return run


def milliseconds(work: Callable[[], None]) -> tuple[float, float]:
    """What it took, by the wall and of the processors; others on the machine change the second one less."""
    began, cpu_began = time.perf_counter(), time.process_time()
    work()
    return (time.perf_counter() - began) * 1000, (time.process_time() - cpu_began) * 1000


def items(root: Path) -> Iterator[Figure]:
    on_sqlite = kept(root)
    on_sqlite()
    turns = [[milliseconds(work) for work in (bare, alone, on_sqlite)] for _ in range(ROUNDS)]
    (base, cpu), *ours = (
        tuple(map(statistics.median, zip(*column, strict=True))) for column in zip(*turns, strict=True)
    )
    whats = ("1,000 items in 16 threads without a store, bare = 1", "the same on SQLite, bare = 1")
    for what, limit, (wall, busy) in zip(whats, (1.0, 3.0), ours, strict=True):
        note = f"{wall:.1f} ms, bare {base:.1f}; of CPU {busy / cpu:.2f} x {cpu:.1f} ms"
        yield Figure(what, wall / base, limit, "x", note)


def million(root: Path) -> Iterator[Figure]:
    """In processes of their own, as the most that a process ever held is measured: a first run, and the resume of one
    that was killed at 90 %."""
    for what, verbs in (("the first run", ["execute"]), ("a resume at 90 %", ["kill", "resume"])):
        store = f"sqlite:///{root}/{verbs[-1]}.db"
        for verb in verbs:
            began = time.perf_counter()
            done = subprocess.run([sys.executable, __file__, verb, store], check=False, capture_output=True, text=True)
            took = time.perf_counter() - began
            if done.returncode != (KILLED if verb == "kill" else 0):
                raise RuntimeError(done.stderr)
        yield Figure(f"a map of a million ints, {what}: memory", float(done.stdout), 300, "MB", f"{took:.0f} s")


def _of_a_million(verb: str, store: str) -> None:
    def task(item: int) -> int:
        if verb == "kill" and item == MILLION * 9 // 10:
            os._exit(KILLED)
        return item

    def total(result: ParallelResult[int], state: State) -> dict[str, int]:
        return {"sum": sum(result)}

    graph = StateGraph("million", store=store)
    node = parallel_node(range(MILLION), task, ParallelConfig(max_workers=8), aggregate=total)
    graph.add_node("node", node, version="1")
    graph.sequence("node")
    final = graph.resume("r") if verb == "resume" else graph.execute({}, run_id="r")
    assert final["sum"] == MILLION * (MILLION - 1) // 2
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000)


if __name__ == "__main__":
    _of_a_million(*sys.argv[1:])
