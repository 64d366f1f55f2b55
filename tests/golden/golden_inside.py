"""The graph of the golden store of runs with graphs inside nodes. Never changed: its fingerprint is in the store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tau import CheckpointConfig, Context, GraphConfig, State, StateGraph, branches_node, graph_node, pause_node
from tau.stores.contract import Store

BROKEN: set[str] = set()
"""The nodes that fail."""


def node(name: str) -> Callable[..., Any]:
    def call(state: State, ctx: Context) -> dict[str, Any]:
        number = ctx.step("number", lambda: ctx.seed("number") % 1000)
        if name in BROKEN:
            raise ValueError(f"{name} broke")
        return {"log": [*state["log"], (ctx.node, ctx.visit, number)], name: "x" * 600 + str(state.get(name, ""))[-50:]}

    return call


def branch(name: str) -> StateGraph:
    graph = StateGraph(name)
    for number in (1, 2):
        graph.add_node(f"{name}{number}", node(f"{name}{number}"), version="1")
    graph.sequence(f"{name}1", f"{name}2")
    return graph


def nesting(store: Store) -> StateGraph:
    """both (a1 -> a2 | b1 -> b2 | c) -> lap (count -> ask) -> both ... -> end."""
    lap = StateGraph("lap")
    lap.add_node("count", lambda state: {"laps": state["laps"] + 1}, version="1")
    lap.add_node("ask", pause_node("fine", form=bool), version="1")
    lap.sequence("count", "ask")
    checkpoint = CheckpointConfig(store=store, interval=1, preserve=True, lease=0.05)
    graph = StateGraph(GraphConfig("nesting", observer="noop", checkpoint=checkpoint))
    parts = {
        "a": branch("a"),
        "b": graph_node(branch("b"), outputs=["log", "b2"]),
        "c": lambda state: {"c": state["laps"]},
    }
    graph.add_node("both", branches_node(parts, merge={"log": "append"}), version="1")
    graph.add_node("lap", lap, version="1")
    graph.add_node("end", lambda state: {"out": [state["laps"], len(state["log"])]}, version="1")
    graph.add_edge("both", "lap")
    graph.add_edge("lap", "both", lambda state: state["laps"] < 2)
    graph.add_edge("lap", "end")
    graph.set_entry_point("both")
    graph.set_exit_point("end")
    return graph
