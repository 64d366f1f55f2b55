"""Stores for the engine's tests, and small graphs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tau import CheckpointConfig, GraphConfig, State, StateGraph, open_store
from tau.observers import Recorder
from tau.stores.contract import Store
from tau.stores.file import FileStore
from tau.stores.memory import MemoryStore
from tau.stores.postgres import PostgresStore
from tau.stores.redis import RedisStore
from tau.stores.s3 import S3Store
from tau.stores.sqlite import SQLiteStore


def _opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made = {
        "memory": MemoryStore,
        "sqlite": lambda: open_store(f"sqlite:///{tmp_path}/runs.db"),
        "file": lambda: open_store(f"file://{tmp_path}/runs"),
        "postgres": lambda: open_store(request.getfixturevalue("postgres_url")),
        "redis": lambda: open_store(request.getfixturevalue("redis_url")),
        "s3": lambda: open_store(request.getfixturevalue("s3_url")),
    }[request.param]()
    yield made
    made.close()


store = pytest.fixture(params=["memory", "sqlite", "file"])(_opened)
with_servers = pytest.fixture(params=["memory", "sqlite", "file", "postgres", "redis", "s3"], name="store")(_opened)
"""For the files whose tests are worth a server: imported there, it takes the place of the other one."""


@contextmanager
def elsewhere(store: Store) -> Iterator[Store]:
    """The same place as another process would open it; a memory store is that process's own, so it is itself."""
    if isinstance(store, MemoryStore):
        yield store
        return
    store.close()
    kind = type(store)
    assert issubclass(kind, SQLiteStore | FileStore | PostgresStore | RedisStore | S3Store)
    with kind(getattr(store, "path", None) or getattr(store, "root", None) or store.location) as fresh:
        yield fresh


def config(store: Any, *, observer: Any = "noop", name: str = "g", **options: Any) -> GraphConfig:
    limits = {key: options.pop(key) for key in ("max_iterations", "snapshots") if key in options}
    checkpoint = CheckpointConfig(store=store, **{"interval": 1, "preserve": True, **options})
    return GraphConfig(name, observer=observer, checkpoint=checkpoint, **limits)


def run(store: Any, *nodes: Any, given: dict[str, Any] | None = None, **options: Any) -> State:
    """The final state of a run ``r`` of these nodes, one after the other, each with a version."""
    graph = StateGraph(config(store, **options))
    for number, node in enumerate(nodes):
        graph.add_node(f"n{number}", node, version="1")
    graph.sequence(*(f"n{number}" for number in range(len(nodes))))
    return graph.execute(given or {}, run_id="r")


class Steps:
    """A graph of named steps; each notes that it ran, and fails while it is told to."""

    def __init__(self, store: Any = None, names: str = "abcd", **options: Any) -> None:
        self.ran: list[str] = []
        self.failing: set[str] = set()
        self.during: dict[str, Any] = {}
        self.recorder = Recorder()
        self.names = names
        self._config = (
            GraphConfig("g", observer=self.recorder)
            if store is None
            else config(store, observer=self.recorder, **options)
        )
        self.graph = self.build()

    def build(self) -> StateGraph:
        """A new graph of the same nodes, as another process would have it."""
        graph = StateGraph(self._config)
        for name in self.names:
            graph.add_node(name, self._step(name), version="1")
        graph.sequence(*self.names)
        return graph

    def _step(self, name: str) -> Any:
        def step(state: State) -> dict[str, Any]:
            self.ran.append(name)
            self.during.get(name, lambda: None)()
            if name in self.failing:
                raise ValueError(f"{name} broke")
            return {name: len(self.ran), "path": [*state.get("path", []), name]}

        return step

    def types(self) -> list[str]:
        return [event.type for event in self.recorder.events]
