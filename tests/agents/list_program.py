"""A run with a scripted agent: ``list_program.py list|mapping STORE`` begins it or goes on, and is killed between its
two calls where ``KILL=between``."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import tau
from tau.agents import scripted

kind, store = sys.argv[1:]
agent = scripted(["up", "none"]) if kind == "list" else scripted({"trend": "up", "outlier": "none"})
graph = tau.StateGraph("scripted", store=store)


def die_where(place: str) -> None:
    if os.environ.get("KILL") == place:
        os.kill(os.getpid(), signal.SIGKILL)


@graph.node
def trend(_: tau.State) -> dict[str, Any]:
    return {"trend": agent.chat("the trend").text}


@graph.node
def outliers(_: tau.State) -> dict[str, Any]:
    die_where("between")
    return {"outliers": agent.chat("an outlier").text}


graph.sequence(trend, outliers)
try:
    final = graph.execute({}, run_id="r", if_exists="resume")
except tau.ExecutionError as error:
    print(error.__cause__)
else:
    print(final["trend"], final["outliers"])
