"""What the items of a map cost: alone beside a bare pool of threads, kept on SQLite, and by the million."""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from measure import Figure

from tau import Context, ExecutionError, ParallelConfig, State, StateGraph, process_parallel

ITEMS = 1000
THREADS = 16
ROUNDS = 15
MILLION = 1_000_000


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


def milliseconds(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


def items(root: Path) -> Iterator[Figure]:
    on_sqlite = kept(root)
    on_sqlite()
    turns = [[milliseconds(work) for work in (bare, alone, on_sqlite)] for _ in range(ROUNDS)]
    base, ours, stored = (statistics.median(column) for column in zip(*turns, strict=True))
    note = f"bare {base:.1f} ms, least {min(turn[0] for turn in turns):.1f}"
    yield Figure("1,000 items in 16 threads without a store, bare = 1", ours / base, 1.0, "x", note)
    yield Figure("the same on SQLite, bare = 1", stored / base, 3.0, "x", f"{stored:.0f} ms")


def million(root: Path) -> Iterator[Figure]:
    """In processes of their own, as the most that a process ever held is measured: one that fails at 90 %, one that
    resumes."""
    store = f"sqlite:///{root}/million.db"
    for what, verb in (("a million items, failed at 90 %", "execute"), ("the resume of it", "resume")):
        began = time.perf_counter()
        done = subprocess.run([sys.executable, __file__, verb, store], check=True, capture_output=True, text=True)
        took = time.perf_counter() - began
        yield Figure(f"{what}: memory", float(done.stdout), 300, "MB", f"{took:.0f} s")


def _of_a_million(verb: str, store: str) -> None:
    graph = StateGraph("million", store=store)

    def task(item: int) -> int:
        if verb == "execute" and item == MILLION * 9 // 10:
            raise ValueError("broken off")
        return item

    def node(state: State, ctx: Context) -> dict[str, int]:
        return {"sum": sum(ctx.map("task", task, range(MILLION), workers=4))}

    graph.add_node("node", node, version="1")
    graph.sequence("node")
    if verb == "resume":
        assert graph.resume("r")["sum"] == MILLION * (MILLION - 1) // 2
    else:
        try:
            graph.execute({}, run_id="r")
        except ExecutionError:
            pass
        else:
            raise AssertionError("it did not fail")
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000)


if __name__ == "__main__":
    _of_a_million(*sys.argv[1:])
