"""The graph of the golden store of runs that wait for people. Never changed: its fingerprint is in the store."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from tau import CheckpointConfig, Context, GraphConfig, State, StateGraph, pause_node
from tau.stores.contract import Store

DEADLINE = datetime(2100, 1, 1, tzinfo=UTC)


def choose(state: State, ctx: Context) -> dict[str, Any]:
    fitted = ctx.step("fit", lambda: [1, 2, 3])
    return {"best": fitted[ctx.ask("degree", form=int, prompt="Which degree?")]}


def asking(store: Store) -> StateGraph:
    """draft -> review -> choose -> end."""
    checkpoint = CheckpointConfig(store=store, interval=1, preserve=True, lease=0.05)
    graph = StateGraph(GraphConfig("asking", observer="noop", checkpoint=checkpoint))
    graph.add_node("draft", lambda state: {"text": "hello"}, version="1")
    graph.add_node(
        "review",
        pause_node("review", form=bool, prompt="Fine?", deadline=DEADLINE, default=False),
        version="1",
    )
    graph.add_node("choose", choose, version="1")
    graph.add_node("end", lambda state: {"out": [state["text"], state["review"], state["best"]]}, version="1")
    graph.sequence("draft", "review", "choose", "end")
    return graph
