"""No code of ours runs when a last reference goes: what Ctrl-C raises there is printed and lost."""

from __future__ import annotations

import gc
import os
import sys
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from engine_steps import config

from tau import ExecutionError, State, StateGraph, open_store
from tau.host import Host
from tau.stores.disk import Descriptor
from tau.stores.memory import MemoryStore


def descriptor(place: Path) -> Descriptor:
    return Descriptor(str(place), os.O_RDONLY)


def work(_: Path) -> tuple[Any, ...]:
    host = Host()
    return host, host.hold(host.owner(60.0))


def stores(place: Path) -> tuple[Any, ...]:
    made = open_store(f"sqlite:///{place}/a.db"), open_store(f"file://{place}/files"), MemoryStore()
    for store in made:
        store.summary("nobody")
        _ = store.committer
    return made


def runs(_: Path) -> tuple[Any, ...]:
    graph = StateGraph(config(MemoryStore(), observer=["slog"]))
    graph.add_node("node", lambda state: {"seen": len(state["given"])})
    graph.sequence("node")
    return graph, graph.execute({"given": [1, 2, 3]}, run_id="r")


@pytest.mark.parametrize("make", [descriptor, work, stores, runs])
def test_what_goes_with_its_last_reference_calls_no_python(make: Callable[[Path], Any], tmp_path: Path) -> None:
    gc.collect()
    held = [make(tmp_path)]
    called: list[str] = []

    def note(frame: FrameType, event: str, _: Any) -> None:
        module = frame.f_globals.get("__name__", "")
        if event == "call" and module.partition(".")[0] in ("tau", "weakref", "_weakrefset"):
            called.append(f"{frame.f_code.co_filename}: {frame.f_code.co_qualname}")

    sys.setprofile(note)
    held.clear()
    gc.collect()
    sys.setprofile(None)
    assert called == []


@pytest.mark.parametrize("stored", [False, True])
def test_what_a_failed_node_held_goes_with_its_error(stored: bool) -> None:
    """An error that was kept by its own traceback held gigabytes until the garbage collector came."""

    class Large:
        pass

    held: list[weakref.ref[Large]] = []

    def node(state: State) -> None:
        large = Large()
        held.append(weakref.ref(large))
        raise ValueError("broke")

    graph = StateGraph("g", store=MemoryStore() if stored else None)
    graph.add_node("node", node, version="1")
    graph.sequence("node")
    gc.collect()
    gc.disable()
    try:
        with suppress(ExecutionError):
            graph.execute({})
        assert held[0]() is None
    finally:
        gc.enable()
