"""The engine itself as a subject: a graph of a few nodes on a real store."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import math
import os
import signal
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from subjects import NODES, Place, Subject, settle_database

from tau import CheckpointConfig, Event, GraphConfig, State, StateGraph, open_store
from tau.engine.provenance import provenance
from tau.stores.names import TEMPORARY

RUN = "climate/2024: ü"


def noise(seed: str, size: int) -> bytes:
    """Bytes that do not compress, the same every time."""
    return b"".join(hashlib.sha256(f"{seed}{i}".encode()).digest() for i in range(size // 32))


def values(node: str, state: Mapping[str, Any], size: int) -> dict[str, Any]:
    """What a node sets: a large and a small value, kinds that careless encodings change, and something that grows."""
    return {
        node: {"table": (1, 2.5, math.nan, -0.0), "text": "\ud800 ü", "big": 10**40, 1: Decimal("1.10"), "1": None},
        f"{node}.blob": noise(node, size),
        "history": [*state.get("history", []), (node, len(state))],
    }


class Pipeline(Subject):
    """``nodes`` nodes in a row, under one run id, on the ``sqlite`` or the ``file`` store."""

    blob_bytes = 8192
    listening = False
    """Whether events that tell of damage are to be passed on to the log."""
    freeze_in: str | None = None
    """The node that stops its process until somebody continues it."""

    def __init__(self, store: str, nodes: int = 4, interval: int = 1, preserve: bool = True) -> None:
        self.kind = store
        self.nodes = NODES[:nodes]
        self.interval = interval
        self.preserve = preserve
        self.held_back = interval

    def warm(self, place: Place) -> None:
        self.graph(place).freeze()
        provenance()
        State.from_bytes(State(values("warm", {}, 64)).to_bytes())["warm"]

    def enter(self, place: Place, node: str) -> None:
        super().enter(place, node)
        if node == self.freeze_in:
            os.kill(os.getpid(), signal.SIGSTOP)

    def url(self, place: Place) -> str:
        where = place.store.resolve()
        return f"sqlite:///{where}/runs.db" if self.kind == "sqlite" else f"file://{where}/runs"

    def graph(self, place: Place, lease: float = 60.0) -> StateGraph:
        checkpoint = CheckpointConfig(
            store=self.url(place), interval=self.interval, preserve=self.preserve, lease=lease
        )
        graph = StateGraph(GraphConfig("climate", observer="noop", checkpoint=checkpoint))
        for name in self.nodes:
            graph.add_node(name, self.node(place, name))
        for source, target in zip(self.nodes, self.nodes[1:], strict=False):
            graph.add_edge(source, target)
        graph.set_entry_point(self.nodes[0])
        graph.set_exit_point(self.nodes[-1])
        return graph

    def node(self, place: Place, name: str) -> Callable[[State], dict[str, Any]]:
        def run(state: State) -> dict[str, Any]:
            self.enter(place, name)
            return values(name, state, self.blob_bytes)

        return run

    def start(self, place: Place) -> str:
        return render(self.graph(place).execute({"dataset": "mauna-loa"}, run_id=RUN))

    def resume(self, place: Place) -> str:
        return render(self.graph(place).resume(RUN, observer=self._listen if self.listening else None))

    def _listen(self, event: Event) -> None:
        if "damaged" in event.data:
            logging.getLogger("tau").warning("event: %s", event.data["damaged"])

    def close(self, place: Place) -> None:
        open_store(self.url(place)).close()

    def settle(self, place: Place) -> None:
        if self.kind == "sqlite":
            settle_database(place.store / "runs.db")

    def is_gone(self, found: dict[str, Any]) -> bool:
        return not self.preserve and found.get("error") == "RunFinishedError"

    def leftovers(self, place: Place) -> list[str]:
        files = place.files()
        if self.kind == "sqlite":
            return [name for name in files if name not in ("runs.db", "runs.db-wal", "runs.db-shm")]
        return [name for name in files if name.rpartition("/")[2].startswith(TEMPORARY)]


class AsyncPipeline(Pipeline):
    """The same with async nodes, started in an event loop; recovered by the blocking verbs."""

    def node(self, place: Place, name: str) -> Any:
        async def run(state: State) -> dict[str, Any]:
            await asyncio.sleep(0)
            self.enter(place, name)
            await asyncio.sleep(0)
            return values(name, state, self.blob_bytes)

        return run

    def start(self, place: Place) -> str:
        return render(asyncio.run(self.wrap(self.graph(place).aexecute({"dataset": "mauna-loa"}, run_id=RUN))))


def render(state: State) -> str:
    """Everything a state holds, exactly: kinds, order and identity of the run."""
    return f"{state.run_id!r} {state.checkpoint_node!r} {dict(state)!r}"
