"""tau on its SQLite store: every finished node is one synced transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers.peer import Node, Peer, Work

from tau import CheckpointConfig, GraphConfig, State, StateGraph, key_exists
from tau.stores.sqlite import SQLiteStore


class Tau(Peer):
    name = "tau"
    packages = ("tau-orchestrate",)
    configured = "SQLite store, a checkpoint after every node"

    def __init__(self, folder: Path, *, lenient: bool = False) -> None:
        super().__init__(folder, lenient=lenient)
        self.store = SQLiteStore(folder / "tau.db")

    def graph(self, work: Work) -> StateGraph:
        checkpoint = CheckpointConfig(store=self.store, interval=1, preserve=True)
        graph = StateGraph(GraphConfig("peers", observer=None, max_iterations=10**6, checkpoint=checkpoint))
        for name, node in work.nodes.items():
            graph.add_node(name, appending(node, work.grows) if work.grows else node)
        first = next(iter(work.nodes))
        if work.loops:
            graph.add_node("end", nothing)
            graph.add_edge(first, "end", key_exists("done"))
            graph.add_edge(first, first)
            graph.set_entry_point(first)
            graph.set_exit_point("end")
        else:
            graph.sequence(*work.nodes)
        return graph

    def run(self, work: Work, run_id: str, values: Mapping[str, Any]) -> Mapping[str, Any]:
        return self.graph(work).execute(values, run_id=run_id)

    def resume(self, work: Work, run_id: str) -> Mapping[str, Any]:
        return self.graph(work).resume(run_id)

    async def many(self, work: Work, run_ids: Sequence[str], values: Mapping[str, Any]) -> None:
        graph = self.graph(work)
        await asyncio.gather(*[graph.aexecute(values, run_id=run_id) for run_id in run_ids])


def nothing(state: State) -> None:
    """The end of a loop."""


def appending(node: Node, key: str) -> Node:
    """tau has no word for it: the list that was read, with the item at its end."""

    def longer(state: State) -> dict[str, Any]:
        changes: dict[str, Any] = node(state)
        if key in changes:
            changes[key] = [*state[key], changes[key]]
        return changes

    return longer
