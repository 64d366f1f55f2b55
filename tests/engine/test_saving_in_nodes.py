"""`State.checkpoint` inside a node: what was set is stored, and the node's next attempt goes on from there."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from engine_steps import config

from own_stores import InBytes
from tau import CheckpointNotFoundError, Context, ExecutionError, Retry, State, StateGraph, TauError
from tau.stores.contract import Store

GIVEN: dict[str, Any] = {"kept": 1, "rows": [1], "gone": "x" * 2000, "large": list(range(3000))}


class Break(BaseException):
    """Ends the first attempt as Ctrl-C does."""


def altered(state: State) -> State:
    state["rows"].append(2)
    state["large"].append(3000)
    return state


CHANGES: dict[str, Any] = {
    "set": lambda state: state.set("draft", ["a"]),
    "a large value": lambda state: state.set("draft", ["a" * 5000]),
    "beside one changed in place": lambda state: altered(state).set("draft", 1),
    "over a value": lambda state: state.set("kept", 2).set("rows", [9]),
    "dropped": lambda state: state.drop("gone"),
    "dropped and set": lambda state: state.drop("gone").set("gone", [3]),
    "all": lambda state: altered(state).set("draft", {"a": 1}).drop("gone", "kept"),
    "nothing": lambda state: state,
}
RETURNED: dict[str, Any] = {
    "nothing": lambda state: None,
    "a mapping": lambda state: {"answer": sorted(state)},
    "the state": lambda state: state.set("answer", sorted(state)),
    "a value of it": lambda state: {"rows": [*state["rows"], 5]},
}


def build(store: Any, node: Any, name: str = "work", **options: Any) -> StateGraph:
    keys = {key: options.pop(key) for key in ("retry", "timeout") if key in options}
    graph = StateGraph(config(store, **options))
    graph.add_node("before", lambda state: None, version="1")
    graph.add_node(name, node, version="1", **keys)
    graph.add_node("after", lambda state: {"seen": sorted(state)}, version="1")
    graph.sequence("before", name, "after")
    return graph


@pytest.mark.parametrize("returned", RETURNED)
@pytest.mark.parametrize("change", CHANGES)
def test_a_resume_goes_on_from_the_saved_state_and_ends_as_if_nothing_had_happened(
    store: Store, change: str, returned: str
) -> None:
    broken = {"r"}
    given: list[dict[str, Any]] = []
    saved: list[dict[str, Any]] = []

    def work(state: State) -> Any:
        given.append(dict(state))
        if len(given) == 1 or state.run_id == "whole":
            state = CHANGES[change](state)
            state.checkpoint(store)
            saved.append(dict(state))
            if state.run_id in broken:
                broken.clear()
                raise Break
        return RETURNED[returned](state)

    graph = build(store, work)
    with pytest.raises(Break):
        graph.execute(GIVEN, run_id="r")
    assert dict(store.load("r")) == saved[0]
    resumed = graph.resume("r")
    assert given[1] == saved[0]
    whole = graph.execute(GIVEN, run_id="whole")
    assert dict(resumed) == dict(whole)
    expected = [(one.node, one.visit, one.next, dict(one.state)) for one in graph.history("whole")]
    assert [(one.node, one.visit, one.next, dict(one.state)) for one in graph.history("r")] == expected


def test_what_a_node_saved_outlives_its_process(tmp_path: Path) -> None:
    path = f"sqlite:///{tmp_path}/runs.db"

    def work(state: State, context: Context) -> Any:
        done = state.get("done", 0)
        if done < 3:
            context.step(f"step {done}", lambda: [done])
            state.set("done", done + 1).checkpoint(path)
            os._exit(0)
        return {"done": done, "steps": [context.step(f"step {number}", lambda: "again") for number in range(3)]}

    for _ in range(3):
        child = os.fork()
        if not child:
            build(path, work).execute({}, run_id="r", if_exists="resume")
        os.waitpid(child, 0)
    final = build(path, work).resume("r")
    assert (final["done"], final["steps"]) == (3, [[0], [1], [2]])


def test_the_newest_saved_state_counts(store: Store) -> None:
    given: list[Any] = []

    def work(state: State) -> Any:
        given.append(dict(state))
        if len(given) < 4:
            state.set("a", 1).set("b", 1).checkpoint(store)
            state.drop("x").set("b", len(given)).checkpoint(store)
            if len(given) == 3:
                State({"x": 0}, run_id="r").checkpoint(store)
            raise Break
        return {}

    graph = build(store, work)
    for go in (lambda: graph.execute({"x": 0}, run_id="r"), *[lambda: graph.resume("r")] * 2):
        with pytest.raises(Break):
            go()
    assert dict(graph.resume("r")) == {"x": 0, "seen": ["x"]}
    assert given == [{"x": 0}, {"b": 1}, {"b": 2}, {"x": 0}]


def test_a_retry_is_given_what_was_saved(store: Store) -> None:
    given: list[Any] = []

    def work(state: State) -> Any:
        given.append(state.get("tried", 0))
        state = state.set("tried", len(given))
        state.checkpoint(store)
        if len(given) < 3:
            raise OSError("away")
        return state

    final = build(store, work, retry=Retry(attempts=3, delay=0.0)).execute({}, run_id="r")
    assert (given, final["tried"]) == ([0, 1, 2], 3)


def test_a_failed_run_keeps_it_redo_drops_it_and_a_loop_begins_without(store: Store) -> None:
    given: list[Any] = []
    failing = [True, True, False]

    def work(state: State) -> Any:
        given.append(state.get("draft"))
        state.set("draft", 1).checkpoint(store)
        if failing.pop(0):
            raise ValueError("broke")
        return {}

    graph = build(store, work)
    with pytest.raises(ExecutionError) as caught:
        graph.execute({}, run_id="r")
    assert "draft" not in caught.value.state
    assert store.load("r")["draft"] == 1
    with pytest.raises(ExecutionError):
        graph.resume("r")
    graph.resume("r", on_change="redo")
    assert given == [None, 1, None]


def test_a_saved_state_that_is_loaded_and_saved_by_hand_is_not_lost(store: Store) -> None:
    def work(state: State) -> Any:
        if "review" not in state:
            state.set("draft", ["d"]).checkpoint(store)
            raise Break
        return {"answer": [*state["draft"], state["review"]]}

    graph = build(store, work)
    with pytest.raises(Break):
        graph.execute({}, run_id="r")
    store.save(store.load("r").set("review", "good"))
    assert graph.resume("r")["answer"] == ["d", "good"]


def test_a_state_with_nothing_set_adds_nothing_to_the_log(store: Store) -> None:
    """The pattern of the origin: save, then wait for a human."""
    positions = []

    def work(state: State) -> Any:
        len(state["rows"])
        for _ in range(2):
            state.checkpoint(store)
            summary = store.summary("r")
            assert summary is not None
            positions.append(summary.position)
        raise Break

    with pytest.raises(Break):
        build(store, work).execute(GIVEN, run_id="r")
    assert positions == [positions[0]] * 2
    graph = StateGraph(config(store))
    graph.add_node("before", lambda state: None, version="1")
    graph.add_node("work", lambda state: {"edited": True}, version="2")
    graph.sequence("before", "work")
    assert graph.resume("r")["edited"]


def test_what_is_changed_in_place_where_nothing_is_set_counts_when_the_node_ends(store: Store) -> None:
    """A node that only saves what an interval held back is run again on what it was given."""
    broken = ["r"]

    def work(state: State) -> None:
        state["rows"].append(2)
        state.checkpoint(store)
        if broken:
            broken.clear()
            raise Break

    graph = build(store, work, interval=3)
    with pytest.raises(Break):
        graph.execute(GIVEN, run_id="r")
    assert graph.resume("r")["rows"] == [1, 2]


def test_the_same_state_is_stored_once(store: Store) -> None:
    positions = []

    def work(state: State) -> None:
        state = state.set("draft", list(range(1000)))
        for _ in range(3):
            state.checkpoint(store)
            summary = store.summary("r")
            assert summary is not None
            positions.append(summary.position)

    build(store, work).execute({}, run_id="r")
    assert positions == [positions[0]] * 3


def test_nothing_of_it_stays_with_preserve_false(store: Store) -> None:
    graph = build(store, lambda state: state.set("draft", ["d" * 5000]).checkpoint(store), preserve=False)
    assert "draft" not in graph.execute({}, run_id="r")
    with pytest.raises(CheckpointNotFoundError):
        store.load("r")
    assert not store.read("r")


def test_what_cannot_be_stored_is_refused_by_name(store: Store) -> None:
    with pytest.raises(ExecutionError, match=r"state\['lock'\]"):
        build(store, lambda state: state.set("lock", open).checkpoint(store)).execute({}, run_id="r")


def test_nothing_can_be_set_between_two_nodes(store: Store) -> None:
    refused = []

    def predicate(state: State) -> bool:
        state.checkpoint(store)
        with pytest.raises(TauError, match="between two nodes"):
            state.set("x", 1).checkpoint(store)
        refused.append(state.run_id)
        return True

    graph = StateGraph(config(store))
    graph.add_node("a", lambda state: None)
    graph.add_node("b", lambda state: None)
    graph.set_entry_point("a")
    graph.add_edge("a", "b", predicate)
    graph.set_exit_point("b")
    graph.execute({}, run_id="r")
    assert refused == ["r"]


def test_a_store_of_the_users_own_shows_it(tmp_path: Path) -> None:
    mine = InBytes()
    given = []

    def work(state: State) -> Any:
        given.append(state.get("draft"))
        if len(given) == 1:
            state.set("draft", ["d"]).checkpoint(mine)
            raise Break
        return {"answer": state["draft"]}

    graph = build(mine, work)
    with pytest.raises(Break):
        graph.execute({}, run_id="r")
    assert mine.load("r")["draft"] == ["d"]
    assert graph.resume("r")["answer"] == ["d"]


@pytest.mark.parametrize("draft", [1, "large" * 1_000_000], ids=["small", "large"])
def test_async_nodes_and_runs(store: Store, draft: Any) -> None:
    async def work(state: State) -> Any:
        if "draft" not in state:
            state.set("draft", draft).checkpoint(store)
            raise Break
        return state

    graph = build(store, work)
    with pytest.raises(Break):
        asyncio.run(graph.aexecute({}, run_id="r"))
    assert asyncio.run(graph.aresume("r"))["draft"] == draft
    assert store.load("r")["draft"] == draft
