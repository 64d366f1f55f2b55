"""LangGraph with its SQLite checkpointer, in the durability modes "sync" and "async"."""

from __future__ import annotations

import asyncio
import operator
import sqlite3
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypedDict

from benchmarks.peers.peer import Peer, Work
from langgraph.channels.delta import DeltaChannel
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, StateGraph


class LangGraph(Peer):
    packages = ("langgraph", "langgraph-checkpoint-sqlite")
    durability: ClassVar[str]
    lenient_means = "JsonPlusSerializer(pickle_fallback=True)"

    def __init__(self, folder: Path, *, lenient: bool = False) -> None:
        super().__init__(folder, lenient=lenient)
        self.place = str(folder / "langgraph.db")
        self.serde = JsonPlusSerializer(pickle_fallback=True) if lenient else None

    def list_channel(self) -> Any:
        return operator.add

    def builder(self, work: Work) -> StateGraph:
        fields: dict[str, Any] = dict.fromkeys(work.keys, Any)
        if work.grows:
            fields[work.grows] = Annotated[list, self.list_channel()]
        builder = StateGraph(TypedDict("Values", fields, total=False))  # type: ignore[operator]
        for name, node in work.nodes.items():
            builder.add_node(name, one_more(node, work.grows) if work.grows else node)
        first, *_, last = [*work.nodes, *work.nodes]
        builder.add_edge(START, first)
        if work.loops:
            builder.add_conditional_edges(first, lambda state: END if state.get("done") else first)
        else:
            for source, target in pairwise(work.nodes):
                builder.add_edge(source, target)
            builder.add_edge(last, END)
        return builder

    def saver(self) -> SqliteSaver:
        return SqliteSaver(sqlite3.connect(self.place, check_same_thread=False), serde=self.serde)

    def invoke(self, work: Work, run_id: str, values: Mapping[str, Any] | None) -> Mapping[str, Any]:
        graph = self.builder(work).compile(checkpointer=self.saver())
        found: Mapping[str, Any] = graph.invoke(values, config(run_id), durability=self.durability)
        return found

    def run(self, work: Work, run_id: str, values: Mapping[str, Any]) -> Mapping[str, Any]:
        return self.invoke(work, run_id, values)

    def resume(self, work: Work, run_id: str) -> Mapping[str, Any]:
        return self.invoke(work, run_id, None)

    async def many(self, work: Work, run_ids: Sequence[str], values: Mapping[str, Any]) -> None:
        async with AsyncSqliteSaver.from_conn_string(self.place) as saver:
            graph = self.builder(work).compile(checkpointer=saver)
            runs = [graph.ainvoke(values, config(one), durability=self.durability) for one in run_ids]
            await asyncio.gather(*runs)


class Sync(LangGraph):
    name = "langgraph sync"
    durability = "sync"
    configured = 'SqliteSaver, durability="sync"'


class Async(LangGraph):
    name = "langgraph async"
    durability = "async"
    behind = True
    configured = 'SqliteSaver, durability="async", the default'


class Delta(Sync):
    name = "langgraph delta"
    configured = 'SqliteSaver, durability="sync", the list in a DeltaChannel (beta)'
    only = "growing"

    def list_channel(self) -> Any:
        return DeltaChannel(lambda value, writes: [*value, *(item for write in writes for item in write)])


def config(run_id: str) -> dict[str, Any]:
    return {"configurable": {"thread_id": run_id}, "recursion_limit": 10**6}


def one_more(node: Any, key: str) -> Any:
    """A reducer adds what a node returns to the list; here a list of the one item."""

    def wrapped(state: Mapping[str, Any]) -> dict[str, Any]:
        changes: dict[str, Any] = node(state)
        return changes | {key: [changes[key]]} if key in changes else changes

    return wrapped
