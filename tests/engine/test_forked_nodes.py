"""Nodes that fork: a child never acts for the run, and the parent goes on unharmed."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import pytest

import tau
from tau import CheckpointConfig, Context, GraphConfig, StateGraph, TauError
from tau.stores.contract import Store


def in_child(work: Callable[[], Any]) -> str:
    """What became of ``work`` in a child of fork."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            said = f"done: {work()!r}"
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        os.write(theirs, said.encode())
        os._exit(0)
    os.close(theirs)
    with os.fdopen(ours) as file:
        said = file.read()
    os.waitpid(pid, 0)
    return said


def make_artifact(ctx: Context) -> None:
    with ctx.artifact("b.txt") as path:
        path.write_text("x")


CALLS: dict[str, Callable[[Context, Store], Any]] = {
    "step": lambda ctx, store: ctx.step("inside", int),
    "step_of_current": lambda ctx, store: tau.current().step("inside", int),
    "artifact": lambda ctx, store: make_artifact(ctx),
}


def graph_on(store: Store, place: Any, node: Callable[..., Any]) -> StateGraph:
    config = GraphConfig(name="g", checkpoint=CheckpointConfig(interval=1, preserve=True, artifacts=str(place)))
    graph = StateGraph(config, store=store)
    graph.add_node("a", node)
    graph.add_node("b", lambda state: {"b": 1})
    graph.sequence("a", "b")
    return graph


@pytest.mark.parametrize("call", CALLS)
def test_a_child_of_a_node_cannot_save_for_it(store: Store, tmp_path: Any, call: str) -> None:
    said: list[str] = []

    def node(state: Any, ctx: Context) -> dict[str, Any]:
        with ctx.artifact("a.txt") as path:
            path.write_text("parent's")
            said.append(in_child(lambda: CALLS[call](ctx, store)))
        return {"a": ctx.step("mine", lambda: 1)}

    graph = graph_on(store, tmp_path / "files", node)
    final = graph.execute({}, run_id="r")
    assert (final["a"], final["b"]) == (1, 1)
    assert final["a.txt"].path.read_text() == "parent's"
    assert said[0].startswith("TauError")
    assert "ctx.step around future.result()" in said[0]


def test_a_child_that_leaves_the_node_ends_there(store: Store, tmp_path: Any) -> None:
    """It returns from the node, or raises out of it, out of an artifact or a step: nothing of it is stored or told."""
    parent = os.getpid()
    events: list[str] = []
    children: list[int] = []

    def leave(how: str, ctx: Context) -> None:
        children.append(os.fork())
        if children[-1] == 0 and how == "raises":
            raise ValueError("in the child")

    def node(state: Any, ctx: Context) -> dict[str, Any]:
        leave("returns", ctx)
        if os.getpid() == parent:
            leave("raises", ctx)
        if os.getpid() == parent:
            with ctx.artifact("a.txt") as path:
                path.write_text("parent's")
                leave("returns", ctx)
        if os.getpid() == parent:
            with ctx.artifact("b.txt") as path:
                path.write_text("parent's")
                leave("raises", ctx)
        if os.getpid() == parent:
            ctx.step("s", leave, "returns", ctx)
        return {"a": len(children)}

    graph = graph_on(store, tmp_path / "files", node)
    final: Any = None
    try:
        final = graph.execute({}, run_id="r", observer=lambda event: events.append(event.type))
    except TauError:
        if os.getpid() != parent:
            os._exit(7 if "graph.failed" not in events else 8)
        raise
    finally:
        if os.getpid() != parent:
            os._exit(1)
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children] == [7] * 5
    assert (final["a"], final["b"]) == (5, 1)
    assert {final["a.txt"].path.read_text(), final["b.txt"].path.read_text()} == {"parent's"}
    assert dict(graph.resume("r")) == dict(final)


def test_a_child_that_leaves_an_async_run_ends_there(store: Store) -> None:
    parent = os.getpid()
    children: list[int] = []

    async def node(state: Any) -> dict[str, Any]:
        children.append(os.fork())
        return {"a": 1}

    graph = StateGraph("g", store=store)
    graph.add_node("a", node)
    graph.sequence("a")

    async def main() -> Any:
        try:
            return await graph.aexecute({}, run_id="r")
        except TauError:
            if os.getpid() == parent:
                raise
            os._exit(7)  # before its loop is closed, which shares what it waits on with the parent's
        finally:
            if os.getpid() != parent:
                os._exit(1)

    final = asyncio.run(main())
    assert os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]) == 7
    assert dict(final) == {"a": 1}


def test_a_pool_of_forked_processes_works_and_its_results_are_steps(store: Store) -> None:
    def node(state: Any, ctx: Context) -> dict[str, Any]:
        with ProcessPoolExecutor(2, mp_context=get_context("fork")) as pool:
            futures = [pool.submit(pow, number, 2) for number in range(6)]
            return {"a": [ctx.step(f"s{number}", future.result) for number, future in enumerate(futures)]}

    graph = StateGraph("g", store=store)
    graph.add_node("a", node)
    graph.sequence("a")
    assert graph.execute({}, run_id="r")["a"] == [0, 1, 4, 9, 16, 25]


def test_a_child_of_a_node_may_execute_a_run_of_its_own(store: Store, tmp_path: Any) -> None:
    said: list[str] = []

    def own() -> Any:
        graph = StateGraph("own", store=f"sqlite:///{tmp_path}/own.db")
        graph.add_node("n", lambda state, ctx: {"n": ctx.step("s", int)})
        graph.sequence("n")
        return dict(graph.execute({}, run_id="own"))

    def node(state: Any) -> dict[str, Any]:
        said.append(in_child(own))
        return {"a": 1}

    graph = StateGraph("g", store=store)
    graph.add_node("a", node)
    graph.sequence("a")
    assert dict(graph.execute({}, run_id="r")) == {"a": 1}
    assert said == ["done: {'n': 0}"]
