"""What is finished inside a node is found again: maps and chains whose items survive failures, kills and resumes."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tau import (
    ChainConfig,
    CheckpointConfig,
    ConfigError,
    Context,
    ExecutionError,
    GraphConfig,
    ParallelConfig,
    Retry,
    RunCancelledError,
    State,
    StateGraph,
    UnserializableError,
    chain_node,
    current,
    open_store,
    parallel_node,
    process_chain,
    process_parallel,
)
from tau.errors import ParallelError
from tau.observers import Recorder
from tau.stores.contract import Store
from tau.stores.memory import MemoryStore

Node = Callable[[State, Context], Any]


def graph_of(store: Any, node: Node) -> StateGraph:
    graph = StateGraph("g", store=store)
    graph.add_node("node", node, version="1")
    graph.sequence("node")
    return graph


class Calls:
    """Counts what was called with what, and breaks at what it is told to."""

    def __init__(self, *breaks: Any) -> None:
        self.counts: Counter[Any] = Counter()
        self.breaks = list(breaks)
        self._lock = threading.Lock()

    def __call__(self, item: Any, *more: Any) -> Any:
        with self._lock:
            self.counts[repr(item)] += 1
            if item in self.breaks:
                raise ValueError(f"{item!r} broke")
        return (item, *more)

    async def later(self, item: Any, *more: Any) -> Any:
        await asyncio.sleep(0)
        return self(item, *more)


def mapping(calls: Calls, how: str, items: Any, **options: Any) -> Node:
    """A node that maps: by `Context.map` or `process_parallel`, in threads or tasks."""

    def threads(state: State, ctx: Context) -> Any:
        if how == "map":
            return {"out": ctx.map("m", calls, items(), workers=3, **options)}
        config = ParallelConfig(max_workers=3, **options)
        return {"out": process_parallel(items(), calls, config, name="m").results}

    async def tasks(state: State, ctx: Context) -> Any:
        if how == "async map":
            return {"out": await ctx.map("m", calls.later, items(), workers=3, **options)}
        config = ParallelConfig(max_workers=3, **options)
        return {"out": (await process_parallel(items(), calls.later, config, name="m")).results}

    return tasks if how.startswith("async") else threads


HOWS = ["map", "parallel", "async map", "async parallel"]


@pytest.mark.parametrize("how", HOWS)
def test_a_finished_item_is_never_called_again(store: Store, how: str) -> None:
    """W19, for maps: 14 of 15 items are done when the last one fails; the resume calls that one only."""
    calls = Calls(14)
    node = mapping(calls, how, lambda: range(15))
    with pytest.raises(ExecutionError, match="14 broke"):
        graph_of(store, node).execute({}, run_id="r")
    done = [item for item in range(14) if calls.counts[repr(item)]]
    calls.breaks.clear()
    final = graph_of(store, node).resume("r")
    assert final["out"] == [(item,) for item in range(15)]
    assert {item: calls.counts[repr(item)] for item in done} == dict.fromkeys(done, 1)
    assert calls.counts["14"] == 2


@pytest.mark.parametrize("how", ["map", "async map"])
def test_another_order_and_more_items_cost_nothing_more(store: Store, how: str) -> None:
    """An item is known by what it is, not by its place; equal ones are counted."""
    calls, given = Calls("x"), ["a", "b", "b", "c", "x"]

    def threads(state: State, ctx: Context) -> Any:
        return {"out": ctx.map("m", calls, given, workers=1)}

    async def tasks(state: State, ctx: Context) -> Any:
        return {"out": await ctx.map("m", calls.later, given, workers=1)}

    node = threads if how == "map" else tasks
    with pytest.raises(ExecutionError, match="'x' broke"):
        graph_of(store, node).execute({}, run_id="r")
    calls.breaks.clear()
    given[:] = ["new", "c", "b", "x", "a", "b", "b"]
    assert graph_of(store, node).resume("r", on_change="continue")["out"] == [(item,) for item in given]
    assert calls.counts == {"'a'": 1, "'b'": 3, "'c'": 1, "'x'": 2, "'new'": 1}


@pytest.mark.parametrize("how", ["sync", "async"])
@pytest.mark.parametrize("broken", [0, 1, 5])
def test_a_chain_goes_on_with_the_step_that_was_in_flight(store: Store, how: str, broken: int) -> None:
    """W19."""
    calls = Calls(broken)

    def step(item: int, state: list[int]) -> list[int]:
        calls(item)
        return [*state, item]

    async def step_async(item: int, state: list[int]) -> list[int]:
        return step(item, state)

    def node(state: State, ctx: Context) -> Any:
        return {"out": process_chain(range(6), [], step, ChainConfig(capture_intermediate=True)).intermediate}

    async def node_async(state: State, ctx: Context) -> Any:
        config = ChainConfig(capture_intermediate=True)
        return {"out": (await process_chain(range(6), [], step_async, config)).intermediate}

    chosen = node if how == "sync" else node_async
    with pytest.raises(ExecutionError, match=f"chain failed at step {broken}"):
        graph_of(store, chosen).execute({}, run_id="r")
    calls.breaks.clear()
    final = graph_of(store, chosen).resume("r")
    assert final["out"] == tuple(list(range(length)) for length in range(7))
    assert calls.counts == {repr(item): 1 + (item == broken) for item in range(6)}


def test_a_chain_over_the_state_of_the_graph_is_kept_too(store: Store) -> None:
    calls = Calls("c")

    def step(item: str, state: State) -> State:
        calls(item)
        return state.drop("gone").set("all", [*state.get("all", []), item])

    def node(state: State) -> State:
        return process_chain("abcd", state, step).final

    graph = StateGraph("g", store=store)
    graph.add_node("node", node, version="1")
    graph.sequence("node")
    with pytest.raises(ExecutionError, match="'c' broke"):
        graph.execute({"gone": 1, "kept": [2]}, run_id="r")
    calls.breaks.clear()
    assert dict(graph.resume("r")) == {"kept": [2], "all": list("abcd")}
    assert calls.counts == {"'a'": 1, "'b'": 1, "'c'": 2, "'d'": 1}


@pytest.mark.parametrize("change", ["initial", "first"])
def test_nothing_of_a_chain_is_taken_for_done_behind_a_change(change: str) -> None:
    """A step is known by all that came before it."""
    calls, given = Calls("d"), {"initial": ["0"], "items": ["a", "b", "c", "d"]}

    def step(item: str, state: list[str]) -> list[str]:
        calls(item)
        return [*state, item]

    def node(state: State, ctx: Context) -> Any:
        return {"out": process_chain(given["items"], given["initial"], step).final}

    store = MemoryStore()
    with pytest.raises(ExecutionError, match="'d' broke"):
        graph_of(store, node).execute({}, run_id="r")
    calls.breaks.clear()
    if change == "initial":
        given["initial"] = ["1"]
    else:
        given["items"] = ["A", "b", "c", "d"]
    final = graph_of(store, node).resume("r", on_change="error" if change == "initial" else "continue")
    assert final["out"] == [*given["initial"], *given["items"]]
    assert calls.counts["'b'"] == calls.counts["'c'"] == 2


def test_a_result_and_an_item_are_copies_as_a_resume_would_give_them() -> None:
    """So that what is done in place never makes a spared item differ from a computed one."""
    items = [[1], [2]]
    kept: list[Any] = []

    def grow(item: list[int]) -> list[int]:
        item.append(0)
        kept.append(item)
        return item

    def node(state: State, ctx: Context) -> Any:
        out = ctx.map("m", grow, items, workers=1)
        out[0].append("mine")
        assert items == [[1], [2]]
        assert kept == [[1, 0], [2, 0]]
        return {"out": out}

    assert graph_of(MemoryStore(), node).execute({})["out"] == [[1, 0, "mine"], [2, 0]]


def test_items_that_cannot_be_stored_are_named_by_a_key(store: Store) -> None:
    handles = [open(os.devnull) for _ in range(3)]  # noqa: SIM115
    seen: list[str] = []

    def use(handle: Any) -> str:
        seen.append(str(handles.index(handle)))
        if len(seen) == 3:
            raise ValueError("broke")
        return seen[-1]

    def unnamed(state: State, ctx: Context) -> Any:
        ctx.map("m", use, handles)

    def named(state: State, ctx: Context) -> Any:
        return {"out": ctx.map("m", use, handles, workers=1, key=handles.index)}

    with pytest.raises(ExecutionError, match=r"cannot be encoded: .*; name the items with key=") as caught:
        graph_of(store, unnamed).execute({})
    assert isinstance(caught.value.__cause__, ParallelError)
    assert isinstance(caught.value.__cause__.__cause__, UnserializableError)
    with pytest.raises(ExecutionError, match="broke"):
        graph_of(store, named).execute({}, run_id="r")
    assert graph_of(store, named).resume("r")["out"] == ["0", "1", "2"]
    assert seen == ["0", "1", "2", "2"]
    for handle in handles:
        handle.close()


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (lambda item: 1, "two items have the key 1"),
        (lambda item: None, "the key of an item is text or a whole number, found NoneType"),
        (lambda item: f"\udc80{item}", "the key of an item cannot contain lone surrogates"),
        (lambda item: True, "the key of an item is text or a whole number, found bool"),
    ],
)
def test_a_key_that_names_nothing_is_refused(key: Any, text: str) -> None:
    def node(state: State, ctx: Context) -> Any:
        ctx.map("m", str, range(3), key=key)

    with pytest.raises(ExecutionError, match=text):
        graph_of(MemoryStore(), node).execute({})


def test_keys_of_text_and_numbers_are_apart() -> None:
    def node(state: State, ctx: Context) -> Any:
        return {"out": ctx.map("m", repr, [1, "1"], key=lambda item: item)}

    assert graph_of(MemoryStore(), node).execute({})["out"] == ["1", "'1'"]


@pytest.mark.parametrize("kind", ["chain", "parallel", "async parallel"])
def test_workflows_as_nodes_keep_their_items(store: Store, kind: str) -> None:
    """W19, W61, W62."""
    calls = Calls(3)

    def step(item: int, state: tuple[Any, ...]) -> tuple[Any, ...]:
        return (*state, calls(item))

    def build() -> StateGraph:
        graph = StateGraph("g", store=store)
        if kind == "chain":
            graph.add_node("node", chain_node(range(5), (), step, into="out"))
        else:
            task = calls if kind == "parallel" else calls.later
            graph.add_node("node", parallel_node(lambda state: state["items"], task, into="out"), version="1")
        graph.sequence("node")
        return graph

    with pytest.raises(ExecutionError, match="3 broke"):
        build().execute({"items": list(range(5))}, run_id="r")
    done = {item for item, count in calls.counts.items() if item != "3"}
    calls.breaks.clear()
    assert list(build().resume("r")["out"]) == [(item,) for item in range(5)]
    assert all(calls.counts[item] == 1 for item in done)
    assert {"0", "1", "2"} & done


def test_failures_are_collected_by_index() -> None:
    calls = Calls(1, 3)

    def node(state: State, ctx: Context) -> Any:
        outcomes = ctx.map("m", calls, range(5), errors="collect")
        return {"out": [(one.index, one.status, one.value, str(one.error)) for one in outcomes]}

    assert graph_of(MemoryStore(), node).execute({})["out"] == [
        (0, "done", (0,), "None"), (1, "failed", None, "item 1: 1 broke"), (2, "done", (2,), "None"),
        (3, "failed", None, "item 3: 3 broke"), (4, "done", (4,), "None"),
    ]  # fmt: skip
    calls.breaks[:] = range(5)
    assert {row[1] for row in graph_of(MemoryStore(), node).execute({})["out"]} == {"failed"}


def test_a_result_that_cannot_be_stored_fails_its_item() -> None:
    def node(state: State, ctx: Context) -> Any:
        ctx.map("m", lambda item: threading.Lock(), [1])

    with pytest.raises(ExecutionError, match="lock, which cannot be stored"):
        graph_of(MemoryStore(), node).execute({})


@pytest.mark.parametrize(
    "second",
    [
        lambda ctx: ctx.map("m", str, [1]),
        lambda ctx: ctx.step("m", int),
        lambda ctx: process_chain([1], 0, max, name="m"),
    ],
)
def test_a_name_is_for_one_of_them_in_a_visit(second: Callable[[Context], Any]) -> None:
    def node(state: State, ctx: Context) -> Any:
        ctx.map("m", str, [1])
        second(ctx)

    with pytest.raises(ExecutionError, match="'m' in one visit, which resume could not tell apart") as caught:
        graph_of(MemoryStore(), node).execute({})
    assert isinstance(caught.value.__cause__, ConfigError)


def test_a_map_that_failed_may_be_tried_again_under_its_name() -> None:
    calls = Calls(2)

    def node(state: State, ctx: Context) -> Any:
        with pytest.raises(ParallelError):
            ctx.map("m", calls, range(3), workers=1)
        calls.breaks.clear()
        return {"out": ctx.map("m", calls, range(3), workers=1)}

    assert graph_of(MemoryStore(), node).execute({})["out"] == [(0,), (1,), (2,)]
    assert calls.counts == {"0": 1, "1": 1, "2": 2}


def test_maps_inside_of_items_have_names_of_their_own(store: Store) -> None:
    calls = Calls(("b", 2))

    def inner(letter: str) -> list[Any]:
        return process_parallel(
            [(letter, n) for n in range(3)], calls, ParallelConfig(max_workers=2), name="inner"
        ).results

    def node(state: State, ctx: Context) -> Any:
        return {"out": ctx.map("outer", inner, "abc", workers=1)}

    with pytest.raises(ExecutionError, match="broke"):
        graph_of(store, node).execute({}, run_id="r")
    done = {item for item, count in calls.counts.items() if item != "('b', 2)"}
    calls.breaks.clear()
    assert graph_of(store, node).resume("r")["out"] == [[((letter, n),) for n in range(3)] for letter in "abc"]
    assert all(calls.counts[item] == 1 for item in done)
    assert len(done) >= 3


def test_without_a_store_nothing_is_kept_and_nothing_needs_a_name() -> None:
    def node(state: State, ctx: Context) -> Any:
        twice = [ctx.map("m", lambda item: threading.Lock(), [1]) for _ in range(2)]
        return {"out": len(twice)}

    graph = StateGraph("g")
    graph.add_node("node", node)
    graph.sequence("node")
    assert graph.execute({})["out"] == 2


def test_a_map_works_from_any_thread_of_its_node(store: Store) -> None:
    def node(state: State, ctx: Context) -> Any:
        found: list[Any] = []
        thread = threading.Thread(target=lambda: found.append(ctx.map("m", str, range(5))))
        thread.start()
        thread.join()
        return {"out": found[0]}

    assert graph_of(store, node).execute({})["out"] == list("01234")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"workers": -1}, ": workers: expected"),
        ({"errors": "drop"}, "errors must be"),
        ({"timeout": 0}, "timeout"),
        ({"key": 5}, "key"),
    ],
)
def test_wrong_arguments_are_named(options: dict[str, Any], text: str) -> None:
    def node(state: State, ctx: Context) -> Any:
        ctx.map("m", str, [1], **options)

    with pytest.raises(ExecutionError, match=text) as caught:
        graph_of(MemoryStore(), node).execute({})
    assert isinstance(caught.value.__cause__, ConfigError)


PROGRAM = """
import asyncio, os, sys
from tau import ParallelConfig, StateGraph, process_chain, process_parallel
url, how, last = sys.argv[1], sys.argv[2], int(sys.argv[3])

