"""What went wrong in a map, chain, branch or inner graph is told in the words of whoever wrote it."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest

from tau import (
    ConfigError,
    Context,
    ExecutionError,
    MergeError,
    ParallelConfig,
    ParallelError,
    RunWaitingError,
    SchemaError,
    State,
    StateGraph,
    UnserializableError,
    branches_node,
    chain_node,
    current,
    parallel_node,
    pause_node,
    process_chain,
    process_parallel,
)
from tau.stores.memory import MemoryStore

LONG = 60


def cause_of(node: Any, given: dict[str, Any] | None = None, **options: Any) -> Any:
    graph = StateGraph("g", store=MemoryStore())
    graph.add_node("n", node, version="1", **options)
    graph.sequence("n")
    with pytest.raises(ExecutionError) as caught:
        graph.execute(given or {})
    return caught.value.__cause__


def setting(**values: Any) -> Callable[[State], dict[str, Any]]:
    return lambda state: values


def unstorable(item: Any, state: Any = None) -> Any:
    return object()


def by_name(before: Any, given: Any) -> Any:
    return given["q"]


def test_a_result_of_a_map_that_cannot_be_stored_is_named_by_its_map() -> None:
    found = cause_of(lambda state, ctx: ctx.map("load", lambda item: {"rows": [object()]}, [1, 2], errors="raise"))
    assert isinstance(found, ParallelError)
    error = found.errors[0].error
    assert isinstance(error, UnserializableError)
    assert (error.key, error.node, error.path) == ("load", "n", "map('load')['rows'][0]")
    assert str(found.errors[0]).startswith(
        f"item {found.errors[0].index}: map 'load' of node 'n' returned value['rows'][0] of type object, which cannot "
        "be stored: "
    )


def test_results_that_cannot_be_stored_for_one_reason_are_counted_as_one() -> None:
    collect = ParallelConfig(fail_fast=False, observer=None)
    found = cause_of(lambda state, ctx: {"out": process_parallel([1, 2], lambda item: object(), collect, name="load")})
    assert "2 items failed with 1 error type: 'map 'load' of node 'n' returned a value of type object" in str(found)


def test_a_state_of_a_chain_that_cannot_be_stored_is_named_by_its_chain() -> None:
    found = cause_of(lambda state: process_chain([1], None, unstorable, name="gather"))
    assert "chain failed at step 0: chain 'gather' of node 'n' returned a value of type object" in str(found)


def test_a_failed_merge_does_not_recommend_what_failed() -> None:
    branches = {"a": setting(x=1), "b": setting(x=2)}
    found = cause_of(branches_node(branches, merge={"x": "append"}))
    assert isinstance(found, MergeError)
    assert "'append' cannot join them" in str(found)
    assert str(found).endswith("merge={'x': ...} with 'replace', 'add', 'union' or a function")


def test_a_function_of_a_merge_that_fails_is_to_be_mended() -> None:
    found = cause_of(branches_node({"a": setting(x=1)}, merge={"x": by_name}))
    assert "branch 'a' changes 'x', and the function that merges it failed (TypeError: " in str(found)
    assert str(found).endswith("the list of the new ones; mend it")
    assert "append" not in str(found)


def test_a_misspelt_key_of_merge_is_answered_with_the_near_one() -> None:
    branches = branches_node({"a": setting(total=1), "b": setting(total=2)}, merge={"totl": "add", "other": "add"})
    assert str(cause_of(branches)).endswith("; merge is given for 'totl'; did you mean 'total'?")


def test_a_key_that_one_branch_removes_can_only_be_replaced() -> None:
    branches = {"a": lambda state: state.drop("x"), "b": setting(x=[1])}
    found = cause_of(branches_node(branches, merge={"x": "append"}), {"x": []})
    assert "one of them removes it; let one of them do it, or have the last of them count" in str(found)
    assert "merge={'x': 'replace'}" in str(found)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (
            lambda ctx: ctx.map("m", str, [1], errors="collect"),
            "[one.value for one in outcomes if one.status == 'done']",
        ),
        (lambda ctx: process_parallel([1], str), "store what you need of it: result.results"),
        (lambda ctx: process_chain([1], 0, max), "store what you need of it: result.final"),
    ],
)
def test_a_whole_result_in_the_state_is_told_which_part_to_store(made: Callable[[Context], Any], said: str) -> None:
    def node(state: State, ctx: Context) -> dict[str, Any]:
        return {"out": made(ctx)}

    text = str(cause_of(node))
    assert said in text
    assert "register" not in text


@dataclass
class Inner:
    raw: int
    more: int = 0


def test_a_state_with_which_an_inner_graph_cannot_begin_is_said_to_be_that() -> None:
    inner = StateGraph("inner", schema=Inner)
    inner.add_node("load", lambda state: None, version="1")
    inner.sequence("load")
    found = cause_of(inner, {"raw": "x"})
    assert isinstance(found, SchemaError)
    assert "the state with which graph 'inner' begins does not fit the schema Inner: 'raw'" in str(found)


def test_a_state_with_which_an_inner_graph_cannot_go_on_is_said_to_be_that() -> None:
    def graph(schema: Any, failing: bool) -> StateGraph:
        def second(state: State) -> None:
            if failing:
                raise OSError

        inner = StateGraph("inner", schema=schema)
        inner.add_node("load", lambda state: None, version="1")
        inner.add_node("second", second, version="1")
        inner.sequence("load", "second")
        outer = StateGraph("g", store=store)
        outer.add_node("n", inner)
        outer.sequence("n")
        return outer

    store = MemoryStore()
    with pytest.raises(ExecutionError):
        graph(None, failing=True).execute({"raw": "x"}, run_id="r")
    with pytest.raises(ExecutionError, match="the state with which graph 'inner' goes on does not fit"):
        graph(Inner, failing=False).resume("r", on_change="continue")


@pytest.mark.parametrize(
    ("second", "said"),
    [
        (lambda ctx: ctx.map("m", str, [1]), "makes two maps 'm' in one visit"),
        (lambda ctx: ctx.step("m", int), "makes a map and a step 'm' in one visit"),
        (lambda ctx: process_chain([1], 0, max, name="m"), "makes a map and a chain 'm' in one visit"),
    ],
)
def test_two_of_one_name_are_called_what_they_are(second: Callable[[Context], Any], said: str) -> None:
    def node(state: State, ctx: Context) -> None:
        ctx.map("m", str, [1])
        second(ctx)

    assert said in str(cause_of(node))


def maps(state: State, ctx: Context) -> None:
    ctx.map("m", str, [1])


def test_a_node_in_a_process_is_not_told_of_a_map_that_is_not_there() -> None:
    text = str(cause_of(maps, executor="processes"))
    assert "the whole of this node runs in one, so add it without executor='processes'" in text
    assert "around the map" not in text


def test_workers_are_called_what_they_are_called() -> None:
    found = cause_of(lambda state, ctx: ctx.map("m", str, [1], workers="4"))
    assert isinstance(found, ConfigError)
    assert str(found) == "workers: expected an integer of 0 or more, found str: '4'"


@pytest.mark.parametrize(
    ("function", "arguments", "keyword", "meant"),
    [
        (process_parallel, ([1], str), "confg", "config"),
        (process_chain, ([1], 0, max), "nme", "name"),
        (chain_node, ([1], 0, max), "inot", "into"),
        (parallel_node, ([1], str), "agregate", "aggregate"),
        (pause_node, ("p",), "frm", "form"),
        (StateGraph("g").execute, ({},), "runid", "run_id"),
        (StateGraph("g").resume, ("r",), "answer", "answers"),
        (Context.map, (None, "m", str, [1]), "worker", "workers"),
    ],
)
def test_a_misspelt_keyword_is_answered_with_the_near_one(
    function: Any, arguments: tuple[Any, ...], keyword: str, meant: str
) -> None:
    said = rf"{function.__name__}\(\) got an unexpected keyword argument '{keyword}'; did you mean '{meant}'\?"
    with pytest.raises(TypeError, match=said):
        function(*arguments, **{keyword: None})


@pytest.mark.parametrize("function", [process_parallel, process_chain, pause_node, StateGraph.execute, Context.map])
def test_their_signatures_name_each_keyword(function: Any) -> None:
    kinds = {one.kind for one in inspect.signature(function).parameters.values()}
    assert inspect.Parameter.VAR_KEYWORD not in kinds
    assert inspect.Parameter.KEYWORD_ONLY in kinds


@pytest.mark.parametrize(("workers", "open_at_first"), [(1, {"q1"}), (3, {"q1", "q2", "q3"})])
def test_items_at_work_ask_beside_the_first_and_others_after_it(workers: int, open_at_first: set[str]) -> None:
    at_work = threading.Barrier(workers)

    def ask(item: int) -> int:
        if workers > 1 and not at_work.broken:
            with suppress(threading.BrokenBarrierError):
                at_work.wait(LONG)
            at_work.abort()
        return int(current().ask(f"q{item}", form=int)) * item

    graph = StateGraph("g", store=MemoryStore())
    graph.add_node("n", lambda state, ctx: {"out": ctx.map("ask", ask, [1, 2, 3], workers=workers)}, version="1")
    graph.sequence("n")
    asked: list[set[str]] = []
    try:
        graph.execute({}, run_id=f"{workers}")
    except RunWaitingError:
        asked.append({one.name for one in graph.pauses(f"{workers}")})
    while len(asked) < 10:
        try:
            final = graph.resume(f"{workers}", answers=dict.fromkeys(asked[-1], 2))
            break
        except RunWaitingError:
            asked.append({one.name for one in graph.pauses(f"{workers}")})
    assert asked[0] == open_at_first
    assert final["out"] == [2, 4, 6]
