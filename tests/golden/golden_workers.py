"""The graph of the golden store of runs that are left to workers."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from tau import CheckpointConfig, GraphConfig, StateGraph
from tau.stores.contract import Store


def keep(state: Any) -> None:
    """What a node does in the end."""


def die(state: Any) -> None:
    os._exit(9)


def left_to_workers(store: Store, second: Callable[[Any], None] = keep) -> StateGraph:
    checkpoint = CheckpointConfig(store=store, interval=1, preserve=True, lease=0.05)
    graph = StateGraph(GraphConfig("left", observer="noop", checkpoint=checkpoint))
    graph.add_node("first", lambda state: {"x": state["x"] + 1}, version="1")
    graph.add_node("second", second, version="1")
    graph.sequence("first", "second")
    return graph
