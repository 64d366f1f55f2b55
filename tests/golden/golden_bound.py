"""Nodes to which things of tau and of this file are bound. Never changed: their fingerprints are in a golden store."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import tau.observers
from tau import Context, ExecutionError, Retry, State, StateGraph, Stop, key_equals, open_store
from tau.observers import Recorder
from tau.stores.contract import Store
from tau.stores.file import FileStore
from tau.stores.memory import MemoryStore
from tau.stores.sqlite import SQLiteStore

INNER = StateGraph("inner", store="memory:")
MEMORY = MemoryStore()
SQLITE, FILE = SQLiteStore("never-opened.db"), FileStore("never-opened")


@dataclass(frozen=True)
class Limits:
    low: float = 0.5


class Unit:
    name = "ppm"

    def shown(self, value: float) -> str:
        return f"{value} {self.name}"


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def graphs(state: State, inner: Any = INNER, store: Any = MEMORY) -> dict[str, Any]:
    return {"graphs": inner.name}


def stores(state: State, sqlite: Any = SQLITE, file: Any = FILE) -> dict[str, Any]:
    return {"stores": 2}


def classes(state: State, kinds: Any = (State, StateGraph, Retry, SQLiteStore, ExecutionError)) -> dict[str, Any]:
    return {"classes": len(kinds)}


def values(state: State, retry: Any = Retry(attempts=3), stop: Any = Stop()) -> dict[str, Any]:  # noqa: B008
    return {"values": retry.attempts}


def functions(state: State, opened: Any = open_store, load: Any = MEMORY.load, module: Any = tau.observers) -> Any:
    return {"functions": 1}


def own(state: State, limits: Any = Limits(), unit: Any = Unit(), kind: Any = Unit) -> dict[str, Any]:  # noqa: B008
    return {"own": unit.shown(limits.low)}


def bound(state: State, *, graph: Any, store: Any, kind: Any, observer: Any, when: Any) -> dict[str, Any]:
    return {"bound": kind.__name__}


def depends(state: State) -> dict[str, Any]:
    return {"depends": mean([1.0, 2.0])}


def stepping(state: State, ctx: Context, inner: Any = INNER) -> dict[str, Any]:
    found = ctx.step("first", mean, [1.0, 3.0])
    if not ctx.resources.get("disk"):
        raise OSError("the disk is away")
    return {"stepping": found}


def bound_graph(store: Store, observer: Any = "noop") -> StateGraph:
    """Every kind of thing that can be bound, one node each; the last one fails with a finished step inside."""
    graph = StateGraph("bound", store=store, observer=observer)
    for function in (graphs, stores, classes, values, functions, own):
        graph.add_node(function.__name__, function)
    arguments = {
        "graph": INNER,
        "store": MEMORY,
        "kind": StateGraph,
        "observer": Recorder(),
        "when": key_equals("a", 1),
    }
    graph.add_node("bound", functools.partial(bound, **arguments))
    graph.add_node("method", functools.partial(_call, INNER.plan))
    graph.add_node("depends", depends, depends_on=[mean, Unit, StateGraph, Recorder, open_store, tau.observers])
    graph.add_node("stepping", stepping)
    graph.sequence(*graph.nodes)
    return graph


def _call(method: Any, state: State) -> dict[str, Any]:
    return {"method": method.__name__}


AFTER = {
    "graphs": "inner", "stores": 2, "classes": 5, "values": 3, "functions": 1, "own": "0.5 ppm", "bound": "StateGraph",
    "method": "plan", "depends": 1.5, "stepping": 2.0,
}  # fmt: skip
