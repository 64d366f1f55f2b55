"""Which edge a run takes: the first that holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tau.events import EDGE_EVALUATE, EDGE_TRANSITION, text_of
from tau.graph.graph import Edge
from tau.predicates import KeyExists, keys_of, predicate_name
from tau.state import State, view

_SHOWN = 10


class NoTransition(Exception):
    """No edge leads on; its text is the whole verdict."""


def choose(edges: Sequence[Edge], given: tuple[dict[str, Any], str, str, float], tried: list[Edge], name: str) -> Edge:
    """The first edge that holds; those looked at are added to ``tried``. ``given`` is what `view` makes the state of
    that the predicates are called with."""
    state: State | None = None
    for edge in edges:
        tried.append(edge)
        predicate = edge.predicate
        if predicate is None:
            return edge
        if type(predicate) is KeyExists:  # the only kind that needs no state
            if predicate.key in given[0]:
                return edge
            continue
        if state is None:
            state = view(*given)
        try:
            if predicate(state):
                return edge
        except Exception as error:
            label = f" ({edge.name})" if edge.name else ""
            text = f"the predicate of edge {edge.source} -> {edge.target}{label} failed: {text_of(error)}"
            raise NoTransition(text) from error
    if tried:
        raise NoTransition(f"no valid transition from node {name}: {_asked(edges, view(*given))}")
    raise NoTransition(f"node {name} has no outgoing edges and is not an exit point")


def told(name: str, chosen: Edge | None, tried: Sequence[Edge]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The events that tell of a choice."""
    for edge in tried:
        where = {"from": name, "to": edge.target, "edge_index": edge.index}
        yield EDGE_EVALUATE, {**where, "has_predicate": edge.predicate is not None}
    if chosen is not None:
        where = {"from": name, "to": chosen.target, "edge_index": chosen.index}
        yield EDGE_TRANSITION, {**where, "predicate_name": chosen.name or "", "predicate_result": True}


def _asked(edges: Sequence[Edge], state: State) -> str:
    """Which conditions did not hold, and the keys they look at."""
    names = [f"{edge.target} if {_condition(edge)}" for edge in edges[:_SHOWN]]
    more = f" and {len(edges) - _SHOWN} more" if len(edges) > _SHOWN else ""
    text = f"none of its conditions holds ({', '.join(names)}{more})"
    keys = keys_of(edge.predicate for edge in edges)
    there, missing = [repr(key) for key in keys if key in state], [repr(key) for key in keys if key not in state]
    text += f"; the state has {', '.join(there)}" if there else ""
    text += f"; the state lacks {', '.join(missing)}" if missing else ""
    return f"{text}; add an edge without a condition for all other cases"


def _condition(edge: Edge) -> str:
    what = predicate_name(edge.predicate)
    return f"{what} [{edge.name}]" if edge.name and edge.name != what else what
