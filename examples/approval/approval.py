"""An approval that may take days: the run waits in its store, and no process waits with it.

    python approval.py                                                   # it writes a draft, and ends: exit code 4
    tau pauses --store sqlite:///approval.db
    tau answer --store sqlite:///approval.db article review --set verdict=revise --set note="shorter"
    python approval.py                                                   # it revises, and asks again
    tau answer --store sqlite:///approval.db article review --set verdict=approve --by ada
    python approval.py                                                   # it publishes: exit code 0

Each call goes on where the run stands: nothing that was written is written again.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from tau import RunWaitingError, State, StateGraph, key_equals, pause_node

STORE = "sqlite:///approval.db"


@dataclass
class Verdict:
    """What the editor answers; a note says what to change."""

    verdict: Literal["approve", "revise", "reject"]
    note: str = ""


def write(state: State) -> dict[str, Any]:
    print("writes a draft")
    return {"text": "The sea has risen by 20 cm since 1900, and it rises faster every decade.", "revisions": 0}


def revise(state: State) -> dict[str, Any]:
    print(f"revises: {state['review']['note']}")
    first, _, _ = state["text"].partition(", ")
    return {"text": f"{first}.", "revisions": state["revisions"] + 1}


def decide(state: State) -> dict[str, Any]:
    verdict = state["review"]["verdict"]
    return {"verdict": "reject" if verdict == "revise" and state["revisions"] >= 2 else verdict}


def publish(state: State) -> dict[str, Any]:
    print(f"publishes: {state['text']}")
    return {"published": True}


def build(store: str = STORE) -> StateGraph:
    graph = StateGraph("approval", store=store)
    graph.add_node("write", write)
    graph.add_node(
        "review",
        pause_node(
            "review",
            form=Verdict,
            prompt="May this go out? approve, revise or reject",
            deadline=timedelta(days=7),
            default=Verdict("reject", "nobody answered for a week"),
        ),
    )
    graph.add_node("decide", decide)
    graph.add_node("revise", revise)
    graph.add_node("publish", publish)
    graph.add_node("drop", lambda state: {"published": False})
    graph.add_edge("write", "review")
    graph.add_edge("review", "decide")
    graph.add_edge("decide", "publish", key_equals("verdict", "approve"))
    graph.add_edge("decide", "revise", key_equals("verdict", "revise"))
    graph.add_edge("decide", "drop")
    graph.add_edge("revise", "review")
    graph.set_entry_point("write")
    graph.set_exit_point("publish")
    graph.set_exit_point("drop")
    return graph


graph = build()

if __name__ == "__main__":
    try:
        graph.execute({}, run_id="article", if_exists="resume")
    except RunWaitingError as waiting:
        print(f"waits for {', '.join(waiting.pauses)}; answer, then run this again:")
        print(f"  tau answer --store {STORE} article review --set verdict=approve")
        sys.exit(4)
