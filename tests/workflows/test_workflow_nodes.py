"""Workflows as nodes: what they put into the state, how they fail, and that an edited function is noticed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from tau import (
    ChainConfig,
    ChainError,
    ConditionalConfig,
    ConditionalError,
    ConfigError,
    ExecutionError,
    GraphChangedError,
    ParallelConfig,
    ParallelError,
    Routes,
    RunInterruptedError,
    State,
    StateGraph,
    Stop,
    UnknownObserverError,
    chain_node,
    conditional_node,
    parallel_node,
)
from tau.observers import Recorder
from tau.stores.memory import MemoryStore


def graph_of(*nodes: Callable[..., Any], **options: Any) -> StateGraph:
    """One node after the other: n0, n1, ..."""
    graph = StateGraph("g", **options)
    names = [f"n{number}" for number in range(len(nodes))]
    for name, node in zip(names, nodes, strict=True):
        graph.add_node(name, node)
    graph.sequence(*names)
    return graph


def count(item: str, state: State) -> State:
    return state.merge({"count": state.get("count", 0) + 1, "last_item": item})


def double(item: int) -> int:
    return 2 * item


async def adouble(item: int) -> int:
    await asyncio.sleep(0)
    return 2 * item


def add(item: int, state: int) -> int:
    return state + item


async def aadd(item: int, state: int) -> int:
    await asyncio.sleep(0)
    return state + item


def test_a_chain_over_the_state_is_a_node() -> None:
    """W61"""
    node = chain_node(["item1", "item2", "item3"], lambda state: state, count)
    final = graph_of(node, store=MemoryStore()).execute({"before": True})
    assert dict(final) == {"before": True, "count": 3, "last_item": "item3"}


@pytest.mark.parametrize("step", [add, aadd])
def test_the_last_state_of_a_chain_goes_under_its_key(step: Any) -> None:
    """W61, W68: items and the first state come from the state of the graph."""
    assert graph_of(chain_node([1, 2, 3], 10, step)).execute({})["chain_result"] == 16
    node = chain_node(lambda state: state["items"], lambda state: state["start"], step, into="sum")
    assert graph_of(node).execute({"items": [4, 5], "start": 1})["sum"] == 10


@pytest.mark.parametrize("task", [double, adouble])
def test_a_parallel_map_is_a_node_and_its_results_can_be_aggregated(task: Any) -> None:
    """W62, W68"""

    def aggregate(result: Any, state: State) -> dict[str, int]:
        return {"sum": sum(result.results), "count": len(result.results) + state["more"]}

    final = graph_of(parallel_node([1, 2, 3, 4], task, aggregate=aggregate)).execute({"more": 0})
    assert (final["sum"], final["count"]) == (20, 4)
    assert graph_of(parallel_node(range(3), task)).execute({})["parallel_result"] == [0, 2, 4]
    node = parallel_node(lambda state: state["items"], task, into="doubled")
    assert graph_of(node).execute({"items": [5]})["doubled"] == [10]


async def test_async_workflows_are_async_nodes() -> None:
    graph = graph_of(chain_node([1, 2], 0, aadd), parallel_node([1, 2], adouble))
    final = await graph.aexecute({})
    assert (final["chain_result"], final["parallel_result"]) == (3, [2, 4])


@pytest.mark.parametrize(("value", "name"), [(75, "high"), (25, "low")])
def test_a_choice_is_a_node(value: int, name: str) -> None:
    """W63"""
    routes = Routes({"high": lambda state: {"level": "high"}, "low": lambda state: state.set("level", "low")})
    node = conditional_node(lambda state: "high" if state["value"] > 50 else "low", routes)
    assert graph_of(node).execute({"value": value})["level"] == name


def test_an_async_choice_is_an_async_node() -> None:
    """W63"""

    async def handler(state: State) -> dict[str, str]:
        await asyncio.sleep(0)
        return {"level": "high"}

    node = conditional_node(lambda state: "high", Routes({"high": handler, "low": lambda state: None}))
    assert graph_of(node).execute({})["level"] == "high"


def test_chain_then_parallel_then_choice() -> None:
    """W64"""
    final = graph_of(
        chain_node(["a", "b", "c"], lambda state: state, count),
        parallel_node([1, 2, 3], double, aggregate=lambda result, state: {"total": sum(result.results)}),
        conditional_node(
            lambda state: "success" if state["total"] == 12 else "failure",
            Routes({"success": lambda state: {"status": "success"}}, default=lambda state: {"status": "failure"}),
        ),
        store=MemoryStore(),
    ).execute({})
    assert (final["count"], final["total"], final["status"]) == (3, 12, "success")


def fails(*given: Any) -> Any:
    raise OSError("no route")


async def afails(*given: Any) -> Any:
    raise OSError("no route")


@pytest.mark.parametrize("function", [fails, afails])
@pytest.mark.parametrize(
    ("make", "kind", "text"),
    [
        (lambda f: chain_node([1], 0, f), ChainError, "chain node failed: chain failed at step 0: no route"),
        (
            lambda f: parallel_node([1], f),
            ParallelError,
            "parallel node failed: parallel execution failed: item 0: no route",
        ),
        (
            lambda f: conditional_node(f, Routes({"x": double})),
            ConditionalError,
            "conditional node failed: conditional routing failed: predicate evaluation failed: no route",
        ),
    ],
)
def test_a_failure_is_wrapped_and_its_cause_is_kept(make: Any, kind: Any, text: str, function: Any) -> None:
    """W65, W66"""
    with pytest.raises(ExecutionError) as caught:
        graph_of(make(function)).execute({"kept": 1})
    assert caught.value.state["kept"] == 1
    error = caught.value.__cause__
    assert isinstance(error, kind)
    assert str(error) == text
    inner = error.__cause__
    assert isinstance(inner, kind)
    assert isinstance(inner.__cause__, OSError)
    for field in ("step_index", "item", "state", "result", "errors", "route"):
        assert getattr(error, field, None) == getattr(inner, field, None)


@pytest.mark.parametrize(
    ("make", "kind", "text"),
    [
        (lambda: chain_node(lambda state: state["no"], 0, add), ChainError, "chain node failed: "),
        (lambda: parallel_node(lambda state: state["no"], double), ParallelError, "parallel node failed: "),
        (lambda: parallel_node([1], double, aggregate=fails), ParallelError, "parallel node failed: no route"),
        (lambda: chain_node(lambda state: 5, 0, add), ChainError, "chain node failed: items: expected an iterable"),
    ],
)
def test_what_is_around_the_work_may_fail_as_well(make: Any, kind: Any, text: str) -> None:
    """W66"""
    with pytest.raises(ExecutionError) as caught:
        graph_of(make()).execute({})
    assert isinstance(caught.value.__cause__, kind)
    assert str(caught.value.__cause__).startswith(text)


def test_the_aggregate_is_given_the_failures() -> None:
    """W67"""

    def task(item: int) -> int:
        if item == 2:
            raise ValueError("two")
        return item

    def aggregate(result: Any, state: State) -> dict[str, Any]:
        return {"done": result.results, "failed": [(one.index, str(one.error)) for one in result.errors]}

    config = ParallelConfig(fail_fast=False)
    final = graph_of(parallel_node([1, 2, 3], task, config, aggregate=aggregate)).execute({})
    assert (final["done"], final["failed"]) == ([1, 3], [(1, "two")])


def test_collected_failures_need_an_aggregate() -> None:
    """W67: nothing drops them in silence."""
    with pytest.raises(ConfigError, match="fail_fast: False without aggregate= would lose the failures"):
        parallel_node([1], double, ParallelConfig(fail_fast=False))


@pytest.mark.parametrize(
    "make",
    [
        lambda observer: chain_node([1], 0, add, ChainConfig(observer=observer)),
        lambda observer: parallel_node([1], double, ParallelConfig(observer=observer)),
        lambda observer: conditional_node(double, Routes({"x": double}), ConditionalConfig(observer=observer)),
    ],
)
def test_an_unknown_observer_is_refused_when_the_node_is_made(make: Any) -> None:
    """W69"""
    with pytest.raises(UnknownObserverError, match=r"^failed to resolve observer: unknown observer: nobody"):
        make("nobody")


def test_nodes_tell_the_observer_of_the_run() -> None:
    """W69"""
    recorder, own = Recorder(), Recorder()
    graph = graph_of(
        chain_node([1], 0, add),
        parallel_node([1], double, name="doubles"),
        conditional_node(lambda state: "x", Routes({"x": lambda state: None})),
        parallel_node([1], double, ParallelConfig(observer=own)),
    )
    graph.execute({}, run_id="r", observer=recorder)
    found = [event for event in recorder.events if event.type.split(".")[0] in ("chain", "parallel", "route")]
    assert [(event.type, event.data["node"], event.data["run_id"]) for event in found] == [
        ("chain.start", "n0", "r"), ("chain.complete", "n0", "r"),
        ("parallel.start", "n1", "r"), ("parallel.complete", "n1", "r"),
        ("route.evaluate", "n2", "r"), ("route.select", "n2", "r"), ("route.execute", "n2", "r"),
    ]  # fmt: skip
    assert found[2].data["parallel"] == "doubles"
    assert len(own.events) == 4


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: chain_node(iter([1]), 0, add), "items: expected a list or a function of the state"),
        (lambda: parallel_node((n for n in [1]), double), "items: expected a list or a function of the state"),
        (lambda: parallel_node(5, double), "items: expected an iterable, or a function of the state"),
        (lambda: parallel_node("windows", double), r"give items=lambda state: state\['windows'\]"),
        (lambda: chain_node("ab", "", add), "chain_node would work on text letter by letter"),
        (lambda: chain_node(b"ab", 0, add), "items: expected a list or a function of the state"),
        (lambda: chain_node([1], 0, "add"), "step: expected a callable"),
        (lambda: parallel_node([1], None), "task: expected a callable"),
        (lambda: parallel_node([1], double, aggregate=afails), "aggregate: expected a callable that is not async"),
        (lambda: parallel_node([1], double, into=""), "into cannot be empty"),
        (lambda: chain_node([1], 0, add, ParallelConfig()), "config: expected a ChainConfig"),
        (lambda: conditional_node(double, {"x": double}), "routes: expected Routes"),
    ],
)
def test_what_cannot_be_used_is_refused_when_the_node_is_made(make: Any, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        make()


def test_a_stop_in_a_node_interrupts_the_run_and_is_no_failure() -> None:
    """W54, W66: also between a predicate and its handler."""
    stop, asked = Stop(), []

    def predicate(state: State) -> str:
        if not asked:
            asked.append(True)
            stop.set("walltime")
        return "x"

    graph = graph_of(conditional_node(predicate, Routes({"x": lambda state: {"done": True}})), store=MemoryStore())
    with pytest.raises(RunInterruptedError, match="walltime") as caught:
        graph.execute({}, run_id="r", stop=stop)
    inner = caught.value.__cause__
    assert isinstance(inner, RunInterruptedError)
    assert "cancelled before the handler" in str(inner.__cause__)
    assert graph.resume("r")["done"] is True


def test_a_node_is_shown_by_the_name_of_its_function() -> None:
    """Not with a million items."""
    shown = map(repr, [chain_node([1], 0, add), parallel_node([1], double, name="doubles")])
    assert [*shown, repr(conditional_node(name, Routes({"x": two})))] == [
        "<chain_node 'add'>", "<parallel_node 'doubles'>", "<conditional_node 'name'>",
    ]  # fmt: skip


# The fingerprint.


def edit(function: Any) -> Any:
    """The same function as somebody edited it."""
    return type(function)(
        function.__code__.replace(co_consts=tuple(5 if one == 2 else one for one in function.__code__.co_consts)),
        function.__globals__,
        function.__name__,
    )


def scaled(item: int) -> int:
    return 2 * item


def two(state: Any) -> dict[str, int]:
    return {"found": 2}


def second(item: int, state: int) -> int:
    return state + 2 * item


async def ascaled(item: int) -> int:
    return 2 * item


def name(state: Any) -> str:
    return "x" if 2 in state.values() else "y"


def always(result: Any, state: Any) -> dict[str, int]:
    return {"found": 2}


SAME = {
    "chain step": lambda change: chain_node([1], 0, change(second)),
    "chain initial": lambda change: chain_node([1], change(two), lambda item, state: state["found"]),
    "parallel task": lambda change: parallel_node([1], change(scaled)),
    "async task": lambda change: parallel_node([1], change(ascaled)),
    "bound task": lambda change: parallel_node([1], partial(change(second), 1)),
    "aggregate": lambda change: parallel_node([1], scaled, aggregate=change(always)),
    "predicate": lambda change: conditional_node(change(name), Routes({}, default=two)),
    "handler": lambda change: conditional_node(name, Routes({"x": change(two), "y": two})),
    "default": lambda change: conditional_node(name, Routes({}, default=change(two))),
}


@pytest.mark.parametrize("part", SAME)
def test_an_edit_of_a_function_of_a_finished_node_is_noticed(part: str) -> None:
    failing = [True]

    def later(state: Any) -> None:
        if failing:
            raise OSError("not yet")

    store = MemoryStore()
    with pytest.raises(ExecutionError):
        graph_of(SAME[part](lambda one: one), later, store=store).execute({}, run_id="r")
    failing.clear()
    with pytest.raises(GraphChangedError, match="n0"):
        graph_of(SAME[part](edit), later, store=store).resume("r")
    assert graph_of(SAME[part](lambda one: one), later, store=store).plan("r")


@pytest.mark.parametrize(
    ("one", "other", "is_changed"),
    [
        (parallel_node([1], scaled), parallel_node([1, 2], scaled), True),
        (parallel_node([1], scaled), parallel_node([1], scaled, into="x"), True),
        (chain_node([1], 0, second), chain_node([1], 1, second), True),
        (parallel_node([1], scaled), parallel_node([1], scaled, ParallelConfig(max_workers=3), name="x"), False),
        (parallel_node([1], scaled), parallel_node((1,), scaled), False),
    ],
)
def test_data_counts_and_the_manner_of_working_does_not(one: Any, other: Any, is_changed: bool) -> None:
    def later(state: Any) -> None:
        if not done:
            raise OSError("not yet")

    done: list[bool] = []
    store = MemoryStore()
    with pytest.raises(ExecutionError):
        graph_of(one, later, store=store).execute({}, run_id="r")
    done.append(True)
    if is_changed:
        with pytest.raises(GraphChangedError, match="n0"):
            graph_of(other, later, store=store).resume("r")
    else:
        graph_of(other, later, store=store).resume("r")
