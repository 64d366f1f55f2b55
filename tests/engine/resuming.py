"""What a spawned process does that resumes a run: it loads this module, and not those that the tests need."""

from __future__ import annotations

import os
from typing import Any

from tau import CheckpointConfig, GraphConfig, RunOwnedError, State, StateGraph, open_store


def resume_in_process(url: str, effects: str, barrier: Any, queue: Any) -> None:
    checkpoint = CheckpointConfig(store=open_store(url), interval=1, preserve=True)
    graph = StateGraph(GraphConfig("g", observer="noop", checkpoint=checkpoint))

    def work(state: State) -> dict[str, Any]:
        fd = os.open(effects, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(fd, b"work\n")
        os.close(fd)
        return {"work": 1}

    graph.add_node("start", lambda state: None, version="1")
    graph.add_node("work", work, version="1")
    graph.sequence("start", "work")
    barrier.wait()
    try:
        queue.put(("ok", graph.resume("r")["work"]))
    except RunOwnedError as error:
        queue.put(("owned", error.owner))
