"""An async route ends with its run, and a route changes nothing."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest
from engine_steps import config

from tau import (
    END,
    ExecutionError,
    RunCancelledError,
    RunInterruptedError,
    State,
    StateGraph,
    Stop,
    branches_node,
)
from tau.log.encoding import unseal
from tau.stores.contract import Store

DEADLINE = 30.0
"""Seconds after which a route is taken to hang for ever."""

inside = pytest.mark.parametrize("place", ["alone", "graph", "branch"])
loops = pytest.mark.parametrize("in_loop", [False, True], ids=["execute", "aexecute"])


class Hanging:
    """A graph whose async route hangs until it is told to answer; alone, in a node, or in a branch beside others."""

    def __init__(self, store: Store, place: str = "alone") -> None:
        self.asked, self.ended = threading.Event(), list[str]()
        self.hangs, self.asks = True, 0
        options = config(store, lease=0.2)
        inner = StateGraph("inner" if place != "alone" else options)
        inner.add_node("review", lambda state: {"n": 1}, version="1")
        inner.set_entry_point("review")
        inner.add_conditional_edges("review", self.route, {"end": END}, version="1")
        self.graph = inner
        if place != "alone":
            self.graph = StateGraph(options)
            parts = {"a": inner, "b": lambda state: {"b": 1}}
            self.graph.add_node("outer", inner if place == "graph" else branches_node(parts), version="1")
            self.graph.sequence("outer")

    async def route(self, state: State) -> str:
        self.asks += 1
        self.asked.set()
        if not self.hangs:
            return "end"
        try:
            await asyncio.wait_for(asyncio.Event().wait(), DEADLINE)
        except asyncio.CancelledError:
            self.ended.append("cancelled")
            raise
        except TimeoutError:
            self.ended.append("hung")
        return "end"

    def execute(self, in_loop: bool, **options: Any) -> State:
        if in_loop:
            return asyncio.run(self.graph.aexecute({}, run_id="r", **options))
        return self.graph.execute({}, run_id="r", **options)

    def as_asked(self, act: Callable[[], object]) -> threading.Thread:
        """Do something as soon as the route hangs."""
        thread = threading.Thread(target=lambda: self.asked.wait(DEADLINE) and act(), daemon=True)
        thread.start()
        return thread


@loops
@inside
@pytest.mark.parametrize("how", ["stop", "max_runtime"])
def test_a_stop_ends_a_route_that_hangs_and_a_resume_asks_it_again(
    store: Store, how: str, place: str, in_loop: bool
) -> None:
    hanging, stop = Hanging(store, place), Stop()
    hanging.as_asked(lambda: stop.set("enough") if how == "stop" else None)
    with pytest.raises(RunInterruptedError, match=r"before its route had answered|enough|max_runtime"):
        hanging.execute(in_loop, **({"stop": stop} if how == "stop" else {"max_runtime": 0.5}))
    assert hanging.ended == ["cancelled"]
    assert next(iter(store.runs())).status == "interrupted"
    hanging.hangs = False
    assert hanging.graph.resume("r")["n"] == 1
    assert hanging.asks == 2


@loops
def test_a_cancelled_run_does_not_wait_for_a_route_that_hangs(store: Store, in_loop: bool) -> None:
    """The owner notices within the time in which it renews its lease."""
    hanging = Hanging(store)
    hanging.as_asked(lambda: hanging.graph.cancel("r"))
    with pytest.raises(RunCancelledError):
        hanging.execute(in_loop)
    assert hanging.ended == ["cancelled"]


@inside
def test_ctrl_c_ends_a_route_that_hangs(store: Store, place: str) -> None:
    hanging = Hanging(store, place)
    main = threading.main_thread().ident
    assert main is not None
    hanging.as_asked(lambda: signal.pthread_kill(main, signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        hanging.execute(in_loop=False)
    assert hanging.ended == ["cancelled"]
    hanging.hangs = False
    assert hanging.graph.resume("r")["n"] == 1


@loops
def test_an_answer_that_comes_in_spite_of_a_stop_is_kept(store: Store, in_loop: bool) -> None:
    """A route that does not let itself be cancelled has answered."""
    hanging, stop = Hanging(store), Stop()

    async def route(state: State) -> str:
        try:
            await hanging.route(state)
        except asyncio.CancelledError:
            await asyncio.sleep(0)
        return "review" if hanging.asks == 1 else END

    graph = StateGraph(config(store))
    graph.add_node("review", lambda state: {"n": state.get("n", 0) + 1}, version="1")
    graph.set_entry_point("review")
    graph.add_conditional_edges("review", route, version="1")
    hanging.graph = graph
    hanging.as_asked(lambda: stop.set("enough"))
    with pytest.raises(RunInterruptedError, match="enough"):
        hanging.execute(in_loop, stop=stop)
    assert [entry.next for entry in graph.history("r")] == ["review"]
    hanging.hangs = False
    assert graph.resume("r")["n"] == 2
    assert hanging.asks == 2


def graph_of(store: Store, route: Any, *, is_async: bool) -> StateGraph:
    async def later(state: State) -> str:
        await asyncio.sleep(0)
        return route(state)

    graph = StateGraph(config(store))
    graph.add_node("review", lambda state: {"rows": [*state.get("rows", []), 1]}, version="1")
    graph.set_entry_point("review")
    graph.add_conditional_edges("review", later if is_async else route, version="1")
    return graph


@loops
@pytest.mark.parametrize("is_async", [True, False], ids=["async", "sync"])
@pytest.mark.parametrize("what", [2, print], ids=["a number", "what cannot be stored"])
def test_what_a_route_changes_in_place_is_an_error_and_not_lost(
    store: Store, is_async: bool, in_loop: bool, what: Any
) -> None:
    def changes(state: State) -> str:
        state["rows"].append(what)
        return END

    graph = graph_of(store, changes, is_async=is_async)
    said = r"the route (changes|later) of node review changed state\['rows'\] in place.*let a node return the change"
    with pytest.raises(ExecutionError, match=said):
        asyncio.run(graph.aexecute({}, run_id="r")) if in_loop else graph.execute({}, run_id="r")
    final = graph_of(store, lambda state: END, is_async=is_async).resume("r")
    assert dict(final) == {"rows": [1]}


@pytest.mark.parametrize("is_async", [True, False], ids=["async", "sync"])
def test_a_route_may_read_and_sort_what_it_makes_of_it(store: Store, is_async: bool) -> None:
    def reads(state: State) -> str:
        rows = [*state["rows"]]
        rows.sort(reverse=True)
        return END if len(state["rows"]) > 2 else "review"

    assert graph_of(store, reads, is_async=is_async).execute({}, run_id="r")["rows"] == [1, 1, 1]
    assert all(unseal("r", position, data) for position, data in store.read("r"))


def asked_graph(store: Store, *predicates: Callable[[State], Any]) -> StateGraph:
    """A node that sets some rows, and an edge to ``end`` for each predicate."""
    graph = StateGraph(config(store))
    graph.add_node("work", lambda state: {"rows": [1, 2], "seen": {3, 4}, "table": {"a": [1]}}, version="1")
    for number, predicate in enumerate(predicates):
        graph.add_node(f"end{number}", lambda state: None, version="1")
        graph.add_edge("work", f"end{number}", predicate, name=f"way {number}")
        graph.set_exit_point(f"end{number}")
    graph.set_entry_point("work")
    return graph


def drains(state: State) -> bool:
    return bool(state["rows"].pop() == 9)


def deepens(state: State) -> bool:
    state["table"]["a"].append(2)
    return True


def reads(state: State) -> bool:
    return len(state["rows"]) == 7 and 3 in state["seen"] and bool(state["table"])


@pytest.mark.parametrize(
    ("predicates", "said"),
    [
        ((drains,), r"the predicate of edge work -> end0 \(way 0\) changed state\['rows'\] in place"),
        ((reads, deepens), r"a predicate of edge .*, edge work -> end1 \(way 1\) changed state\['table'\] in place"),
    ],
)
def test_what_a_predicate_changes_in_place_is_an_error_and_not_lost(store: Store, predicates: Any, said: str) -> None:
    """Also where it does not hold. A node returns changes, and the run goes on once the predicate only decides."""
    with pytest.raises(ExecutionError, match=said + ".*let a node return the change"):
        asked_graph(store, *predicates).execute({}, run_id="r")
    only_decides = [lambda state: len(state["rows"]) == 2] * len(predicates)
    final = asked_graph(store, *only_decides).resume("r")
    assert dict(final) == {"rows": [1, 2], "seen": {3, 4}, "table": {"a": [1]}}


def test_predicates_may_read_and_work_with_what_they_make(store: Store) -> None:
    def works(state: State) -> bool:
        return sorted(state["rows"], reverse=True)[0] == 2 and state["seen"] | {5} == {3, 4, 5}

    assert asked_graph(store, reads, works).execute({}, run_id="r").checkpoint_node == "end1"
