"""Branches that go round many times: a resume reads what is newest, and finds all of it."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from engine_steps import config

from tau import Context, ExecutionError, State, StateGraph, branches_node
from tau.log.loading import BlobLoader
from tau.log.records import CheckpointRecord
from tau.log.replay import Replay
from tau.stores.contract import Store
from tau.stores.registry import resolve_store

LAPS = 150


class Laps:
    """Notes each lap that is made; with ``breaks``, the last one of each branch fails."""

    def __init__(self, *, breaks: bool) -> None:
        self.breaks = breaks
        self.made: Counter[tuple[str, int]] = Counter()

    def branch(self, name: str) -> StateGraph:
        rows = f"rows {name}"

        def lap(state: State, ctx: Context) -> dict[str, Any]:
            number = state.get(name, 0) + 1
            if name == "a":  # beside a step no branch writes a manifest
                number = ctx.step("number", int, number)
            if self.breaks and number == LAPS:
                raise ValueError("stop here")
            self.made[name, number] += 1
            return {name: number, rows: [*state.get(rows, ()), f"{number} " + "x" * 40]}

        async def lap_later(state: State, ctx: Context) -> dict[str, Any]:
            await asyncio.sleep(0)
            return lap(state, ctx)

        graph = StateGraph(name)
        graph.add_node("lap", lap_later if name == "later" else lap, version="1")
        graph.add_edge("lap", "lap", lambda state: state[name] < LAPS)
        graph.add_node("close", lambda state: {f"{name} done": True}, version="1")
        graph.add_edge("lap", "close")
        graph.set_entry_point("lap")
        graph.set_exit_point("close")
        return graph

    def graph(self, store: Store, interval: int = 1) -> StateGraph:
        graph = StateGraph(config(store, interval=interval))
        graph.add_node("before", lambda state: {"still": "here" * 300}, version="1")
        branches = {name: self.branch(name) for name in ("a", "b", "later")}
        graph.add_node("all", branches_node(branches))
        graph.sequence("before", "all")
        return graph

    def all_once(self) -> bool:
        return self.made == Counter({(name, n): 1 for name in ("a", "b", "later") for n in range(1, LAPS + 1)})


@pytest.mark.parametrize("kind", ["threads", "loop"])
def test_a_resume_reads_from_the_newest_manifest_and_finds_every_branch(store: Store, kind: str) -> None:
    laps = Laps(breaks=True)

    def run(name: str, *given: Any) -> State:
        graph = laps.graph(store)
        if kind == "threads":
            return getattr(graph, name)(*given, run_id="r")
        return asyncio.run(getattr(graph, f"a{name}")(*given, run_id="r"))

    with pytest.raises(ExecutionError, match="3 of 3 branches failed"):
        run("execute", {})
    summary = store.summary("r")
    assert summary is not None
    assert summary.position > 4 * LAPS
    assert summary.base > 2 * LAPS  # and no longer the first record
    laps.breaks = False
    final = run("resume")
    assert laps.all_once()
    assert {name: len(final[f"rows {name}"]) for name in ("a", "b", "later")} == dict.fromkeys(
        ("a", "b", "later"), LAPS
    )
    assert final["still"] == "here" * 300


def test_each_manifest_says_what_all_before_it_adds_up_to(tmp_path: Path) -> None:
    """Written by one of several threads while others are in the middle of their visits, and at any interval."""
    for interval in (1, 5):
        store = resolve_store(f"sqlite:///{tmp_path}/{interval}.db")
        laps = Laps(breaks=False)
        laps.graph(store, interval).execute({}, run_id="r")
        whole, inside = Replay("r", BlobLoader(store, "r")), 0
        for position, data in store.scan("r"):
            record = whole.add(position, data)
            if isinstance(record, CheckpointRecord) and record.manifest is not None and record.scope:
                alone = Replay("r", BlobLoader(store, "r"))
                alone.add(position, data)
                assert in_flight(alone) == in_flight(whole)
                inside += 1
        assert inside > 2
        store.close()


def in_flight(replay: Replay) -> Any:
    cells = {scope: {key: cell.whole for key, cell in one.changed.items()} for scope, one in replay.subgraphs.items()}
    progress = {scope: (one.progress, one.removed) for scope, one in replay.subgraphs.items()}
    assert not replay.items
    return cells, progress, {key: cell.whole for key, cell in replay.values.items()}
