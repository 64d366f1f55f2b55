"""Graphs inside a node: one, or named branches that run at once, and how what they changed becomes one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

from tau.errors import GraphError

if TYPE_CHECKING:
    from tau.graph.graph import Graph
    from tau.graph.nodes import Node
    from tau.schema.schema import Schema

Merge = str | Callable[[Any, list[Any]], Any]
"""How the values that branches set for one key become one: a name of `MERGES`, or a function of the value before
(``None`` where there was none) and the values that were set, in the order in which the branches are declared."""

MERGES: Final = ("replace", "append", "add", "union")


class Branch(NamedTuple):
    """A graph inside a node; ``outputs`` are the keys that it hands up, ``None`` for all that it changes. ``function``
    is what it was made of, where it was given as a function."""

    name: str
    graph: Graph
    outputs: tuple[str, ...] | None
    function: Callable[..., Any] | None = None


class InnerGraphs:
    """A node that consists of graphs; see `graph_node` and `branches_node`. Read only, but for ``labelled``, a cache:
    the nodes of these graphs under the names that people are told, by the nodes and branches around them."""

    __slots__ = ("branches", "labelled", "merge")

    def __init__(self, branches: tuple[Branch, ...], merge: Mapping[str, Merge]) -> None:
        self.branches = branches
        self.merge = merge
        self.labelled: dict[tuple[tuple[str, str], ...], dict[str, Node]] = {}

    @classmethod
    def of(cls, graph: Graph) -> InnerGraphs:
        """One graph that hands up all that it changes."""
        return cls((Branch("", graph, None),), {})

    def under(self, schema: Schema | None) -> InnerGraphs:
        """The same for a graph with that schema, which is that of its functions, too. Raises `GraphError` for one that
        asks for a class with other fields."""
        if schema is None or all(one.function is None for one in self.branches):
            return self
        return InnerGraphs(tuple(_under(one, schema) for one in self.branches), self.merge)

    def __call__(self, state: Any) -> NoReturn:
        """It is run node by node, by the run that it is part of."""
        raise GraphError("a graph in a node is called by a run; add it with add_node, and execute the outer graph")

    def __repr__(self) -> str:
        names = ", ".join(one.name or one.graph.name for one in self.branches)
        return f"<{'branches' if self.branches[0].name else 'graph'}_node {names}>"


def single(graph: Graph, function: Callable[..., Any]) -> Graph:
    """A graph that consists of this function alone, under the graph's own name."""
    graph.add_node(graph.name, function)
    graph.set_entry_point(graph.name)
    graph.set_exit_point(graph.name)
    return graph


def _under(branch: Branch, schema: Schema) -> Branch:
    if branch.function is None:
        return branch
    return branch._replace(graph=single(type(branch.graph)(branch.name, schema), branch.function))
