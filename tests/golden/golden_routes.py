"""A graph with an async and a sync route. Never changed: it is in a golden store."""

from __future__ import annotations

from typing import Any

from tau import END, CheckpointConfig, GraphConfig, State, StateGraph
from tau.observers import Recorder
from tau.stores.contract import Store


async def judge(state: State) -> str:
    return "revise" if state["drafts"] < 2 else "approve"


def sign(state: State, *, may: bool) -> dict[str, Any]:
    if not may:
        raise ValueError("nobody may sign")
    return {"signed": state["drafts"]}


def leave(state: State) -> str:
    return END


AFTER = {"drafts": 2, "signed": 2}


def routed_graph(store: Store, observer: Recorder | None = None, *, may: bool = True, route: Any = judge) -> StateGraph:
    """draft, again while it is to be revised, then sign; the route after sign ends the run."""
    checkpoint = CheckpointConfig(store=store, interval=1, preserve=True, lease=0.05)
    graph = StateGraph(GraphConfig("routed", observer=observer or "noop", checkpoint=checkpoint))
    graph.add_node("draft", lambda state: {"drafts": state.get("drafts", 0) + 1}, version="1")
    graph.add_node("sign", lambda state: sign(state, may=may), version="1")
    graph.add_conditional_edges("draft", route, {"revise": "draft", "approve": "sign"}, name="judge", version="1")
    graph.add_conditional_edges("sign", leave)
    graph.set_entry_point("draft")
    return graph
