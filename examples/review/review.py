"""A document is analysed, reviewed and revised until two of three reviewers agree; then a person signs it.

    tau run review.py:graph --run-id sea                                 # exit code 4: it waits for a signature
    tau pauses --store sqlite:///review.db
    tau answer sea signature --set signed=true --set name=Ada --store sqlite:///review.db
    tau resume sea review.py:graph                                       # exit code 0: it is published

Analysts and reviewers are plain functions here. Put the calls of your models in their places: what has answered is
stored and is not asked again, wherever the process dies.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tau import StateGraph, branches_node, chain_node, pause_node

CONSENSUS = 0.66  # the share of the reviewers who must approve
REVISIONS = 2  # at most
DRAFT = (
    "Sea level has risen by 20 cm since 1900 (IPCC 2021). The rise of the last thirty years, measured by satellites, "
    "is twice as fast as that of the century before; this proves that all ice sheets lose mass. It may be 1 m in 2100."
)
Notes = dict[str, Any]


def outline(notes: Notes) -> Notes:
    """An analyst adds to what those before it have noted."""
    return {**notes, "sentences": re.split(r"(?<=\.) ", notes["text"])}


def find_claims(notes: Notes) -> Notes:
    return {**notes, "claims": [one for one in notes["sentences"] if re.search(r"\d", one)]}


def find_sources(notes: Notes) -> Notes:
    return {**notes, "unsourced": [one for one in notes["claims"] if not re.search(r"\(\D+ \d{4}\)", one)]}


ANALYSTS: dict[str, Callable[[Notes], Notes]] = {f.__name__: f for f in (outline, find_claims, find_sources)}


def analyse(analyst: str, notes: Notes) -> Notes:
    return ANALYSTS[analyst](notes)


def evidence(state: Mapping[str, Any]) -> dict[str, Any]:
    """A reviewer says what it objects to, and approves with an empty list."""
    return {"objections": {"evidence": [f"no source: {one}" for one in state["notes"]["unsourced"]]}}


def clarity(state: Mapping[str, Any]) -> dict[str, Any]:
    return {"objections": {"clarity": [f"long: {one}" for one in state["notes"]["sentences"] if one.count(" ") > 25]}}


def caution(state: Mapping[str, Any]) -> dict[str, Any]:
    return {"objections": {"caution": [f"{word}?" for word in ("proves", "never") if word in state["text"]]}}


def route(state: Mapping[str, Any]) -> str:
    objections = state["objections"].values()
    if sum(not one for one in objections) >= CONSENSUS * len(objections):
        return "approve"
    return "revise" if state["revisions"] < REVISIONS else "reject"


def revise(state: Mapping[str, Any]) -> dict[str, Any]:
    shorter = re.sub(r"; (\w)", lambda found: f". {found[1].upper()}", state["text"])
    return {"text": shorter.replace("proves", "suggests"), "revisions": state["revisions"] + 1}


@dataclass
class Signature:
    signed: bool
    name: str


graph = StateGraph("review", store="sqlite:///review.db")
graph.add_node("receive", lambda state: {"text": state.get("text", DRAFT), "revisions": 0})
analysts = chain_node(list(ANALYSTS), lambda state: {"text": state["text"]}, analyse, into="notes")
graph.add_node("analyse", analysts, depends_on=list(ANALYSTS.values()))
reviewers = {"evidence": evidence, "clarity": clarity, "caution": caution}
graph.add_node("review", branches_node(reviewers, merge={"objections": "union"}))
graph.add_node("revise", revise)
graph.add_node("sign", pause_node("signature", form=Signature, prompt="Will you sign what the reviewers approved?"))
graph.add_node("publish", lambda state: {"result": f"published, signed by {state['signature']['name']}"})
graph.add_node("reject", lambda state: {"result": f"rejected, revisions: {state['revisions']}"})
graph.set_entry_point("receive")
for source, target in (("receive", "analyse"), ("analyse", "review"), ("revise", "analyse")):
    graph.add_edge(source, target)
graph.add_conditional_edges("review", route, {"approve": "sign", "revise": "revise", "reject": "reject"})
graph.add_conditional_edges("sign", lambda state: "publish" if state["signature"]["signed"] else "reject")
for last in ("publish", "reject"):
    graph.set_exit_point(last)
