"""Which edge a run takes: the first that holds."""

from __future__ import annotations

from collections.abc import Sequence

from tau.events import text_of
from tau.graph.graph import Edge
from tau.state import State


class Stuck(Exception):
    """No edge leads on; its text is the whole verdict."""


def choose(edges: Sequence[Edge], state: State, tried: list[Edge], name: str) -> Edge:
    """The first edge that holds; those looked at are added to ``tried``."""
    for edge in edges:
        tried.append(edge)
        try:
            if edge.predicate is None or edge.predicate(state):
                return edge
        except Exception as error:
            label = f" ({edge.name})" if edge.name else ""
            text = f"the predicate of edge {edge.source} -> {edge.target}{label} failed: {text_of(error)}"
            raise Stuck(text) from error
    if tried:
        raise Stuck(f"no valid transition from node {name}")
    raise Stuck(f"node {name} has no outgoing edges and is not an exit point")
