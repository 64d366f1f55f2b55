"""What two worker processes gain, beside a bare `ProcessPoolExecutor` of two, and what they cost the processors."""

from __future__ import annotations

import hashlib
import os
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from measure import Figure

from tau import ParallelConfig, StateGraph, parallel_node, process_parallel

ITEMS = 240
ROUNDS = 3
BLOCK = b"x" * 1_000


def fifty_milliseconds(item: int) -> str:
    """Always the same work, in Python and in C, which holds the interpreter for about 50 ms."""
    digest = b"%d" % item
    for _ in range(32_000):
        digest = hashlib.blake2b(BLOCK + digest).digest()
    return digest.hex()


def config(executor: str) -> ParallelConfig:
    return ParallelConfig(executor=executor, max_workers=2, observer=None)


def alone() -> list[str]:
    return process_parallel(range(ITEMS), fifty_milliseconds, config("inline")).results


def bare() -> list[str]:
    with ProcessPoolExecutor(2) as pool:
        return list(pool.map(fifty_milliseconds, range(ITEMS)))


def kept(root: Path) -> list[str]:
    """In a node of a run on disk: every item stored."""
    graph = StateGraph("parallel", store=f"sqlite:///{root}/runs.db")
    graph.add_node("map", parallel_node(range(ITEMS), fifty_milliseconds, config("processes"), into="out"))
    graph.sequence("map")
    found: list[str] = graph.execute({})["out"]
    return found


def taken(work: Callable[[], list[str]]) -> tuple[float, float, list[str]]:
    """The seconds that it lasts, those of the processors, children included, and what it returns."""
    began, before = time.perf_counter(), os.times()
    found = work()
    after, wall = os.times(), time.perf_counter() - began
    return wall, sum(after[:4]) - sum(before[:4]), found


def processes(root: Path) -> Iterator[Figure]:
    gains, costs, walls = [], [], []
    for _ in range(ROUNDS):
        one_wall, one_cpu, expected = taken(alone)
        bare_wall, _, by_bare = taken(bare)
        wall, cpu, found = taken(lambda: kept(root))
        assert found == by_bare == expected
        gains.append(bare_wall / wall)
        costs.append(cpu / one_cpu)
        walls.append((one_wall, bare_wall, wall))
    each = ", ".join(f"{statistics.median(column):.1f}" for column in zip(*walls, strict=True))
    note = "seconds of one process, bare two, ours on SQLite: " + each
    yield Figure("speed-up of two processes, bare = 1", statistics.median(gains), 0.9, "/s", note, at_least=True)
    yield Figure("their CPU, one process = 1", statistics.median(costs), 1.15, "x", f"least {min(costs):.3f}")
