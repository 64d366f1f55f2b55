"""Large values of async runs are written in a thread, so that the event loop does not stand still meanwhile."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from engine_steps import config

from tau import ExecutionError, State, StateGraph
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


async def test_what_is_refused_in_a_thread_is_the_failure_of_its_node(store: Store) -> None:
    made = StateGraph(config(store))
    made.add_node("make", lambda state: {"x": VALUES["array"], "y": object()})
    made.sequence("make")
    with pytest.raises(ExecutionError, match=r"state\['y'\]"):
        await made.aexecute({}, run_id="r")


@pytest.mark.parametrize("value", [np.zeros(COUNT - 1), "x" * LARGE, [0] * COUNT, {"a": VALUES["array"]}, 2**9999])
def test_what_is_not_large(value: Any) -> None:
    assert not is_large(value)
