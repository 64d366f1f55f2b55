"""Workers that remove runs which have ended, by the retention of their graph."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from programs import until

import tau
from tau import CheckpointConfig, ConfigError, GraphConfig, Retention, StateGraph, Stop, open_store
from tau.errors import StoreUnavailableError
from tau.operations import serving
from tau.stores.contract import Store
from tau.stores.memory import MemoryStore
from tau.testing.store_wrappers import StoreWrapper


def doubling(store: Any, keep_last: int | None, on_double: Callable[[str], object] = str) -> StateGraph:
    retention = None if keep_last is None else Retention(keep_last=keep_last)
    checkpoint = CheckpointConfig(store=store, interval=1, preserve=True, retention=retention)
    graph = StateGraph(GraphConfig("doubling", observer="noop", checkpoint=checkpoint))

    def double(state: Any, ctx: tau.Context) -> dict[str, Any]:
        on_double(ctx.run_id)
        return {"x": state["x"] * 2}

    graph.add_node("double", double, version="1")
    graph.sequence("double")
    return graph


@pytest.mark.parametrize("once", [True, False])
@pytest.mark.parametrize("concurrency", [1, 2])
def test_a_worker_removes_runs_that_have_ended_by_the_retention_of_its_graph(
    once: bool, concurrency: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It keeps what another graph has made, and what could be resumed."""
    store = open_store(f"sqlite:///{tmp_path}/runs.db")
    monkeypatch.setattr(serving, "COLLECT_EVERY", 0.1)
    graph = doubling(store, 2)
    other = StateGraph("other", store=store)
    other.add_node("only", lambda state: None)
    other.sequence("only")
    for number in range(3):
        other.execute({}, run_id=f"other{number}")
        graph.admit({"x": number}, run_id=f"r{number}")
    store.save(tau.State({"x": 1}, run_id="by hand"))
    stop = Stop()

    def watch() -> None:
        until(lambda: len(store.runs(graph="doubling")) == 2)
        stop.set("enough")

    watcher = threading.Thread(target=watch)
    if not once:
        watcher.start()
    report = tau.worker(graph, once=once, concurrency=concurrency, gc=True, stop=stop)
    if not once:
        watcher.join()
    assert (report.finished, report.removed) == (3, 1)
    assert len(store.runs(graph="doubling", status="finished")) == 2
    assert {row.run_id for row in store.runs()} >= {"other0", "other1", "other2", "by hand"}


async def _nothing(state: Any) -> None:
    pass


def test_in_an_event_loop_it_does_so_beside_the_runs() -> None:
    store = MemoryStore()
    checkpoint = CheckpointConfig(store=store, interval=1, preserve=True, retention=Retention(keep_last=0))
    graph = StateGraph(GraphConfig("async", checkpoint=checkpoint))
    graph.add_node("only", _nothing)
    graph.sequence("only")
    for number in range(5):
        graph.admit({}, run_id=f"r{number}")
    report = tau.worker(graph, once=True, concurrency=2, gc=True)
    assert (report.finished, report.removed) == (5, 5)
    assert store.runs() == []


def test_without_a_retention_it_is_refused(store: Store) -> None:
    with pytest.raises(ConfigError, match=r"which runs of graph 'doubling' are kept.*Retention\(keep_last=100\)"):
        tau.worker(doubling(store, None), once=True, gc=True)


def test_a_store_that_cannot_remove_is_told_and_costs_no_run(caplog: pytest.LogCaptureFixture) -> None:
    class Keeping(StoreWrapper):
        def delete_at(self, run_id: str, position: int, keep_summary: bool = False) -> None:
            raise StoreUnavailableError("the disk is read only", location="here")

    store = Keeping(MemoryStore())
    graph = doubling(store, 0)
    for number in range(3):
        graph.admit({"x": number}, run_id=f"r{number}")
    report = tau.worker(graph, once=True, gc=True)
    assert (report.finished, report.removed) == (3, 0)
    assert "runs of doubling could not be removed" in caplog.text
    assert "the disk is read only" in caplog.text


def test_what_takes_long_to_remove_holds_up_no_run() -> None:
    """A run that is admitted as a worker removes others is taken before these are gone."""
    left: list[int] = []

    class Slow(StoreWrapper):
        def delete_at(self, run_id: str, position: int, keep_summary: bool = False) -> None:
            if not left:
                graph.admit({"x": 1}, run_id="late")
            left.append(len(self.store.runs(status="finished")))
            wait(0.2)
            super().delete_at(run_id, position, keep_summary)

    wait = threading.Event().wait
    store = Slow(MemoryStore())
    stop = Stop()

    def on_double(run_id: str) -> None:
        if run_id == "late":
            stop.set("enough")

    graph = doubling(store, 0, on_double)
    for number in range(30):
        graph.execute({"x": number}, run_id=f"r{number}")
    tau.worker(graph, gc=True, stop=stop)
    assert len(left) < 10
