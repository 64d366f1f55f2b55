"""The graph of the golden store of replays. Never changed: its fingerprint is in the store."""

from __future__ import annotations

from typing import Any

from tau import CheckpointConfig, Context, GraphConfig, Hub, State, StateGraph, agents
from tau.stores.contract import Store


class Service:
    """Notes what it is asked; refuses the prompt ``refused``."""

    def __init__(self, refused: str = "") -> None:
        self.asked: list[str] = []
        self.refused = refused

    def ask(self, prompt: str) -> str:
        if prompt == self.refused:
            raise OSError("the service is away")
        self.asked.append(prompt)
        return f"about {prompt}"


def asking(store: Store, service: Service, hub: Hub) -> StateGraph:
    """ask -> end: a journaled call, a call of an agent, one of a hub, a step with a call in it, a map."""
    checkpoint = CheckpointConfig(store=store, interval=1, preserve=True, lease=0.05)
    graph = StateGraph(GraphConfig("asking", observer="noop", checkpoint=checkpoint))
    agent = agents.function(
        lambda call: service.ask(call.messages[-1]["content"]), name="analyst", prices={"function": (1.0, 2.0)}
    )
    hub.register("engineer", lambda message: service.ask(message.data))

    def ask(state: State, ctx: Context) -> dict[str, Any]:
        return {
            "call": [ctx.journal("ask", service.ask, "trend") for _ in range(2)],
            "chat": agent.chat("ice").text,
            "step": ctx.step("fit", lambda: ctx.journal("ask", service.ask, "fit")),
            "hub": hub.request("ask", "engineer", "pressure").data,
            "map": ctx.map("pieces", service.ask, ["east", "west"], workers=1),
            "seed": ctx.seed("noise"),
        }

    graph.add_node("ask", ask, version="1")
    graph.add_node("end", lambda state: {"out": len(state["map"])}, version="1")
    graph.sequence("ask", "end")
    return graph
