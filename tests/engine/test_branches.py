"""Branches of a node: at once, each committed when it finishes, and joined as declared."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from engine_steps import config, elsewhere

from tau import (
    BranchError,
    ConfigError,
    Context,
    ExecutionError,
    MergeError,
    RunInterruptedError,
    RunWaitingError,
    State,
    StateGraph,
    Stop,
    branches_node,
    graph_node,
    open_store,
    pause_node,
)
from tau.log.encoding import unseal
from tau.log.records import CheckpointRecord, Item
from tau.stores.contract import Store

LONG = 30.0


def graph_of(store: Any, branches: Mapping[str, Any], **options: Any) -> StateGraph:
    graph = StateGraph("g") if store is None else StateGraph(config(store))
    graph.add_node("all", branches_node(branches, **options))
    graph.add_node("end", lambda state: {"end": True}, version="1")
    graph.sequence("all", "end")
    return graph


def setting(**changes: Any) -> Callable[[State], dict[str, Any]]:
    return lambda state: changes


def versioned(name: str, function: Callable[..., Any]) -> StateGraph:
    graph = StateGraph(name)
    graph.add_node(name, function, version="1")
    graph.sequence(name)
    return graph


@pytest.mark.parametrize("stored", [False, True])
def test_branches_run_at_once(tmp_path: Path, stored: bool) -> None:
    met = threading.Barrier(3)

    def meet(state: State) -> None:
        met.wait(LONG)

    store = f"sqlite:///{tmp_path}/r.db" if stored else None
    assert graph_of(store, {"a": meet, "b": meet, "c": meet}).execute({})["end"]


async def test_async_branches_run_at_once(store: Store) -> None:
    met: dict[str, asyncio.Event] = {"a": asyncio.Event(), "b": asyncio.Event()}

    def meet(mine: str, other: str) -> Callable[[State], Any]:
        async def call(state: State) -> dict[str, bool]:
            met[mine].set()
            await asyncio.wait_for(met[other].wait(), LONG)
            return {mine: True}

        return call

    state = await graph_of(store, {"a": meet("a", "b"), "b": meet("b", "a")}).aexecute({})
    assert dict(state) == {"a": True, "b": True, "end": True}


def test_a_branch_is_on_disk_when_it_is_finished_though_another_works_on(tmp_path: Path) -> None:
    with open_store(f"file://{tmp_path}/runs") as store, open_store(f"file://{tmp_path}/runs") as other:

        def quick(state: State) -> dict[str, int]:
            return {"quick": 1}

        def slow(state: State) -> dict[str, int]:
            ends = threading.Event()
            for _ in range(3000):
                found = [unseal("r", position, data) for position, data in other.read("r")]
                if any(isinstance(one, CheckpointRecord) and one.node == "quick" for one in found):
                    return {"slow": 1}
                ends.wait(0.01)
            raise TimeoutError

        state = graph_of(store, {"slow": slow, "quick": quick}).execute({}, run_id="r")
        assert dict(state) == {"slow": 1, "quick": 1, "end": True}


@pytest.mark.parametrize("is_async", [False, True])
def test_of_a_branch_that_fails_the_others_finish_and_it_alone_is_run_again(store: Store, is_async: bool) -> None:
    ran: list[str] = []
    failing = {"b", "c"}
    over = threading.Event()

    def work(name: str) -> Any:
        def call(state: State) -> dict[str, Any]:
            ran.append(name)
            if name in failing:
                over.set()
                raise ValueError(f"{name} broke")
            if failing:
                assert over.wait(LONG)
            return {name: 1}

        async def later(state: State) -> dict[str, Any]:
            return await asyncio.to_thread(call, state)

        return versioned(name, later if is_async else call)

    branches = {name: work(name) for name in "abc"}
    with pytest.raises(ExecutionError, match="2 of 3 branches failed") as caught:
        graph_of(store, branches).execute({}, run_id="r")
    found = caught.value.__cause__
    assert isinstance(found, BranchError)
    assert [*found.errors] == ["b", "c"]
    assert "all/b" in str(found)
    failing.clear()
    with elsewhere(store) as other:
        assert dict(graph_of(other, branches).resume("r")) == {"a": 1, "b": 1, "c": 1, "end": True}
    assert Counter(ran) == {"a": 1, "b": 2, "c": 2}


@pytest.mark.parametrize("stored", [False, True])
def test_two_branches_that_change_a_key_are_an_error_that_names_both(tmp_path: Path, stored: bool) -> None:
    store = f"sqlite:///{tmp_path}/r.db" if stored else None
    with pytest.raises(ExecutionError) as caught:
        graph_of(store, {"a": setting(x=1), "b": setting(y=2), "c": setting(x=1)}).execute({})
    found = caught.value.__cause__
    assert isinstance(found, MergeError)
    assert (found.key, found.branches) == ("x", ("a", "c"))
    assert "branches_node(..., merge={'x': 'append'})" in str(found)


def grown(key: str, *more: Any) -> Callable[[State], dict[str, Any]]:
    return lambda state: {key: [*state.get(key, []), *more]}


def counted(before: Any, given: list[Any]) -> Any:
    return [before, *given]


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize(
    ("how", "before", "given", "wanted"),
    [
        ("replace", 1, (2, 3), 3),
        ("append", [0], ([0, 1], [0, 2, 3]), [0, 1, 2, 3]),
        ("append", None, ([1], [2]), [1, 2]),
        ("append", (0,), ((0, 1), (0, 2)), (0, 1, 2)),
        ("append", "a", ("ab", "ac"), "abc"),
        ("add", 10, (11, 15), 16),
        ("add", None, (1, 2), 3),
        ("add", 1.5, (2.0, 1.0), 1.5),
        ("union", {1}, ({1, 2}, {1, 3}), {1, 2, 3}),
        ("union", frozenset({1}), (frozenset({1, 2}), frozenset()), frozenset({1, 2})),
        ("union", {"a": 1}, ({"a": 1, "b": 2}, {"a": 1, "c": 3}), {"a": 1, "b": 2, "c": 3}),
        (counted, 1, (2, 3), [1, 2, 3]),
        (counted, None, (2, 3), [None, 2, 3]),
    ],
)
def test_what_branches_set_is_joined_as_declared(
    *, tmp_path: Path, stored: bool, how: Any, before: Any, given: tuple[Any, Any], wanted: Any
) -> None:
    store = f"sqlite:///{tmp_path}/r.db" if stored else None
    graph = graph_of(store, {"a": setting(x=given[0]), "b": setting(x=given[1])}, merge={"x": how})
    assert graph.execute({} if before is None else {"x": before})["x"] == wanted


@pytest.mark.parametrize(
    ("how", "before", "given", "said"),
    [
        ("append", [0], ([1], [0, 2]), "changed what was there before"),
        ("append", [0], ([0, 1], (0, 2)), "only lists, tuples and texts of one type"),
        ("append", None, (1, 2), "only lists"),
        ("add", 1, ("a", "b"), "unsupported operand"),
        ("add", False, (True, True), "truth values"),
        ("union", {}, ({"a": 1}, {"a": 2}), "they set 'a' in it to different values"),
        ("union", None, ([1], [2]), "only sets, or only mappings"),
    ],
)
def test_what_cannot_be_joined_is_an_error(how: str, before: Any, given: tuple[Any, Any], said: str) -> None:
    graph = graph_of("memory:", {"a": setting(x=given[0]), "b": setting(x=given[1])}, merge={"x": how})
    with pytest.raises(ExecutionError) as caught:
        graph.execute({} if before is None else {"x": before})
    assert isinstance(caught.value.__cause__, MergeError)
    assert said in str(caught.value)


def test_the_order_of_finishing_never_counts(store: Store) -> None:
    first = threading.Event()

    def early(state: State) -> dict[str, Any]:
        first.set()
        return {"x": [*state["x"], "early"]}

    def late(state: State) -> dict[str, Any]:
        assert first.wait(LONG)
        return {"x": [*state["x"], "late"]}

    graph = graph_of(store, {"late": late, "early": early}, merge={"x": "append"})
    assert graph.execute({"x": []}, run_id="r")["x"] == ["late", "early"]


def test_one_removes_what_another_sets_is_a_conflict(store: Store) -> None:
    branches = {"a": lambda state: state.drop("x"), "b": setting(x=2)}
    with pytest.raises(ExecutionError, match="the branches 'a', 'b' all change 'x'"):
        graph_of(store, branches).execute({"x": 1}, run_id="r")
    assert "x" not in graph_of(store, {"a": branches["a"], "b": setting(y=1)}).execute({"x": 1}, run_id="s")


def test_outputs_are_for_branches_too(store: Store) -> None:
    inner = StateGraph("inner")
    inner.add_node("one", setting(x=1, y=1), version="1")
    inner.sequence("one")
    graph = graph_of(store, {"a": graph_node(inner, outputs=["x"]), "b": setting(y=2)})
    assert dict(graph.execute({}, run_id="r")) == {"x": 1, "y": 2, "end": True}


def test_steps_and_maps_of_branches_share_the_log(store: Store) -> None:
    """Threads of three branches commit steps and items of one run at the same time."""
    met = threading.Barrier(3)

    def work(name: str) -> Callable[..., Any]:
        def call(state: State, ctx: Context) -> dict[str, Any]:
            met.wait(LONG)
            steps = [ctx.step(f"s{number}", lambda number=number: number) for number in range(20)]
            return {name: [sum(steps), sum(ctx.map("m", lambda item: item, range(50), workers=4))]}

        return call

    state = graph_of(store, {name: work(name) for name in "abc"}).execute({}, run_id="r")
    assert [state[name] for name in "abc"] == [[190, 1225]] * 3
    with elsewhere(store) as other:
        found = [unseal("r", position, data) for position, data in other.read("r")]
    counts = Counter(one.scope[1][0] for one in found if isinstance(one, Item))
    assert counts == {"a": 70, "b": 70, "c": 70}
    assert [one.position for one in found] == [*range(1, len(found) + 1)]


def test_context_is_that_of_the_branch(store: Store) -> None:
    def about(state: State, ctx: Context) -> dict[str, Any]:
        name = ctx.node.rpartition("/")[2]
        return {name: [ctx.node, ctx.key, ctx.seed("x")]}

    state = graph_of(store, {"a": about, "b": about}).execute({}, run_id="r", seed=1)
    assert [state[name][0] for name in "ab"] == ["all/a", "all/b"]
    assert len({*state["a"], *state["b"]}) == 6


def test_a_stop_ends_all_branches_and_keeps_what_is_finished(store: Store) -> None:
    stop, ran = Stop(), list[str]()
    met = threading.Barrier(2)

    def first(name: str) -> Callable[[State], Any]:
        def call(state: State) -> dict[str, Any]:
            ran.append(name)
            if not stop.is_set():
                met.wait(LONG)
            stop.set("enough")
            return {name: 1}

        return call

    def branch(name: str) -> StateGraph:
        graph = StateGraph(name)
        graph.add_node("first", first(name), version="1")
        graph.add_node("then", setting(**{f"{name}2": 2}), version="1")
        graph.sequence("first", "then")
        return graph

    branches = {"a": branch("a"), "b": branch("b")}
    with pytest.raises(RunInterruptedError, match="enough"):
        graph_of(store, branches).execute({}, run_id="r", stop=stop)
    assert sorted(ran) == ["a", "b"]
    assert dict(graph_of(store, branches).resume("r")) == {"a": 1, "b": 1, "a2": 2, "b2": 2, "end": True}
    assert sorted(ran) == ["a", "b"]


INTERRUPTED = """
import signal, sys, threading
from tau import StateGraph, branches_node
ran = []
both = threading.Barrier(2)
def one(name):
    def call(state):
        ran.append(name)
        if len(ran) <= 2:
            both.wait(30)
            signal.raise_signal(signal.SIGINT) if name == "a" else None
        return {name: 1}
    return call
