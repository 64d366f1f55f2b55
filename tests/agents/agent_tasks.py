"""What worker processes import: agents and what asks them."""

from __future__ import annotations

from tau import agents
from tau.agents import Call


def upper(call: Call) -> str:
    return str(call.messages[-1]["content"]).upper()


agent = agents.function(upper)


def ask(prompt: str) -> tuple[str, bool]:
    response = agent.chat(prompt)
    return response.text, response.journaled
