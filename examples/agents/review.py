"""Agents review a document: three reviewers vote, a writer revises it until two of them agree, at most twice.

    python review.py                        # scripted agents: no model, no network
    python review.py config.llama.json      # a model of yours, such as llama3.2:3b on Ollama

Kill it in the middle and start it again: what was answered is in review.db, and is not asked for a second time.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tau import END, StateGraph, branches_node
from tau.agents import Agent, AgentConfig, Call, Response, function

REVISIONS = 2  # at most
DRAFT = "Sea level rose by 20 cm since 1900. This proves that all ice sheets lose mass."
REVIEWERS = {
    "evidence": "You check whether each number has a source in brackets.",
    "caution": "You check whether a conclusion says more than its numbers do.",
    "clarity": "You check whether each sentence can be understood at once.",
}


@dataclass
class Verdict:
    approved: bool
    objection: str


def scripted(call: Call) -> Any:
    """What a model would answer, for a first look; `tau.agents.function` makes an agent of it."""
    text = call.messages[-1]["content"]
    if call.agent == "writer":
        return "Sea level rose by 20 cm since 1900 (IPCC 2021). This suggests that ice sheets lose mass."
    objections = {"evidence": "(IPCC" not in text and "20 cm has no source", "caution": "proves" in text and "proves?"}
    objection = objections.get(call.agent) or ""
    return {"approved": not objection, "objection": objection}


def agent(name: str, system_prompt: str, config: AgentConfig | None) -> Agent:
    if config is None:
        return function(scripted, name=name, system_prompt=system_prompt)
    return Agent(config, name=name, system_prompt=system_prompt)


def make(config: AgentConfig | None = None, store: str = "sqlite:///review.db") -> StateGraph:
    writer = agent("writer", "You rewrite a text so that it meets objections. Answer with the text alone.", config)
    graph = StateGraph("agents-review", store=store)
    reviewers = {
        name: reviewer(agent(name, f"{task} Approve, or name one objection.", config))
        for name, task in REVIEWERS.items()
    }

    def receive(state: Mapping[str, Any]) -> dict[str, Any]:
        return {"text": state.get("text", DRAFT), "revisions": 0}

    def revise(state: Mapping[str, Any]) -> dict[str, Any]:
        objections = [one["objection"] for one in state["verdicts"].values() if not one["approved"]]
        answer: Response = writer.chat(f"Objections: {'; '.join(objections)}\n\nText: {state['text']}")
        return {"text": answer.text, "revisions": state["revisions"] + 1}

    def decide(state: Mapping[str, Any]) -> str:
        approvals = sum(one["approved"] for one in state["verdicts"].values())
        if approvals >= 2:
            return END
        return "revise" if state["revisions"] < REVISIONS else END

    graph.add_node("receive", receive)
    graph.add_node("review", branches_node(reviewers, merge={"verdicts": "union"}))
    graph.add_node("revise", revise)
    graph.set_entry_point("receive")
    graph.add_edge("receive", "review")
    graph.add_edge("revise", "review")
    graph.add_conditional_edges("review", decide, {"revise": "revise", END: END})
    return graph


def reviewer(agent: Agent) -> Any:
    def vote(state: Mapping[str, Any]) -> dict[str, Any]:
        verdict: Verdict = agent.chat(f"Text: {state['text']}", schema=Verdict).value
        return {"verdicts": {agent.name: {"approved": verdict.approved, "objection": verdict.objection}}}

    return vote


if __name__ == "__main__":
    graph = make(AgentConfig.from_file(sys.argv[1]) if sys.argv[1:] else None)
    final = graph.execute({}, run_id="sea", if_exists="resume")
    print(json.dumps({"text": final["text"], "revisions": final["revisions"], "verdicts": final["verdicts"]}, indent=2))
