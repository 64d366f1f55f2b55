"""What a graph inside a node costs beside the same nodes without one."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from measure import Figure

from tau import State, StateGraph

NODES = 100
ROUNDS = 41


def inside(root: Path) -> Iterator[Figure]:
    """CPU time of whole runs, in turns."""
    where = ("without a store", None), ("in memory", "memory:"), ("on SQLite", f"sqlite:///{root}/inside.db")
    for what, url in where:
        plain, outer = _sequence("plain", url), StateGraph("outer", store=url)
        outer.add_node("inner", _sequence("inner", None))
        outer.sequence("inner")
        numbers = count()
        turns = [[_seconds(graph, f"run-{next(numbers)}") for graph in (plain, outer)] for _ in range(ROUNDS)]
        ratio = statistics.median(after / before for before, after in turns)
        base = statistics.median(before for before, _ in turns) * 1000
        yield Figure(
            f"a graph of {NODES} nodes inside a node {what}, the nodes alone = 1", ratio, 1.1, "x", f"{base:.1f} ms"
        )


def _sequence(name: str, store: str | None) -> StateGraph:
    graph = StateGraph(name, store=store)
    for number in range(NODES):
        graph.add_node(f"n{number}", _work, version="1")
    graph.sequence(*(f"n{number}" for number in range(NODES)))
    return graph


def _work(state: State) -> dict[str, int]:
    return {"x": state["x"] + 1}


def _seconds(graph: StateGraph, run_id: str) -> float:
    began = time.process_time()
    graph.execute({"x": 0}, run_id=run_id)
    return time.process_time() - began
