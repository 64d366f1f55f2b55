"""What threads of a node read and ask is theirs: one value for all of them, and the run they are in."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from engine_steps import config

import tau
from tau import State, StateGraph
from tau.stores.contract import Store
from tau.stores.memory import MemoryStore


@pytest.fixture
def switching() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def at_once(count: int, work: Callable[[int], object]) -> None:
    gate = threading.Barrier(count)

    def enter(number: int) -> None:
        gate.wait()
        work(number)

    threads = [threading.Thread(target=enter, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.usefixtures("switching")
def test_threads_that_read_one_key_at_once_change_one_value() -> None:
    graph = StateGraph(config(MemoryStore()))

    def fan(state: State) -> None:
        at_once(8, lambda number: state["items"].append(str(number)))

    graph.add_node("fan", fan)
    graph.sequence("fan")
    for run in range(20):
        final = graph.execute({"items": [[n] for n in range(2000)]}, run_id=f"r{run}")
        assert sorted(final["items"][2000:]) == [str(number) for number in range(8)]


@pytest.mark.usefixtures("switching")
def test_threads_that_read_a_long_text_at_once_all_get_it() -> None:
    """It is shared from the first read on, and what it was decoded from is let go."""
    graph = StateGraph(config(MemoryStore()))
    text = "text" * 1000
    found: list[Any] = []

    def fan(state: State) -> None:
        at_once(8, lambda number: found.append(state["text"]))

    graph.add_node("first", lambda state: 1 / 0 if "failed" not in state else None, version="1")
    graph.add_node("fan", fan, version="1")
    graph.sequence("first", "fan")
    for run in range(20):
        with pytest.raises(tau.ExecutionError):
            graph.execute({"text": text}, run_id=f"r{run}")
        graph.store.save(graph.store.load(f"r{run}").set("failed", True))
        graph.resume(f"r{run}")
    assert found == [text] * 160


def test_a_thread_that_goes_on_reading_does_not_make_its_node_fail(store: Store) -> None:
    """What it reads after the node has returned counts for nothing."""
    graph = StateGraph(config(store))
    end = threading.Event()
    left: list[threading.Thread] = []

    def node(state: State) -> dict[str, Any]:
        def read() -> None:
            while not end.is_set():
                for key in [*state]:
                    _ = state.set("x", 1)[key]

        left.append(threading.Thread(target=read))
        left[0].start()
        return {"done": state["0"]}

    graph.add_node("node", node)
    graph.sequence("node")
    try:
        assert graph.execute({str(number): [number] for number in range(300)}, run_id="r")["done"] == [0]
    finally:
        end.set()
        left[0].join()


@pytest.mark.parametrize("timeout", [None, 30.0])
@pytest.mark.parametrize("inner_timeout", [None, 30.0])
def test_a_run_inside_a_node_has_its_own_context_and_steps(timeout: float | None, inner_timeout: float | None) -> None:
    inner = StateGraph(config(MemoryStore()))
    store = MemoryStore()

    def work(state: State) -> dict[str, Any]:
        here = tau.current()
        state.checkpoint(inner.store)
        return {"who": (here.run_id, here.node), "step": here.step("s", lambda: 5)}

    inner.add_node("work", work, timeout=inner_timeout)
    inner.sequence("work")
    outer = StateGraph(config(store))

    def call(state: State, context: tau.Context) -> dict[str, Any]:
        before = tau.current().step("before", lambda: 1)
        found = inner.execute({}, run_id=f"{context.run_id}/inner")
        state.checkpoint(store)
        here = tau.current()
        return {
            "who": found["who"],
            "steps": [before, found["step"], here.step("after", lambda: 2)],
            "after": here.node,
        }

    outer.add_node("call", call, timeout=timeout)
    outer.sequence("call")
    final = outer.execute({}, run_id="o")
    assert dict(final) == {"who": ("o/inner", "work"), "steps": [1, 5, 2], "after": "call"}


@pytest.mark.parametrize("timeout", [None, 30.0])
async def test_a_run_inside_an_async_runs_node_has_its_own_context(timeout: float | None) -> None:
    inner = StateGraph(config(MemoryStore()))
    inner.add_node("work", lambda state: {"who": tau.current().run_id, "step": tau.current().step("s", lambda: 5)})
    inner.sequence("work")
    outer = StateGraph(config(MemoryStore()))
    outer.add_node("call", lambda state: dict(inner.execute({}, run_id="i")), timeout=timeout)
    outer.sequence("call")
    assert dict(await outer.aexecute({}, run_id="o")) == {"who": "i", "step": 5}
