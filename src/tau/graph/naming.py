"""Which node is meant, where it is given by name or as its function."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tau.checks import checked_name
from tau.errors import GraphError
from tau.graph.nodes import Node
from tau.graph.redefinition import same, same_home


def name_of(nodes: Mapping[str, Node], node: Any, what: str, *, again: bool = False) -> str:
    """The name of the node that is meant; with ``again`` a function may be the former self of one. Raises `GraphError`
    for what cannot be a node."""
    if isinstance(node, list | tuple) and again:
        raise GraphError("sequence: give the nodes one by one, as in sequence(a, b), or sequence(*nodes) for a list")
    if isinstance(node, str):
        return checked_name(what, node, GraphError)
    if not callable(node):
        raise GraphError(f"{what} must be the name of a node, or its function, found {node!r:.80}")
    known = [name for name, one in nodes.items() if same(one.function, node)]
    if len(known) > 1:
        raise GraphError(f"{what}: {own_name(node)} is the function of nodes {', '.join(known)}; use a name")
    if known:
        return known[0]
    name = own_name(node)
    if name in nodes and not (again and same_home(nodes[name].function, node)):
        raise GraphError(
            f"{what}: node {name} exists with another function; use its name, or another name for this one"
        )
    return name


def own_name(function: Any) -> str:
    """The name that a function has by itself. Raises `GraphError` for one that has none."""
    name = getattr(function, "__name__", None)
    if not isinstance(name, str) or name == "<lambda>":
        raise GraphError(
            f"{type(function).__name__} {function!r:.80} has no name of its own: use add_node(name, function)"
        )
    return name