graph = StateGraph("g", store=sys.argv[1])
inner = {}
for name in "ab":
    inner[name] = StateGraph(name)
    inner[name].add_node("first", one(name), version="1")
    inner[name].add_node("then", lambda state, name=name: {name + "2": 2}, version="1")
    inner[name].sequence("first", "then")
graph.add_node("all", branches_node(inner))
graph.sequence("all")
try:
    graph.execute({}, run_id="r")
    print("went on")
except KeyboardInterrupt:
    print("interrupted", graph.store.summary("r").status, len(ran))
print(sorted(dict(graph.resume("r"))), len(ran))
"""


def test_ctrl_c_ends_branches_at_their_next_point(tmp_path: Path) -> None:
    command = [sys.executable, "-c", INTERRUPTED, f"sqlite:///{tmp_path}/r.db"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=4 * LONG, check=False)
    assert done.stdout.split("\n")[:2] == ["interrupted interrupted 2", "['a', 'a2', 'b', 'b2'] 2"], done.stderr


async def test_a_cancellation_ends_all_branches(store: Store) -> None:
    begun = {"a": asyncio.Event(), "b": asyncio.Event()}

    def hang(name: str) -> Callable[[State], Any]:
        async def call(state: State) -> None:
            begun[name].set()
            await asyncio.Event().wait()

        return call

    def branch(name: str) -> StateGraph:
        graph = StateGraph(name)
        graph.add_node("first", setting(**{name: 1}), version="1")
        graph.add_node("hang", hang(name), version="1")
        graph.sequence("first", "hang")
        return graph

    run = graph_of(store, {"a": branch("a"), "b": branch("b")}).aexecute({}, run_id="r")
    task = asyncio.create_task(run)
    for event in begun.values():
        await asyncio.wait_for(event.wait(), LONG)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert store.summary("r").status == "interrupted"  # type: ignore[union-attr]
    found = [unseal("r", position, data) for position, data in store.read("r")]
    assert sum(isinstance(one, CheckpointRecord) for one in found) == 2


def test_several_branches_may_ask_and_one_answer_is_enough_to_go_on(store: Store) -> None:
    ran: list[str] = []

    def branch(name: str) -> StateGraph:
        graph = StateGraph(name)
        graph.add_node("ask", pause_node(f"ok {name}", form=bool))
        graph.add_node("then", lambda state: ran.append(name) or {name: state[f"ok {name}"]}, version="1")
        graph.sequence("ask", "then")
        return graph

    def graph() -> StateGraph:
        return graph_of(store, {"a": branch("a"), "b": branch("b"), "c": setting(c=1)})

    with pytest.raises(RunWaitingError) as caught:
        graph().execute({}, run_id="r")
    assert caught.value.pauses == ("ok a", "ok b")
    assert [one.node for one in graph().pauses("r")] == ["all/a/ask", "all/b/ask"]
    with pytest.raises(RunWaitingError) as caught:
        graph().resume("r", answers={"ok b": True})
    assert caught.value.pauses == ("ok a",)
    assert ran == ["b"]
    state = graph().resume("r", answers={"ok a": False})
    assert (state["a"], state["b"], state["c"]) == (False, True, 1)
    assert ran == ["b", "a"]


def test_two_branches_that_ask_the_same_are_an_error(store: Store) -> None:
    branches = {name: versioned(name, lambda state, ctx: {"x": ctx.ask("same")}) for name in "ab"}
    with pytest.raises(ExecutionError, match=r"two branches ask 'same'|asks 'same' in two places"):
        graph_of(store, branches).execute({}, run_id="r")


def test_branches_nest(store: Store) -> None:
    def inner() -> StateGraph:
        graph = StateGraph("inner")
        graph.add_node("two", branches_node({"x": setting(x=1), "y": setting(y=2)}))
        graph.add_node("sum", lambda state: {"sum": state["x"] + state["y"]}, version="1")
        graph.sequence("two", "sum")
        return graph

    state = graph_of(store, {"in": graph_node(inner(), outputs=["sum"]), "z": setting(z=3)}).execute({}, run_id="r")
    assert dict(state) == {"sum": 3, "z": 3, "end": True}


async def test_async_branches_nest_and_steps_are_shared(store: Store) -> None:
    async def step() -> int:
        await asyncio.sleep(0)
        return 1

    async def work(state: State, ctx: Context) -> dict[str, int]:
        return {ctx.node.rpartition("/")[2]: sum([await ctx.step(f"s{number}", step) for number in range(10)])}

    inner = StateGraph("inner")
    inner.add_node("two", branches_node({"x": work, "y": work}))
    inner.sequence("two")
    state = await graph_of(store, {"in": inner, "z": work}).aexecute({}, run_id="r")
    assert dict(state) == {"x": 10, "y": 10, "z": 10, "end": True}


KILLED = """
import os, signal, sys
from tau import StateGraph, branches_node
place, url, seed = sys.argv[1:4]
def note(text):
    with open(place, "a") as file:
        file.write(text + "\\n")
