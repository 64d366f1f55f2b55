"""Large values of async runs are written in a thread, so that the event loop does not stand still meanwhile."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from engine_steps import config

from tau import Context, ExecutionError, State, StateGraph, UnserializableError
from tau.stores.contract import Store
from tau.values.weight import LARGE, is_large

COUNT = LARGE // 8 + 1

VALUES = {
    "array": np.zeros(COUNT),
    "frame": pd.DataFrame({"x": np.zeros(COUNT)}),
    "series": pd.Series(np.zeros(COUNT)),
    "bytes": bytes(LARGE + 1),
    "text": "x" * (LARGE + 1),
}
WRITING = {"encode", "pack_blob"}


@contextmanager
def noting_what_this_thread_writes() -> Iterator[list[str]]:
    """The functions that write something large, called in this thread."""
    called: list[str] = []

    def note(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and frame.f_code.co_name in WRITING and "tau" in frame.f_code.co_filename:
            given = frame.f_locals.get("value", frame.f_locals.get("data"))
            if is_large(given):
                called.append(frame.f_code.co_name)

    sys.setprofile(note)
    try:
        yield called
    finally:
        sys.setprofile(None)


def graph(store: Store, value: Any, is_async: bool) -> StateGraph:
    made = StateGraph(config(store))

    async def make(state: State) -> dict[str, Any]:
        return {"x": value}

    async def change(state: State) -> None:
        found = state["x"]
        if isinstance(found, pd.DataFrame):
            found.loc[0, "x"] = 7.0

    made.add_node("make", make if is_async else lambda state: {"x": value})
    made.add_node("change", change)
    made.sequence("make", "change")
    return made


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("is_async", [True, False])
async def test_the_loop_writes_no_large_value(store: Store, name: str, is_async: bool) -> None:
    with noting_what_this_thread_writes() as called:
        final = await graph(store, VALUES[name], is_async).aexecute({}, run_id="r")
    assert called == []
    assert len(final["x"]) == len(VALUES[name])
    if name == "frame":
        assert final["x"].loc[0, "x"] == 7.0, "what was changed in place is found there, too"


def stepping(store: Store, fetch: Callable[[], Awaitable[Any]], sizes: list[int]) -> StateGraph:
    made = StateGraph(config(store))

    async def make(state: State, ctx: Context) -> None:
        sizes.append(len(await ctx.step("fetch", fetch)))

    made.add_node("make", make)
    made.sequence("make")
    return made


@pytest.mark.parametrize("name", VALUES)
async def test_the_loop_writes_no_large_input(store: Store, name: str) -> None:
    with noting_what_this_thread_writes() as called:
        made = StateGraph(config(store))
        made.add_node("look", lambda state: {"n": len(state["x"])})
        made.sequence("look")
        final = await made.aexecute({"x": VALUES[name], "y": 1}, run_id="r")
    assert called == []
    assert final["n"] == len(VALUES[name])
    assert len(store.load("r")["x"]) == len(VALUES[name])
    with noting_what_this_thread_writes() as called:
        await made.aexecute(store.load("r"), run_id="s")  # what another run stored
    assert called == []


@pytest.mark.parametrize("name", VALUES)
async def test_the_loop_writes_no_large_result_of_a_step(store: Store, name: str) -> None:
    sizes: list[int] = []

    async def fetch() -> Any:
        return VALUES[name]

    with noting_what_this_thread_writes() as called:
        await stepping(store, fetch, sizes).aexecute({}, run_id="r")
    assert called == []
    assert sizes == [len(VALUES[name])]


async def test_a_run_that_is_cancelled_while_a_step_s_result_is_encoded_keeps_it(store: Store) -> None:
    """The loop goes on meanwhile; the step is not done again."""
    gate, returned, calls, sizes = threading.Event(), asyncio.Event(), list[int](), list[int]()

    async def fetch() -> Any:
        calls.append(1)
        for _ in range(4):  # what encodes has to wait
            store.committer.pool.put(partial(gate.wait, 60))
        returned.set()
        return VALUES["array"]

    graph = stepping(store, fetch, sizes)
    try:
        run = asyncio.ensure_future(graph.aexecute({}, run_id="r"))
        await returned.wait()
        for _ in range(20):
            await asyncio.sleep(0)
        run.cancel()
        for _ in range(20):
            await asyncio.sleep(0)
        assert not run.done()
    finally:
        gate.set()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert sizes == []
    await graph.aresume("r")
    assert (len(calls), sizes) == (1, [COUNT])


async def test_an_input_that_is_refused_in_a_thread_is_refused(store: Store) -> None:
    made = StateGraph(config(store))
    made.add_node("look", lambda state: None)
    made.sequence("look")
    with pytest.raises(UnserializableError, match=r"state\['y'\] in the input"):
        await made.aexecute({"x": VALUES["array"], "y": object()}, run_id="r")


async def test_a_result_of_a_step_that_is_refused_in_a_thread_is_refused(store: Store) -> None:
    async def fetch() -> Any:
        return pd.DataFrame({"x": [object()] * 2, "y": [[object()]] * 2}).loc[[0] * (COUNT // 2 + 1)]

    with pytest.raises(ExecutionError, match="step 'fetch' of node"):
        await stepping(store, fetch, []).aexecute({}, run_id="r")


async def test_what_is_refused_in_a_thread_is_the_failure_of_its_node(store: Store) -> None:
    made = StateGraph(config(store))
    made.add_node("make", lambda state: {"x": VALUES["array"], "y": object()})
    made.sequence("make")
    with pytest.raises(ExecutionError, match=r"state\['y'\]"):
        await made.aexecute({}, run_id="r")


@pytest.mark.parametrize("value", [np.zeros(COUNT - 1), "x" * LARGE, [0] * COUNT, {"a": VALUES["array"]}, 2**9999])
def test_what_is_not_large(value: Any) -> None:
    assert not is_large(value)