def fit(item, *state):
    if item == last:
        os.kill(os.getpid(), 9)
    with open(sys.argv[4], "a") as calls:
        calls.write(f"{item}\\n")
    return [item, *state][-1] if not state else state[0] + item

async def fit_async(item, *state):
    await asyncio.sleep(0)
    return fit(item, *state)

def threads(state, ctx):
    return {"out": ctx.map("fit", fit, range(300), workers=4)}

async def tasks(state, ctx):
    return {"out": await ctx.map("fit", fit_async, range(300), workers=4)}

def chain(state, ctx):
    return {"out": process_chain(range(300), 0, fit).final}

graph = StateGraph("g", store=url)
graph.add_node("node", {"threads": threads, "tasks": tasks, "chain": chain}[how])
graph.sequence("node")
final = graph.execute({}, run_id="r", if_exists="resume")
assert final["out"] == (sum(range(300)) if how == "chain" else list(range(300)))
"""


@pytest.mark.parametrize("kind", ["sqlite", "file"])
@pytest.mark.parametrize(("how", "most"), [("threads", 8), ("tasks", 8), ("chain", 1)])
def test_a_kill_costs_what_was_in_flight(tmp_path: Path, kind: str, how: str, most: int) -> None:
    """At most twice the workers of 300 items are called again, after three kills."""
    url = f"sqlite:///{tmp_path}/r.db" if kind == "sqlite" else f"file:{tmp_path}/runs"
    calls, codes = tmp_path / "calls", []
    for last in (60, 180, 240, -1):
        command = [sys.executable, "-c", PROGRAM, url, how, str(last), str(calls)]
        codes.append(subprocess.run(command, capture_output=True, timeout=120, check=False).returncode)
    assert codes == [-9, -9, -9, 0]
    counts = Counter(calls.read_text().split())
    assert set(counts) == set(map(str, range(300)))
    assert sum(counts.values()) - 300 <= 3 * most


def test_items_that_hang_past_their_timeout_hold_up_no_others() -> None:
    go = threading.Event()

    def task(item: int) -> int:
        if item < 5:
            go.wait(60)
        return item

    def node(state: State, ctx: Context) -> Any:
        outcomes = ctx.map("m", task, range(10), workers=2, timeout=1.0, errors="collect")
        return {"out": [one.status for one in outcomes]}

    try:
        assert graph_of(MemoryStore(), node).execute({})["out"] == ["failed"] * 5 + ["done"] * 5
    finally:
        go.set()


def test_an_item_that_ran_twice_at_a_time_is_done_once() -> None:
    """An earlier try that ended first took the key with it."""
    first, second = threading.Event(), threading.Event()

    def task(item: int) -> int:
        if not first.is_set():
            first.set()
            second.wait(60)
            return item
        second.set()
        return item

    def node(state: State, ctx: Context) -> Any:
        options: dict[str, Any] = {"timeout": 0.5, "idempotent": True, "retry": Retry(attempts=9, delay=0.0)}
        return {"out": ctx.map("m", task, [7], workers=2, **options)}

    assert graph_of(MemoryStore(), node).execute({})["out"] == [7]


@pytest.mark.parametrize("how", ["threads", "tasks", "chain"])
def test_inside_an_item_a_step_has_a_name_of_its_own(store: Store, how: str) -> None:
    calls = Calls(("b", 2))

    def work(item: str, *before: Any) -> list[Any]:
        return [*before, *(current().step(f"part {n}", calls, (item, n)) for n in range(3))]

    async def work_async(item: str) -> list[Any]:
        return [await current().step(f"part {n}", calls.later, (item, n)) for n in range(3)]

    def threads(state: State, ctx: Context) -> Any:
        return {"out": ctx.map("m", work, "abc", workers=1)}

    async def tasks(state: State, ctx: Context) -> Any:
        return {"out": await ctx.map("m", work_async, "abc", workers=1)}

    def chain(state: State, ctx: Context) -> Any:
        return {"out": process_chain("abc", [], lambda item, before: work(item, *before)).final}

    node = {"threads": threads, "tasks": tasks, "chain": chain}[how]
    with pytest.raises(ExecutionError, match="broke"):
        graph_of(store, node).execute({}, run_id="r")
    assert calls.counts == {repr(item): 1 for item in [*(("a", n) for n in range(3)), *(("b", n) for n in range(3))]}
    calls.breaks.clear()
    out = graph_of(store, node).resume("r")["out"]
    parts = [[((letter, n),) for n in range(3)] for letter in "abc"]
    assert out == ([part for of_one in parts for part in of_one] if how == "chain" else parts)
    assert {item for item, count in calls.counts.items() if count == 2} == {"('b', 2)"}


@pytest.mark.parametrize("stored", [False, True])
def test_a_chain_that_began_with_a_state_may_hand_on_something_else(stored: bool) -> None:
    def step(item: str, state: Any) -> Any:
        return {"old": dict(state), "item": item} if isinstance(state, State) else [state, item]

    def node(state: State) -> Any:
        return {"out": process_chain("ab", state, step).final}

    graph = StateGraph("g", store=MemoryStore() if stored else None)
    graph.add_node("node", node)
    graph.sequence("node")
    assert graph.execute({"x": 1})["out"] == [{"old": {"x": 1}, "item": "a"}, "b"]


@pytest.mark.parametrize("how", ["map", "async map"])
def test_a_map_of_a_run_that_was_taken_over_ends_with_that(how: str) -> None:
    """What was on its way into the store in the background was dropped without a word."""
    store = MemoryStore()
    calls, before = Calls(), list[int]()

    def take_over(item: int) -> int:
        calls(item)
        if item == 3:
            graph_of(store, lambda state: None).cancel("r")
            before.append(calls.counts.total())
        return item

    async def take_over_later(item: int) -> int:
        return take_over(item)

    def threads(state: State, ctx: Context) -> Any:
        return {"out": ctx.map("m", take_over, range(100), workers=2)}

    async def tasks(state: State, ctx: Context) -> Any:
        return {"out": await ctx.map("m", take_over_later, range(100), workers=2)}

    with pytest.raises(RunCancelledError):
        graph_of(store, threads if how == "map" else tasks).execute({}, run_id="r")
    assert calls.counts.total() - before[0] < 12


@pytest.mark.parametrize("how", ["map", "async map", "chain"])
def test_large_results_are_not_kept_in_memory_once_they_are_stored(tmp_path: Path, how: str) -> None:
    def large(item: int, *before: bytes) -> bytes:
        return os.urandom(1 << 20)

    async def later(item: int) -> bytes:
        return large(item)

    held: list[int] = []

    def node(state: State, ctx: Context) -> None:
        process_chain(range(20), b"", large) if how == "chain" else ctx.map("m", large, range(20), workers=2)
        held.append(tracemalloc.get_traced_memory()[0])

    async def node_async(state: State, ctx: Context) -> None:
        await ctx.map("m", later, range(20), workers=2)
        held.append(tracemalloc.get_traced_memory()[0])

    with open_store(f"file:{tmp_path}") as store:
        tracemalloc.start()
        try:
            graph_of(store, node_async if how == "async map" else node).execute({})
        finally:
            tracemalloc.stop()
    assert held[0] < 5 << 20


@pytest.mark.parametrize("stored", [False, True])
def test_a_map_that_is_not_awaited_fails_its_node(stored: bool) -> None:
    async def node(state: State, ctx: Context) -> None:
        ctx.map("m", Calls().later, range(3))

    graph = StateGraph("g", store=MemoryStore() if stored else None)
    graph.add_node("node", node, version="1")
    graph.sequence("node")
    with pytest.raises(ExecutionError, match=r"did not await map 'm', .* write await ctx\.map\('m', \.\.\.\)"):
        graph.execute({})


def test_an_interrupt_as_an_item_is_handed_over_leaves_nothing_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """The node's end waited for ever for a ticket that the committer had never been given."""
    store = MemoryStore()

    def node(state: State, ctx: Context) -> Any:
        return {"out": process_chain(range(5), 0, max).final}

    def broken_off(*_: Any) -> None:
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(store.committer, "soon", broken_off)
    with pytest.raises(KeyboardInterrupt):
        graph_of(store, node).execute({}, run_id="r")
    assert graph_of(store, node).resume("r")["out"] == 4


