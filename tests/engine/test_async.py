"""Async runs: the same engine in an event loop."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from engine_steps import Steps, config, with_servers

from tau import Context, Event, ExecutionError, NodeTimeoutError, RunInterruptedError, State, StateGraph, Stop, current
from tau.stores.contract import Store

__all__ = ["with_servers"]


def async_graph(store: Any, **options: Any) -> StateGraph:
    graph = StateGraph(config(store, **options) if store is not None else "g")

    async def fetch(state: State) -> dict[str, Any]:
        await asyncio.sleep(0)
        return {"fetched": state["x"] + 1}

    def compute(state: State) -> dict[str, Any]:
        return {"thread": threading.current_thread() is threading.main_thread()}

    async def send(state: State, context: Context) -> dict[str, Any]:
        await asyncio.sleep(0)
        return {"sent": context.run_id}

    graph.add_node("fetch", fetch, version="1")
    graph.add_node("compute", compute, version="1")
    graph.add_node("send", send, version="1")
    graph.sequence("fetch", "compute", "send")
    return graph


async def test_async_and_sync_nodes_run_in_one_graph(store: Store) -> None:
    final = await async_graph(store).aexecute({"x": 1}, run_id="r")
    assert dict(final) == {"x": 1, "fetched": 2, "thread": False, "sent": "r"}
    assert dict(await async_graph(store).aresume("r")) == dict(final)


def test_a_sync_execute_runs_async_nodes(store: Store) -> None:
    assert async_graph(store).execute({"x": 1}, run_id="r")["fetched"] == 2


async def test_a_sync_execute_inside_a_running_loop_runs_async_nodes(store: Store) -> None:
    assert async_graph(store).execute({"x": 1}, run_id="r")["sent"] == "r"


def test_all_async_nodes_of_a_sync_run_share_one_loop() -> None:
    loops = []

    async def node(state: State) -> None:
        loops.append(asyncio.get_running_loop())

    graph = StateGraph("g")
    graph.add_node("a", node)
    graph.add_node("b", node)
    graph.sequence("a", "b")
    graph.execute({})
    assert loops[0] is loops[1]
    assert loops[0].is_closed()


async def test_many_runs_at_once_share_commits_and_all_finish(store: Store) -> None:
    async def node(state: State) -> dict[str, Any]:
        await asyncio.sleep(0)
        return {"n": state["n"] + 1}

    graph = StateGraph(config(store))
    for name in "abcde":
        graph.add_node(name, node)
    graph.sequence(*"abcde")
    finals = await asyncio.gather(*(graph.aexecute({"n": 100 * i}, run_id=f"r{i}") for i in range(50)))
    assert [final["n"] for final in finals] == [100 * i + 5 for i in range(50)]
    assert {row.status for row in store.runs()} == {"finished"}


async def test_a_failure_is_the_same_as_in_a_sync_run(store: Store) -> None:
    async def broken(state: State) -> None:
        raise ValueError("broke")

    graph = StateGraph(config(store))
    graph.add_node("ok", lambda state: {"ok": 1})
    graph.add_node("broken", broken)
    graph.sequence("ok", "broken")
    with pytest.raises(ExecutionError, match="execution failed at node broken: node execution failed: broke"):
        await graph.aexecute({}, run_id="r")
    assert store.load("r")["ok"] == 1


async def test_an_async_node_is_cancelled_by_its_timeout(store: Store) -> None:
    cancelled = []

    async def slow(state: State) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    graph = StateGraph(config(store))
    graph.add_node("slow", slow, timeout=0.05)
    graph.sequence("slow")
    with pytest.raises(ExecutionError) as caught:
        await graph.aexecute({}, run_id="r")
    assert isinstance(caught.value.__cause__, NodeTimeoutError)
    assert cancelled == [True]


async def test_a_nodes_own_timeout_error_is_not_taken_for_the_engines(store: Store) -> None:
    async def node(state: State) -> None:
        raise TimeoutError("mine")

    graph = StateGraph(config(store))
    graph.add_node("node", node, timeout=30.0)
    graph.sequence("node")
    with pytest.raises(ExecutionError) as caught:
        await graph.aexecute({}, run_id="r")
    assert type(caught.value.__cause__) is TimeoutError


async def test_cancellation_stops_the_node_saves_and_is_not_swallowed(store: Store) -> None:
    entered = asyncio.Event()
    hang = [True]
    steps = Steps(store)

    async def node(state: State) -> dict[str, Any]:
        if hang:
            entered.set()
            await asyncio.Event().wait()
        return {"done": True}

    graph = StateGraph(config(store, observer=steps.recorder))
    graph.add_node("first", lambda state: {"first": 1}, version="1")
    graph.add_node("node", node, version="1")
    graph.sequence("first", "node")
    task = asyncio.ensure_future(graph.aexecute({}, run_id="r"))
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [row.status for row in store.runs()] == ["interrupted"]
    assert steps.types()[-1] == "graph.interrupted"
    hang.clear()
    assert dict(await graph.aresume("r")) == {"first": 1, "done": True}


async def test_a_stop_works_in_async_runs(store: Store) -> None:
    stop = Stop()
    stop.set("enough")
    with pytest.raises(RunInterruptedError, match="enough"):
        await async_graph(store).aexecute({"x": 1}, run_id="r", stop=stop)
    assert (await async_graph(store).aresume("r"))["sent"] == "r"


async def test_astream_yields_events_and_then_the_final_state(store: Store) -> None:
    items = [item async for item in async_graph(store).astream({"x": 1}, run_id="r")]
    assert isinstance(items[-1], State)
    assert items[-1]["sent"] == "r"
    types = [item.type for item in items[:-1] if isinstance(item, Event)]
    assert types[0] == "graph.start"
    assert types[-1] == "graph.complete"
    assert len(types) == len(items) - 1


async def test_astream_raises_what_the_run_raised(store: Store) -> None:
    graph = StateGraph(config(store))
    graph.add_node("broken", lambda state: 1 / 0)
    graph.sequence("broken")
    told: list[Any] = []

    async def follow() -> None:
        async for item in graph.astream({}, run_id="r"):
            told.append(item)  # noqa: PERF401 - the items before the error count

    with pytest.raises(ExecutionError):
        await follow()
    assert told[-1].type == "graph.failed"


async def test_closing_a_stream_early_stops_the_run_which_can_go_on_later(store: Store) -> None:
    stream = async_graph(store).astream({"x": 1}, run_id="r")
    async for _ in stream:
        break
    await stream.aclose()
    assert store.runs()[0].status in ("interrupted", "finished")
    assert (await async_graph(store).aresume("r"))["sent"] == "r"


async def test_current_finds_the_context_in_async_and_threaded_nodes(store: Store) -> None:
    seen = []

    async def one(state: State) -> None:
        await asyncio.sleep(0)
        seen.append((current().node, current().run_id))

    def two(state: State) -> None:
        seen.append((current().node, current().run_id))

    graph = StateGraph(config(store))
    graph.add_node("one", one)
    graph.add_node("two", two)
    graph.add_node("three", two, timeout=30.0)
    graph.sequence("one", "two", "three")
    await asyncio.gather(*(graph.aexecute({}, run_id=f"r{i}") for i in range(5)))
    assert sorted(seen) == sorted((node, f"r{i}") for i in range(5) for node in ("one", "two", "three"))


async def test_resources_reach_the_node_and_stay_out_of_the_state(store: Store) -> None:
    client = object()

    async def node(state: State, context: Context) -> dict[str, Any]:
        return {"same": context.resources["client"] is client}

    graph = StateGraph(config(store))
    graph.add_node("node", node)
    graph.sequence("node")
    final = await graph.aexecute({}, resources={"client": client})
    assert dict(final) == {"same": True}
