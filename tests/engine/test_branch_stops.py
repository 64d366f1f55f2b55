"""Branches that are asked to end do so at their next step, question or item, and lose nothing."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from engine_steps import config

from tau import Context, RunInterruptedError, State, StateGraph, Stop, branches_node
from tau.observers import Recorder
from tau.stores.contract import Store

LONG = 30.0

INTERRUPTED = """
import os, signal, sys, threading
from tau import StateGraph, branches_node
begun, heard, did = threading.Event(), threading.Event(), []
kind = sys.argv[2]
def hear(number, frame):
    heard.set()
    raise KeyboardInterrupt
signal.signal(signal.SIGINT, hear)
def first():
    did.append("first")
    begun.set()
    assert heard.wait(30)
    for branch in waits_for():  # until the interrupt has reached this branch
        pass
    return 1
def second(number=0):
    did.append("second")
    return 2
def waits_for():
    import time
    from tau import current
    ends = time.monotonic() + 30
    while not current().should_stop and time.monotonic() < ends:
        time.sleep(0.01)
        yield
def node(state, ctx):
    found = None
    try:
        found = ctx.step("one", first) if kind != "in items" else None
        if kind == "step":
            ctx.step("two", second)
        elif kind == "ask":
            ctx.ask("fine", form=bool)
        elif kind == "map":
            ctx.map("m", second, [1])
        elif kind == "in items":
            def item(name):
                ctx.step("one", first)
                return ctx.step("two", second)
            found = ctx.map("m", item, ["x"])[0]
    except Exception as error:
        if kind in ("step", "ask"):
            did.append("swallowed")
        else:
            raise
    did.append("went on")
    return {"b": found}
graph = StateGraph("g", store=sys.argv[1])
graph.add_node("all", branches_node({"a": lambda state: {"a": 1}, "b": node}), version="1")
graph.sequence("all")
def strike():
    assert begun.wait(30)
    os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=strike, daemon=True).start()
try:
    graph.execute({}, run_id="r")
    print("went on")
except KeyboardInterrupt:
    print("interrupted", graph.store.summary("r").status, did)
did.clear()
kind = kind if kind != "ask" else ""
print(sorted(dict(graph.resume("r")).items()), did)
"""


@pytest.mark.parametrize(
    ("kind", "did"),
    [("step", ["second"]), ("ask", []), ("map", ["second"]), ("in items", ["second"])],
    ids=["step", "ask", "map", "in items"],
)
def test_ctrl_c_ends_a_branch_in_a_thread_at_its_next_point(tmp_path: Path, kind: str, did: list[str]) -> None:
    """The step that is finished is not done again, the next one has not begun, and nothing behind it has."""
    command = [sys.executable, "-c", INTERRUPTED, f"sqlite:///{tmp_path}/r.db", kind]
    done = subprocess.run(command, capture_output=True, text=True, timeout=4 * LONG, check=False)
    found = 2 if kind == "in items" else 1
    assert done.stdout.splitlines() == [
        "interrupted interrupted ['first']",
        f"[('a', 1), ('b', {found})] {[*did, 'went on']}",
    ], done.stderr


def execute(graph: StateGraph, in_loop: bool, **options: Any) -> State:
    if in_loop:
        return asyncio.run(graph.aexecute({}, run_id="r", **options))
    return graph.execute({}, run_id="r", **options)


class Work:
    """A node of two steps, which is asked to stop in the first one."""

    def __init__(self) -> None:
        self.stop, self.did = Stop(), list[str]()

    def first(self) -> int:
        self.did.append("first")
        self.stop.set("enough")
        return 1

    def second(self) -> int:
        self.did.append("second")
        return 2

    def node(self, state: State, ctx: Context) -> dict[str, int]:
        try:
            total = ctx.step("one", self.first) + ctx.step("two", self.second)
        except Exception:
            total = -1
        self.did.append("end")
        return {"total": total}

    async def node_async(self, state: State, ctx: Context) -> dict[str, int]:
        async def call(function: Callable[[], int]) -> int:
            return function()

        total = await ctx.step("one", call, self.first)
        total += sum(await asyncio.gather(ctx.step("two", call, self.second)))
        self.did.append("end")
        return {"total": total}


both = pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
loops = pytest.mark.parametrize("in_loop", [False, True], ids=["execute", "aexecute"])


@both
@loops
@pytest.mark.parametrize("as_graph", [False, True], ids=["function", "graph"])
def test_a_stop_ends_branches_at_their_next_step(store: Store, is_async: bool, in_loop: bool, as_graph: bool) -> None:
    work, recorder = Work(), Recorder()
    branch: Any = work.node_async if is_async else work.node
    if as_graph:
        inner = StateGraph("inner")
        inner.add_node("work", branch, version="1")
        inner.sequence("work")
        branch = inner
    graph = StateGraph(config(store, observer=recorder))
    graph.add_node("all", branches_node({"a": branch, "b": lambda state: {"b": 1}}), version="1")
    graph.sequence("all")
    with pytest.raises(RunInterruptedError, match="enough"):
        execute(graph, in_loop, stop=work.stop)
    assert work.did == ["first"]
    steps = [(event.type, event.data["step"]) for event in recorder.events if event.type.startswith("step.")]
    assert steps == [("step.start", "one"), ("step.complete", "one")]
    assert recorder.types()[-1] == "graph.interrupted"
    assert dict(graph.resume("r")) == {"total": 3, "b": 1}
    assert work.did == ["first", "second", "end"]


@both
@loops
@pytest.mark.parametrize("inside", [False, True], ids=["alone", "in a graph"])
def test_a_node_in_no_branch_goes_on_to_its_end(store: Store, is_async: bool, in_loop: bool, inside: bool) -> None:
    """A stop that is asked for during a node takes effect after it."""
    work = Work()
    inner = StateGraph("inner" if inside else config(store))
    inner.add_node("work", work.node_async if is_async else work.node, version="1")
    inner.add_node("then", lambda state: {"then": 1}, version="1")
    inner.sequence("work", "then")
    graph = inner
    if inside:
        graph = StateGraph(config(store))
        graph.add_node("all", inner, version="1")
        graph.sequence("all")
    with pytest.raises(RunInterruptedError, match="enough"):
        execute(graph, in_loop, stop=work.stop)
    assert work.did == ["first", "second", "end"]
    assert dict(graph.resume("r")) == {"total": 3, "then": 1}


def test_a_branch_whose_steps_are_done_is_finished_in_spite_of_a_stop(store: Store) -> None:
    stop, met = Stop(), threading.Barrier(2)

    def quick(state: State, ctx: Context) -> dict[str, int]:
        found = ctx.step("one", lambda: 1)
        met.wait(LONG)
        assert stop.event.wait(LONG)
        return {"a": found}

    def slow(state: State, ctx: Context) -> dict[str, int]:
        if not stop.is_set():
            met.wait(LONG)
            stop.set("enough")
        return {"b": ctx.step("one", lambda: 2)}

    graph = StateGraph(config(store))
    graph.add_node("all", branches_node({"a": quick, "b": slow}), version="1")
    graph.sequence("all")
    with pytest.raises(RunInterruptedError, match="enough"):
        graph.execute({}, run_id="r", stop=stop)
    met.abort()
    assert dict(graph.resume("r")) == {"a": 1, "b": 2}
