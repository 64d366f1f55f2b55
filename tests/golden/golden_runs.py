"""The graphs and runs of the golden stores. Never changed: their fingerprints are in the stores."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from tau import CheckpointConfig, GraphConfig, State, StateGraph
from tau.observers import Recorder
from tau.stores.contract import Store

ODD_RUN_IDS = ("../odd\\ru n%2F", "caf\N{LATIN SMALL LETTER E WITH ACUTE} \N{PILE OF POO}", "x" * 500, "Hand", ".")
RAW = b"".join(hashlib.sha256(b"%d" % n).digest() for n in range(64))
"""Two thousand bytes that do not compress."""

WIDE = {f"key {n}": "small text " * 20 for n in range(100)}
"""Values that lie in the record itself, which is long and compresses well."""

LONG = 150
BREAKS = 100
"""How often the long run counts, and where it fails at first."""


def ingest(state: State) -> dict[str, Any]:
    return {"raw": RAW, "text": state["dataset"] * 500, "rows": [1]}


def preprocess(state: State) -> State:
    state["rows"].append((2, 3))
    return state.drop("dataset").set("clean", {"mean": 1.5, "n": len(state["raw"])})


def analyze(state: State) -> dict[str, Any]:
    return {"trend": (state["clean"]["mean"] * 2, len(state["text"]))}


def report(state: State) -> dict[str, Any]:
    return {"report": f"trend {state['trend'][0]}, rows {state['rows']}"}


NODES = {"ingest": ingest, "preprocess": preprocess, "analyze": analyze, "report": report}

AFTER: dict[str, dict[str, Any]] = {
    "ingest": {"dataset": "co2 ", "raw": RAW, "text": "co2 " * 500, "rows": [1]},
    "preprocess": {"raw": RAW, "text": "co2 " * 500, "rows": [1, (2, 3)], "clean": {"mean": 1.5, "n": 2048}},
}
AFTER["analyze"] = {**AFTER["preprocess"], "trend": (3.0, 2000)}
AFTER["report"] = {**AFTER["analyze"], "report": "trend 3.0, rows [1, (2, 3)]"}


def pipeline(store: Store, observer: Recorder | None = None, *, preserve: bool = True, **instead: Any) -> StateGraph:
    """Four nodes, one of them without a version; ``instead`` maps names to functions that run first."""
    checkpoint = CheckpointConfig(store=store, interval=1, preserve=preserve, lease=0.05)
    graph = StateGraph(GraphConfig("pipeline", observer=observer or "noop", checkpoint=checkpoint))
    for name, function in NODES.items():
        node = _first(instead[name], function) if name in instead else function
        graph.add_node(name, node, version=None if name == "ingest" else "1")
    graph.sequence(*NODES)
    return graph


def _first(before: Callable[[], Any], function: Callable[[State], Any]) -> Callable[[State], Any]:
    def node(state: State) -> Any:
        before()
        return function(state)

    return node


def counting(store: Store, breaks: int | None = None) -> StateGraph:
    """A loop in which a list grows; it fails once it has counted to ``breaks``."""

    def count(state: State) -> dict[str, Any]:
        n = state["n"]
        if n == breaks:
            raise ValueError(f"broke at {n}")
        return {"n": n + 1, "all": [*state["all"], line(n)]}

    checkpoint = CheckpointConfig(store=store, interval=1, preserve=True)
    graph = StateGraph(GraphConfig("counting", observer="noop", checkpoint=checkpoint))
    graph.add_node("count", count, version="1")
    graph.add_node("end", lambda state: None, version="1")
    graph.add_edge("count", "count", lambda state: state["n"] < LONG, name="more")
    graph.add_edge("count", "end")
    graph.set_entry_point("count")
    graph.set_exit_point("end")
    return graph


def line(n: int) -> str:
    return hashlib.sha256(b"line %d" % n).hexdigest()


def keeping(store: Store) -> StateGraph:
    """One node that reads nothing and adds nothing."""
    graph = StateGraph("keeping", store=store)
    graph.add_node("keep", lambda state: None, version="1")
    graph.sequence("keep")
    return graph
