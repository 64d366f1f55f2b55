"""A graph, and the edits that somebody may make to it while a run of it waits.

The run: a -> b -> a -> b -> c are finished (the way back is taken once) and d, which failed, is next; e and x were not
reached. Each node has code of its own, so that a renamed or exchanged one is seen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from engine_steps import config

from tau import State, StateGraph, key_equals
from tau.stores.contract import Store

RAN: list[str] = []
"""Which pieces of code ran, in order."""

FAILING: set[str] = set()


def note(code: str, state: State) -> dict[str, Any]:
    RAN.append(code)
    if code in FAILING:
        raise ValueError(f"{code} broke")
    return {"path": [*state.get("path", []), code]}


def helper(version: int) -> Callable[[], int]:
    """A function that a node depends on, before and after its change."""
    if version == 1:

        def scale() -> int:
            return 1
    else:

        def scale() -> int:
            return 1000

    return scale


CODE: dict[str, Callable[[State], dict[str, Any]]] = {
    "a": lambda state: {**note("a", state), "rounds": state.get("rounds", 0) + 1},
    "b": lambda state: note("b", state),
    "c": lambda state: note("c", state),
    "d": lambda state: note("d", state),
    "e": lambda state: note("e", state),
    "x": lambda state: note("x", state),
    "new": lambda state: note("new", state),
    "other": lambda state: {**note("other", state), "other": True},
}

Route = tuple[str, str, Any]
OPTIONS: dict[str, dict[str, Any]] = {"a": {"depends_on": [helper(1)]}, "c": {"version": "1"}}
ROUTES: list[Route] = [
    ("a", "b", None),
    ("b", "a", key_equals("rounds", 1)),
    ("b", "c", None),
    ("c", "x", key_equals("stormy", True)),
    ("c", "d", None),
    ("d", "e", None),
]


def build(
    store: Store,
    *,
    observer: Any = "noop",
    name: str = "climate",
    nodes: str = "a b c d e x",
    code: Mapping[str, str] | None = None,
    routes: list[Route] = ROUTES,
    entry: str = "a",
    exits: str = "e x",
    options: Mapping[str, dict[str, Any]] | None = None,
) -> StateGraph:
    """The graph, or an edited one: ``code`` maps nodes to the code that they have instead of their own."""
    graph = StateGraph(config(store, observer=observer, name=name))
    settings = {**OPTIONS, **(options or {})}
    for node in nodes.split():
        graph.add_node(node, CODE[(code or {}).get(node, node)], **settings.get(node, {}))
    for source, target, predicate in routes:
        graph.add_edge(source, target, predicate)
    graph.set_entry_point(entry)
    for node in exits.split():
        graph.set_exit_point(node)
    return graph


def renamed(old: str, new: str) -> dict[str, Any]:
    def swap(name: str) -> str:
        return new if name == old else name

    return {
        "nodes": " ".join(map(swap, ["a", "b", "c", "d", "e", "x"])),
        "code": {new: old},
        "routes": [(swap(source), swap(target), predicate) for source, target, predicate in ROUTES],
        "options": {new: OPTIONS.get(old, {})},
    }


def routes(*, without: str = "", changed: Mapping[str, Any] | None = None, more: tuple[Route, ...] = ()) -> list[Route]:
    """The routes without those named like "cd", with other predicates, and with more behind them."""
    kept = [route for route in ROUTES if route[0] + route[1] not in without.split()]
    return [(s, t, (changed or {}).get(s + t, predicate)) for s, t, predicate in kept] + list(more)


class Edit(NamedTuple):
    """``edited`` are the arguments of `build`; ``then`` is the code that runs when the run goes on, if it may;
    ``said`` how each difference begins, in any order."""

    edited: dict[str, Any]
    then: str
    said: tuple[str, ...] = ()


GOES_ON: dict[str, Edit] = {
    "nothing": Edit({}, "d e"),
    "the nodes are added in another order": Edit({"nodes": "x e d c b a"}, "d e"),
    "a version is given to a finished node": Edit({"options": {"b": {"version": "1"}}}, "d e"),
    "how long a finished node may take": Edit({"options": {"b": {"timeout": 60.0}}}, "d e"),
    "a finished node with the same version has other code": Edit({"code": {"c": "other"}}, "d e"),
    "the code of the pending node": Edit({"code": {"d": "other"}}, "other e", ("node 'd', which comes next, changed",)),
    "the code of a node not reached": Edit({"code": {"e": "other"}}, "d other", ("node 'e', not run yet, changed",)),
    "pending and later node exchange their code": Edit(
        {"code": {"d": "e", "e": "d"}},
        "e d",
        ("node 'd', which comes next, changed", "node 'e', not run yet, changed"),
    ),
    "a node is inserted before the end": Edit(
        {"nodes": "a b c d e x new", "routes": routes(without="de", more=(("d", "new", None), ("new", "e", None)))},
        "d new e",
        ("node 'new' is new", "edge 'd' -> 'e' is gone", "edge 'd' -> 'new' is new", "edge 'new' -> 'e' is new"),
    ),
    "a node not reached is removed": Edit(
        {"nodes": "a b c d e", "routes": routes(without="cx"), "exits": "e"},
        "d e",
        ("node 'x', not run yet, is gone", "edge 'c' -> 'x' is gone"),
    ),
    "a node not reached is renamed": Edit(
        {**renamed("e", "new"), "exits": "new x"},
        "d e",
        (
            "node 'new' is new",
            "node 'e', not run yet, is gone",
            "edge 'd' -> 'e' is gone",
            "edge 'd' -> 'new' is new",
        ),
    ),
    "an edge not taken is removed": Edit(
        {"routes": routes(without="cx"), "exits": "e"},
        "d e",
        ("edge 'c' -> 'x' is gone", "node 'x' is not an exit point any more"),
    ),
    "the predicate that was decided on": Edit(
        {"routes": routes(changed={"cx": key_equals("rounds", 2)})},
        "d e",
        ("the predicate of edge 'c' -> 'x' changed",),
    ),
    "the predicate of the way back": Edit(
        {"routes": routes(changed={"ba": key_equals("rounds", 2)})},
        "d e",
        ("the predicate of edge 'b' -> 'a' changed",),
    ),
    "the edge ahead gets a predicate and another one": Edit(
        {"routes": routes(changed={"de": key_equals("rounds", 9)}, more=(("d", "x", None),))},
        "d x",
        ("the predicate of edge 'd' -> 'e' changed", "edge 'd' -> 'x' is new"),
    ),
    "the edges of a finished node are swapped": Edit(
        {"routes": [*ROUTES[:3], ROUTES[4], ROUTES[3], ROUTES[5]]},
        "d e",
        ("the edges from 'c' are tried in another order",),
    ),
    "the pending node becomes an exit": Edit(
        {"exits": "d x"}, "d", ("node 'd' became an exit point", "node 'e' is not an exit point any more")
    ),
    "another entry point": Edit({"entry": "b"}, "d e", ("the entry point is now 'b', this run began at 'a'",)),
    "the version of the pending node": Edit(
        {"options": {"d": {"version": "2"}}, "code": {"d": "other"}},
        "other e",
        ("node 'd', which comes next, changed",),
    ),
}

REFUSED: dict[str, Edit] = {
    "the code of a finished node": Edit({"code": {"b": "other"}}, "d e", ("finished node 'b' changed (its code)",)),
    "the version of a finished node": Edit(
        {"options": {"c": {"version": "2"}}}, "d e", ("finished node 'c' changed (version '1' -> '2')",)
    ),
    "a helper that a finished node depends on": Edit(
        {"options": {"a": {"depends_on": [helper(2)]}}}, "d e", ("finished node 'a' changed (",)
    ),
    "a finished node depends on nothing any more": Edit(
        {"options": {"a": {}}}, "d e", ("finished node 'a' changed (it no longer depends on",)
    ),
    "two finished nodes exchange their code": Edit(
        {"code": {"a": "b", "b": "a"}}, "d e", ("finished node 'a' changed (", "finished node 'b' changed (its code)")
    ),
    "a finished node is renamed": Edit(
        renamed("b", "new"),
        "d e",
        (
            "finished node 'b' is gone (the new node 'new' has the same code: renamed?)",
            "edge 'a' -> 'b', which this run has taken, is gone",
            "edge 'b' -> 'a', which this run has taken, is gone",
            "edge 'b' -> 'c', which this run has taken, is gone",
        ),
    ),
    "a finished node is removed": Edit(
        {"nodes": "b c d e x", "routes": routes(without="ab ba"), "entry": "b"},
        "d e",
        (
            "finished node 'a' is gone",
            "edge 'a' -> 'b', which this run has taken, is gone",
            "edge 'b' -> 'a', which this run has taken, is gone",
        ),
    ),
    "a node is inserted between two finished ones": Edit(
        {"nodes": "a b c d e x new", "routes": routes(without="bc", more=(("b", "new", None), ("new", "c", None)))},
        "d e",
        ("edge 'b' -> 'c', which this run has taken, is gone",),
    ),
    "an edge taken is removed": Edit(
        {"routes": routes(without="cd", more=(("x", "d", None),)), "exits": "e"},
        "d e",
        ("edge 'c' -> 'd', which this run has taken, is gone",),
    ),
    "the way back taken is removed": Edit(
        {"routes": routes(without="ba")}, "d e", ("edge 'b' -> 'a', which this run has taken, is gone",)
    ),
    "a finished node becomes an exit": Edit(
        {"exits": "c e", "routes": routes(more=(("b", "d", key_equals("rounds", 9)),))},
        "d e",
        ("finished node 'c' became an exit point, which would have ended the run",),
    ),
    "another graph of the same shape": Edit(
        {"name": "weather"}, "d e", ("the run belongs to graph 'climate', this graph is 'weather'",)
    ),
}

HOPELESS: dict[str, Edit] = {
    "the pending node is removed": Edit(
        {"nodes": "a b c e x", "routes": routes(without="cd de", more=(("c", "e", None),))},
        "",
        (
            "the node to run next, 'd', is gone, and no on_change= can replace it",
            "edge 'c' -> 'd', which this run has taken, is gone",
        ),
    ),
    "the pending node is renamed": Edit(
        renamed("d", "new"),
        "",
        (
            "the node to run next, 'd', is gone (the new node 'new' has the same code: renamed?)",
            "edge 'c' -> 'd', which this run has taken, is gone",
        ),
    ),
}
"""No ``on_change`` helps: there is nothing to go on with."""
