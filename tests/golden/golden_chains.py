"""The graph of the golden store of runs in the middle of chains. Never changed: its fingerprint is in the store."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import reduce
from typing import Any

from tau import CheckpointConfig, GraphConfig, State, StateGraph, process_chain
from tau.stores.contract import Store

STEPS = 8
BREAKS: dict[str, int] = {}
"""At which step what fails."""
CALLED: list[tuple[str, int]] = []


def line(number: int) -> str:
    """Text of 400 characters that does not compress."""
    return "".join(hashlib.sha256(b"%d %d" % (number, part)).hexdigest() for part in range(7))[:400]


def of(name: str, change: Callable[[int, Any], Any]) -> Callable[[int, Any], Any]:
    def step(item: int, state: Any) -> Any:
        if BREAKS.get(name) == item:
            raise ValueError(f"{name} broke")
        CALLED.append((name, item))
        return change(item, state)

    return step


def in_state(item: int, state: State) -> State:
    state = state.set("rows", [*state["rows"], line(item)]).set("n", item)
    return state.drop("gone") if item == 2 else state


KINDS: dict[str, tuple[Any, Callable[[int, Any], Any]]] = {
    "list": ([], lambda item, state: [*state, line(item)] if item % 4 else state),
    "text": ("", lambda item, state: state + line(item)),
    "dict": ({}, lambda item, state: {**state, f"k{item}": line(item)}),
    "replaced": (b"", lambda item, state: bytes([item]) * (600 + item)),
}


def chains(store: Store) -> StateGraph:
    """A node for each kind, and one whose chain is over the state of the graph."""
    checkpoint = CheckpointConfig(store=store, interval=1, preserve=True, lease=0.05)
    graph = StateGraph(GraphConfig("chains", observer="noop", checkpoint=checkpoint))
    for name, (initial, change) in KINDS.items():
        graph.add_node(name, _node(name, initial, change), version="1")
    graph.add_node("state", _state_node, version="1")
    graph.sequence(*KINDS, "state")
    return graph


def _node(name: str, initial: Any, change: Callable[[int, Any], Any]) -> Callable[[State], dict[str, Any]]:
    def call(state: State) -> dict[str, Any]:
        return {name: process_chain(range(STEPS), initial, of(name, change), name=name).final}

    return call


def _state_node(state: State) -> State:
    return process_chain(range(STEPS), state, of("state", in_state), name="over").final


def final() -> dict[str, Any]:
    """The state that a run of it ends with."""
    found: dict[str, Any] = {"large": "l" * 2000}
    for name, (initial, change) in KINDS.items():
        found[name] = reduce(lambda state, item, change=change: change(item, state), range(STEPS), initial)
    return {**found, "rows": [line(item) for item in range(STEPS)], "n": STEPS - 1}
