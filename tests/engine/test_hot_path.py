"""What a step or an item costs does not grow unseen: the calls of Python functions in it, which no load on the machine
changes."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from tau import Context, State, StateGraph, key_exists
from tau.stores.memory import MemoryStore

NESTED = {"nested": {"station": {"name": "Mauna Loa", "values": [1.5, 2.5, 3.5]}}}


def read(state: State) -> None:
    _ = state["nested"]


CASES: dict[str, tuple[Callable[[State], Any], dict[str, Any], bool, int]] = {
    "without a store": (lambda state: None, {}, False, 12),
    "kept": (lambda state: {"key": state["key"] + 1}, {"key": 0}, True, 37),
    "kept, a nested value read": (read, NESTED, True, 49),
}


@pytest.mark.parametrize("case", CASES)
def test_a_step_makes_so_many_calls(case: str) -> None:
    node, values, stored, limit = CASES[case]
    calls(node, values, stored, 10)
    each = (calls(node, values, stored, 150) - calls(node, values, stored, 50)) / 100
    assert each <= limit + 0.5  # a manifest follows now and then


def calls(node: Callable[[State], Any], values: dict[str, Any], stored: bool, steps: int) -> int:
    """How many functions of Python a run of so many steps calls, generators that are resumed among them."""
    graph = StateGraph("hot", store=MemoryStore()) if stored else StateGraph("hot")
    left, count = steps, 0

    def step(state: State) -> Any:
        nonlocal left
        left -= 1
        return node(state) if left else {"done": True}

    def note(frame: Any, event: str, arg: Any) -> None:
        nonlocal count
        count += event == "call"

    graph.add_node("step", step, version="1")
    graph.add_node("end", lambda state: None, version="1")
    graph.add_edge("step", "end", key_exists("done"))
    graph.add_edge("step", "step")
    graph.set_entry_point("step")
    graph.set_exit_point("end")
    before = sys.getprofile()
    sys.setprofile(note)
    try:
        graph.execute(values)
    finally:
        sys.setprofile(before)
    return count


@pytest.mark.parametrize(("stored", "limit"), [(False, 10), (True, 22)])
def test_an_item_of_a_map_makes_so_many_calls_in_its_thread(stored: bool, limit: int) -> None:
    calls_in_threads(stored, 10)
    each = (calls_in_threads(stored, 700) - calls_in_threads(stored, 200)) / 500
    assert each <= limit + 0.5


def calls_in_threads(stored: bool, items: int) -> int:
    """How many functions of Python the threads of a map of so many items call. What its caller does depends on how many
    of them are stored together."""
    counts: dict[int, int] = {}

    def node(state: State, ctx: Context) -> None:
        ctx.map("m", abs, range(items), workers=4)

    def note(frame: Any, event: str, arg: Any) -> None:
        me = threading.get_ident()
        if event == "call" and (me in counts or threading.current_thread().name.startswith("tau-m-")):
            counts[me] = counts.get(me, 0) + 1

    graph = StateGraph("hot", store=MemoryStore()) if stored else StateGraph("hot")
    graph.add_node("node", node, version="1")
    graph.sequence("node")
    before = threading.getprofile()
    threading.setprofile(note)
    try:
        graph.execute()
    finally:
        threading.setprofile(before)  # type: ignore[arg-type]
    return sum(counts.values())
