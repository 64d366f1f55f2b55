"""A run that makes calls and may be killed: ``calling_program.py five|hundred URL STORE`` begins it or goes on."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import tau
from tau.agents import AgentConfig
from tau.agents.agent import Agent

what, url, store = sys.argv[1:]
model = {"five": "hang-third/killed", "hundred": "limited/killed"}[what]
provider = {"name": "ollama", "base_url": url, "model": {"name": model}}
agent = Agent(AgentConfig.from_dict({"name": "caller", "client": {"provider": provider, "connection_pool_size": 40}}))
graph = tau.StateGraph("calls", store=store)


@graph.node
def five(_: tau.State) -> dict[str, Any]:
    return {"told": [agent.chat(f"question {number}").text.split()[-1] for number in range(1, 6)]}


@graph.node
async def hundred(_: tau.State) -> dict[str, Any]:
    found = await asyncio.gather(*(agent.achat(f"question {number}") for number in range(100)))
    return {"told": [str(len(found))]}


graph.sequence(what)
print(*graph.execute({}, run_id="calls", if_exists="resume")["told"])
