"""The graph that the service runs: stages that take a moment, as calls to a model or a slow database would."""

from __future__ import annotations

import asyncio
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from tau import State, StateGraph


class Input(BaseModel):
    model_config = ConfigDict(extra="forbid")
    topic: str = Field(min_length=1, max_length=200)
    seconds: float = Field(0.1, ge=0, le=3600)
    depth: int = Field(1, ge=1, le=100)


async def collect(state: State) -> dict[str, Any]:
    await asyncio.sleep(state.get("seconds", 0.1))
    return {"found": [f"{state['topic']} {n}" for n in range(3)]}


async def assess(state: State) -> dict[str, Any]:
    await asyncio.sleep(state.get("seconds", 0.1))
    return {"found": state["found"][1:], "rounds": state.get("rounds", 0) + 1}


def report(state: State) -> dict[str, Any]:
    return {"report": f"{len(state['found'])} findings on {state['topic']} after {state['rounds']} rounds"}


def build(store: Any) -> StateGraph:
    graph = StateGraph("findings", store=store)
    for node in (collect, assess, report):
        graph.node(node)
    graph.set_entry_point(collect)
    graph.add_edge(collect, assess)
    graph.add_edge(assess, assess, lambda state: state["rounds"] < state.get("depth", 1), name="deeper")
    graph.add_edge(assess, report)
    graph.set_exit_point(report)
    return graph