def branch(name):
    def work(number):
        def call(state, ctx):
            items = ctx.map("m", lambda item: (note(f"{name}{number}.{item}"), item)[1], range(8), workers=2)
            note(f"{name}{number}")
            return {name: state.get(name, 0) + sum(items)}
        return call
    graph = StateGraph(name)
    for number in range(4):
        graph.add_node(f"n{number}", work(number), version="1")
    graph.sequence(*(f"n{number}" for number in range(4)))
    return graph
graph = StateGraph("g", store=url)
graph.add_node("all", branches_node({"a": branch("a"), "b": branch("b")}))
graph.add_node("end", lambda state: {"end": 1}, version="1")
graph.sequence("all", "end")
print(dict(graph.execute({}, run_id="r", if_exists="resume")))
"""


@pytest.mark.parametrize("kind", ["sqlite", "file"])
def test_a_kill_costs_each_branch_what_was_in_flight(tmp_path: Path, kind: str) -> None:
    place, kills = tmp_path / "effects", 4
    url = {"sqlite": f"sqlite:///{tmp_path}/r.db", "file": f"file://{tmp_path}/runs"}[kind]
    command = [sys.executable, "-c", KILLED, str(place), url, "0"]
    for number in range(kills):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            ends = threading.Event()
            for _ in range(6000):
                lines = place.read_text().split() if place.exists() else []
                if process.poll() is not None or len(lines) >= 14 * (number + 1):
                    break
                ends.wait(0.005)
            process.send_signal(signal.SIGKILL)
        finally:
            process.communicate(timeout=LONG)
    done = subprocess.run(command, capture_output=True, text=True, timeout=4 * LONG, check=False)
    assert done.stdout.strip() == "{'a': 112, 'b': 112, 'end': 1}", done.stderr
    counts = Counter(place.read_text().split())
    assert len(counts) == 72
    assert max(counts.values()) <= 1 + kills
    items = sum(count - 1 for name, count in counts.items() if "." in name)
    assert items <= kills * 2 * 4  # two branches with two workers, each with an item at work and one done, not stored
    assert sum(count - 1 for name, count in counts.items() if "." not in name) <= kills * 2


@pytest.mark.parametrize(
    ("branches", "options", "said"),
    [
        ({}, {}, "branches: expected a mapping of names to functions or graphs"),
        ([1], {}, "branches: expected a mapping"),
        ({"a": 3}, {}, "branch 'a': expected a function or a graph"),
        ({"": len}, {}, "the name of a branch"),
        (
            {"a": setting()},
            {"merge": {"x": "max"}},
            "merge of 'x': expected one of 'replace', 'append', 'add', 'union'",
        ),
        ({"a": setting()}, {"merge": 3}, "merge: expected a mapping"),
    ],
)
def test_what_cannot_be_branches_is_refused(branches: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        branches_node(branches, **options)


def test_a_thread_that_cannot_be_had_is_done_without(monkeypatch: pytest.MonkeyPatch, store: Store) -> None:
    import tau.engine.sync_driver as driver

    def refuse(*_: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(driver.DaemonThread, "start", refuse)
    graph = graph_of(None, {"a": setting(a=1), "b": setting(b=2)})
    assert dict(graph.execute({})) == {"a": 1, "b": 2, "end": True}
