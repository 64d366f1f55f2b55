"""The graphs that the proofs crash."""

from __future__ import annotations

from typing import Any

from tau import CheckpointConfig, Context, GraphConfig, Retry, State, StateGraph

LAPS = 2


def work(state: State, ctx: Context) -> dict[str, Any]:
    """Changes a value in place, and saves what is held back from inside."""
    state["rows"].append((ctx.visit, {"half": state["laps"] / 2}))
    state.checkpoint(ctx.resources["store"])
    return {"laps": state["laps"] + 1, "half_done": True}


def check(state: State, ctx: Context) -> State:
    """Fails whenever it is tried for the first, third, ... time; removes a key."""
    if ctx.attempt % 2:
        raise ValueError("not yet")
    seen = frozenset(row[0] for row in state["rows"])
    return state.merge({"seen": seen, "text": state["text"] + "."}).drop("half_done")


def has_more(state: State) -> bool:
    return bool(state["laps"] < state["wanted"])


def four_nodes() -> StateGraph:
    """ingest -> work -> check -> work ... -> report."""
    graph = StateGraph(
        GraphConfig("laps", observer=None, checkpoint=CheckpointConfig(interval=1, preserve=True, max_crashes=30))
    )
    graph.add_node("ingest", lambda state: {"rows": [], "laps": 0, "text": "x" * 600})
    graph.add_node("work", work)
    graph.add_node("check", check, retry=Retry(attempts=3, delay=0.2))
    graph.add_node("report", lambda state: {"report": repr(state["rows"]), "total": 10**30 + len(state["rows"])})
    graph.add_edge("ingest", "work")
    graph.add_edge("work", "check")
    graph.add_edge("check", "work", has_more, name="more")
    graph.add_edge("check", "report")
    graph.set_entry_point("ingest")
    graph.set_exit_point("report")
    return graph
