"""A step, and the function of a map or chain, works on copies of what is the state's: a spared call changes nothing."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pytest
from engine_steps import config

from tau import (
    ChainConfig,
    ChainError,
    ConfigError,
    Context,
    CorruptCheckpointError,
    ExecutionError,
    ParallelError,
    State,
    StateGraph,
    current,
    process_chain,
)
from tau.stores.memory import MemoryStore
from tau.values import register_type

Node = Callable[..., Any]


@register_type
@dataclass
class Fitted:
    weights: list[int] = field(default_factory=list)

    def fit(self, weight: int) -> None:
        self.weights.append(weight)

    def fitted(self, weight: int) -> Fitted:
        self.fit(weight)
        return self


def given() -> dict[str, Any]:
    table = pd.DataFrame({"t": [1.0, 2.0]})
    return {
        "rows": [1],
        "inner": {"rows": [1], "more": [[1]]},
        "lists": [[1, 2], [3]],
        "model": Fitted([1]),
        "table": table,
    }


def graph_of(node: Node, store: Any = None) -> StateGraph:
    graph = StateGraph(config(MemoryStore() if store is None else store))
    graph.add_node("node", node, version="1")
    graph.sequence("node")
    return graph


def append(rows: list[int], item: int = 2) -> None:
    rows.append(item)


def append_later(state: State) -> None:
    state["rows"].append(2)


def append_by_name(*, rows: list[int]) -> None:
    rows.append(2)


def widen(table: pd.DataFrame) -> None:
    table["u"] = 0.0


def by_default(state: State, ctx: Context) -> None:
    def call(rows: list[int] = state["rows"]) -> None:
        rows.append(2)

    ctx.step("s", call)


def by_closure(state: State, ctx: Context) -> None:
    rows = state["rows"]
    ctx.step("s", lambda: rows.append(2))


@pytest.mark.parametrize(
    ("node", "path"),
    [
        (lambda state, ctx: ctx.step("s", append, state["rows"]), "state['rows']"),
        (lambda state, ctx: ctx.step("s", append_by_name, rows=state["rows"]), "state['rows']"),
        (lambda state, ctx: ctx.step("s", functools.partial(append, state["rows"]), 3), "state['rows']"),
        (lambda state, ctx: ctx.step("s", state["rows"].append, 2), "state['rows']"),
        (lambda state, ctx: ctx.step("s", append_later, state), "state['rows']"),
        (lambda state, ctx: ctx.step("s", append_later, state.set("more", 1)), "state['rows']"),
        (lambda state, ctx: ctx.step("s", lambda: append(state["rows"])), "state['rows']"),
        (lambda state, ctx: ctx.step("s", append, state["inner"]["rows"]), "state['inner']['rows']"),
        (lambda state, ctx: ctx.step("s", state["model"].fit, 2), "state['model']"),
        (lambda state, ctx: ctx.step("s", widen, state["table"]), "state['table']"),
        (lambda state, ctx: ctx.map("m", functools.partial(append, state["rows"]), [1, 2]), "state['rows']"),
        (lambda state, ctx: ctx.map("m", lambda item: append(state["rows"], item), [1, 2]), "state['rows']"),
        (lambda state, ctx: process_chain([1], 0, lambda item, now: append(state["rows"]) or now), "state['rows']"),
        (lambda state, ctx: ctx.map("m", append, state["lists"]), "state['lists'][0]"),
        (lambda state, ctx: ctx.map("m", append, (one for one in state["lists"])), "state['lists'][0]"),
        (lambda state, ctx: ctx.map("m", append, state["lists"], key=len), "state['lists'][0]"),
        (lambda state, ctx: ctx.map("m", append, [state["rows"]], executor="inline"), "state['rows']"),
        (lambda state, ctx: process_chain(state["lists"], None, lambda rows, now: append(rows)), "state['lists'][0]"),
        (by_default, "state['rows']"),
        (by_closure, "state['rows']"),
    ],
)
def test_what_is_changed_in_place_and_not_returned_is_an_error_that_names_it(node: Node, path: str) -> None:
    graph = graph_of(lambda state, ctx: node(state, ctx) and None)
    with pytest.raises(ExecutionError) as caught:
        graph.execute(given(), run_id="r")
    error = caught.value.__cause__
    while isinstance(error, ParallelError | ChainError):
        error = error.__cause__
    assert isinstance(error, ConfigError)
    said = str(error)
    assert f"of node 'node' changed {path} in place" in said
    assert said.startswith(("step 's' ", "map 'm' ", "chain '<lambda>' "))
    assert "return the value" in said


async def test_an_async_step_or_map_is_told_the_same() -> None:
    async def tidy(rows: list[int]) -> None:
        await asyncio.sleep(0)
        rows.append(2)

    async def each(item: int, rows: list[int]) -> None:
        rows.append(item)

    async def steps(state: State, ctx: Context) -> None:
        await ctx.step("s", tidy, state["rows"])

    async def maps(state: State, ctx: Context) -> None:
        async def task(item: int) -> None:
            state["rows"].append(item)

        await ctx.map("m", task, [1])

    for node, what in ((steps, "step 's'"), (maps, "map 'm'")):
        with pytest.raises(ExecutionError, match=rf"{what} of node 'node' changed state\['rows'\] in place"):
            await graph_of(node).aexecute(given())


def returned_in_a_dict(state: State, ctx: Context) -> Any:
    return ctx.step("s", lambda rows: {"rows": (rows.append(2), rows)[1], "n": 2}, state["rows"])


def first_by_the_node(state: State, ctx: Context) -> Any:
    rows = state["rows"]
    rows.append(2)
    count = ctx.step("s", len, rows)
    seen = ctx.step("t", lambda: len(state["rows"]))
    rows.append(count + seen)


def counted(state: State, ctx: Context) -> Any:
    calls = 0

    def count(rows: list[int]) -> int:
        nonlocal calls
        calls += 1
        return len(rows)

    ctx.step("s", count, state["rows"])
    return {"called": calls <= 1}


def keyed(state: State, ctx: Context) -> Any:
    lengths = ctx.map("m", lambda rows: (rows.append(2), len(rows))[1], [state["rows"]], key=len)
    return {"lengths": lengths}


def chained(state: State, ctx: Context) -> Any:
    def step(item: int, now: State) -> State:
        now["rows"].append(item)
        return now

    return process_chain([2, 3], state, step).final


def captured(state: State, ctx: Context) -> Any:
    def step(item: int, now: list[int]) -> list[int]:
        now.append(item)
        return now

    return {"all": list(process_chain([2, 3], [1], step, ChainConfig(capture_intermediate=True)).intermediate)}


@pytest.mark.parametrize(
    ("node", "finds"),
    [
        (
            lambda state, ctx: {"more": ctx.step("s", lambda rows: rows.append(2) or rows, state["rows"])},
            {"more": [1, 2]},
        ),
        (lambda state, ctx: {"both": ctx.step("s", lambda rows: (rows.append(2), rows), state["rows"])}, {"rows": [1]}),
        (lambda state, ctx: {"model": ctx.step("s", state["model"].fitted, 2)}, {"model": Fitted([1, 2])}),
        (returned_in_a_dict, {"rows": [1, 2]}),
        (first_by_the_node, {"rows": [1, 2, 4]}),
        (counted, {"called": True}),
        (keyed, {"lengths": [2], "rows": [1]}),
        (chained, {"rows": [1, 2, 3]}),
        (captured, {"all": [[1], [1, 2], [1, 2, 3]]}),
    ],
)
def test_correct_nodes_leave_the_same_state_whether_their_steps_were_spared_or_not(
    node: Node, finds: dict[str, Any]
) -> None:
    broken = [True]

    def broken_once(state: State, ctx: Context) -> Any:
        result = node(state, ctx)
        if broken.pop():
            raise OSError("disk full")
        return result

    plain = graph_of(node).execute(given())
    graph = graph_of(broken_once)
    with pytest.raises(ExecutionError, match="disk full"):
        graph.execute(given(), run_id="r")
    broken.append(False)
    resumed = graph.resume("r")
    assert {key: plain[key] for key in finds} == finds
    for key in plain:
        assert str(plain[key]) == str(resumed[key])


def test_a_value_of_the_state_may_change_beside_a_step_that_works_on_it() -> None:
    """The node owns it: other tasks and threads of it may go on with it."""

    async def node(state: State, ctx: Context) -> None:
        async def one(number: int) -> None:
            async def length(given: State, rows: list[int]) -> int:
                before = len(rows), len(given["rows"])
                await asyncio.sleep(0)
                assert (len(rows), len(given["rows"])) == before
                return number

            state["rows"].append(await ctx.step(f"step {number}", length, state, state["rows"]))

        await asyncio.gather(*map(one, range(10)))

    assert sorted(graph_of(node).execute({"rows": []})["rows"]) == [*range(10)]

    def threaded(state: State, ctx: Context) -> None:
        rows, in_step, changed = state["rows"], threading.Event(), threading.Event()

        def wait(given: list[int]) -> int:
            in_step.set()
            assert changed.wait(30)
            return len(given)

        thread = threading.Thread(target=lambda: (in_step.wait(30), rows.append(2), changed.set()))
        thread.start()
        assert ctx.step("s", wait, rows) == 1
        thread.join(30)

    assert graph_of(threaded).execute({"rows": [1]})["rows"] == [1, 2]


def test_arrays_are_the_states_own_memory_and_what_is_not_the_states_is_given_as_it_is() -> None:
    local: list[int] = []

    def node(state: State, ctx: Context) -> None:
        array = state["array"]
        ctx.step("s", lambda one, other: _same(one is array and other is local), array, local)
        ctx.step("t", lambda given: _same(np.shares_memory(given["array"], array)), state)

    def _same(holds: bool) -> bool:
        assert holds
        return holds

    graph_of(node).execute({"array": np.zeros(1000)})


def test_a_step_inside_an_item_is_given_copies_too() -> None:
    def node(state: State, ctx: Context) -> None:
        ctx.map("m", lambda item: current().step("s", append, state["rows"]), [1], executor="inline")

    with pytest.raises(ExecutionError, match=r"changed state\['rows'\] in place"):
        graph_of(node).execute(given())


class Losing(MemoryStore):
    """Its blobs are gone once it is told so."""

    lost = False

    def blobs(self, run_id: str, digests: Any) -> Any:
        return {} if self.lost else super().blobs(run_id, digests)


def test_damage_that_a_step_meets_stops_the_run_even_if_it_swallows_the_error() -> None:
    store, is_read = Losing(), list[int]()

    def read(given: State) -> int:
        try:
            return len(given["text"])
        except CorruptCheckpointError:
            is_read.append(1)
            return 0

    def broken_once(state: State, ctx: Context) -> Any:
        if not store.lost:
            raise OSError("disk full")
        return {"length": ctx.step("read", read, state)}

    graph = graph_of(broken_once, store)
    with pytest.raises(ExecutionError, match="disk full"):
        graph.execute({"text": [str(number) for number in range(1000)]}, run_id="r")
    store.lost = True
    with pytest.raises(ExecutionError) as caught:
        graph.resume("r")
    assert isinstance(caught.value.__cause__, CorruptCheckpointError)
    assert is_read


def test_an_item_may_be_changed_where_something_is_returned_or_it_is_none_of_the_state() -> None:
    def grown(rows: list[int]) -> dict[str, Any]:
        rows.append(9)
        return {"rows": rows}

    def node(state: State, ctx: Context) -> dict[str, Any]:
        ctx.map("mine", append, [[1], [2]])
        return {"found": list(ctx.map("returned", grown, state["lists"]))}

    final = graph_of(node).execute(given(), run_id="r")
    assert [one["rows"][-1] for one in final["found"]] == [9, 9]
    assert final["lists"] == given()["lists"]