def test_an_item_is_not_called_beside_an_earlier_call_of_its_own(store: Store) -> None:
    """One that had timed out was called again by the node's next attempt."""
    go, at_work, most = threading.Event(), list[int](), list[int]()

    def task(item: int) -> int:
        at_work.append(item)
        most.append(len(at_work))
        if item == 1:
            go.wait(60)
        at_work.remove(item)
        return item

    def node(state: State, ctx: Context) -> Any:
        return {"out": ctx.map("m", task, [1], workers=1, timeout=0.05)}

    graph = StateGraph("g", store=store)
    graph.add_node("node", node, version="1", retry=Retry(attempts=3, delay=0.0))
    graph.sequence("node")
    try:
        with pytest.raises(ExecutionError, match="is still at work; wait for its end, or allow both"):
            graph.execute({}, run_id="r")
        with pytest.raises(ExecutionError, match="is still at work"):
            graph_of(store, node).resume("r")
    finally:
        go.set()
    assert most == [1]
    deadline = time.monotonic() + 60
    while at_work:
        assert time.monotonic() < deadline
    final = None
    while final is None:
        with suppress(ExecutionError):
            final = graph_of(store, node).resume("r")
        assert time.monotonic() < deadline
    assert final["out"] == [1]


@pytest.mark.parametrize("how", ["map", "async map", "chain"])
@pytest.mark.parametrize("count", [1, 40])
def test_a_checkpoint_that_items_brought_into_the_store_is_told_once(how: str, count: int) -> None:
    async def later(item: int) -> int:
        return item

    def node(state: State, ctx: Context) -> None:
        ctx.map("m", abs, range(count), workers=8) if how == "map" else process_chain(range(count), 0, max)

    async def node_async(state: State, ctx: Context) -> None:
        await ctx.map("m", later, range(count), workers=8)

    recorder = Recorder()
    config = GraphConfig("g", observer=recorder, checkpoint=CheckpointConfig(interval=3, preserve=True))
    graph = StateGraph(config, store=MemoryStore())
    graph.add_node("first", lambda state: {"a": 1}, version="1")
    graph.add_node("second", node_async if how == "async map" else node, version="1")
    graph.sequence("first", "second")
    graph.execute({})
    told = [event.data["node"] for event in recorder.events if event.type == "checkpoint.save"]
    assert told == ["first", "second"]
