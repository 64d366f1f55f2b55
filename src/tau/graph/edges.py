"""Edges, and routes: functions of the state that say which node comes next."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from tau.errors import GraphError
from tau.graph.nodes import checked_depends_on, checked_version, is_async, is_generator, reader_for
from tau.late_imports import load_module
from tau.predicates import Condition, check_takes_state

if TYPE_CHECKING:
    from tau.graph.fingerprint import NodeFingerprint
    from tau.schema.schema import Reader, Schema

END: Final = "__end__"
"""What a route answers, or its mapping names, where the run ends after the node; an edge to it makes an exit point."""


class _Start(str):
    """Its own kind of text, so that a node may have the name."""

    __slots__ = ()


START: Final = _Start("__start__")
"""Before the first node: an edge from here leads to the entry point."""

ANYWHERE: Final = ""
"""The target, in a fingerprint, of a route that answers with the names of nodes: no node has this name."""


class Route(Struct, frozen=True, eq=False):
    """A function of the state, sync or async, that is asked where to go after the node ``source``.

    ``targets`` maps its answers to the names of nodes, or to `END`; where it is ``None``, the answers are such names.
    ``reader`` makes what it is given instead of the state, where it asks for that.
    """

    source: str
    function: Callable[..., Any]
    is_async: bool
    name: str
    targets: Mapping[Any, str] | None
    depends_on: tuple[Any, ...]
    quick: NodeFingerprint
    reader: Reader | None = None

    @property
    def fingerprint(self) -> NodeFingerprint:
        """What it was when it was added; ``quick`` is the same without syntax trees, for which sources are parsed."""
        load_module("tau.graph.fingerprint")
        from tau.graph.fingerprint import as_added

        return as_added(self.function, self.quick, self.depends_on)


class Edge(Struct, frozen=True, eq=False):
    """A way from one node to another; ``index`` is its place among the edges of its source, 0 being tried first.

    One of a ``route`` is taken where the route gives the answer ``name``; its target may be `END`. ``reader`` makes
    what the predicate is given instead of the state, where it asks for that.
    """

    source: str
    target: str
    predicate: Condition | None
    name: str
    index: int
    route: Route | None = None
    reader: Reader | None = None


def make_route(
    source: str,
    function: Any,
    targets: Mapping[Any, str] | None,
    *,
    name: str,
    version: str | int | None = None,
    depends_on: Iterable[Any] = (),
    schema: Schema | None = None,
) -> Route:
    """A checked route. Raises `GraphError` for what cannot be one."""
    where = f"the route of node {source}"
    if not callable(function):
        raise GraphError(f"{where} must be a function of the state, found {type(function).__name__}: {function!r:.80}")
    if is_generator(function):
        raise GraphError(f"{where} is a generator (it contains yield); it must return its answer")
    check_takes_state(where, function)
    items = tuple(checked_depends_on(where, depends_on))
    load_module("tau.graph.fingerprint")
    from tau.graph.fingerprint import of_node  # code is only looked at where there is some

    return Route(
        source=source,
        function=function,
        is_async=is_async(function),
        name=name,
        targets=targets,
        depends_on=items,
        quick=of_node(function, checked_version(where, version), items, trees=False),
        reader=reader_for(where, function, schema),
    )


def checked_targets(source: str, mapping: Any, name_of: Callable[[Any, str], str]) -> dict[Any, str] | None:
    """The answers of a route with the nodes they lead to, by name. Raises `GraphError` for what cannot be such a
    mapping."""
    if mapping is None:
        return None
    where = f"the mapping of the route of node {source}"
    if isinstance(mapping, list | tuple):
        mapping = {name_of(target, f"{where}: to node"): target for target in mapping}
    if not isinstance(mapping, Mapping):
        raise GraphError(
            f"{where} must map answers to nodes, as in {{'approve': publish, 'reject': END}}, found "
            f"{type(mapping).__name__}: {mapping!r:.80}"
        )
    if not mapping:
        raise GraphError(f"{where} is empty; leave it out where the route answers with the names of nodes")
    found = {}
    for answer, target in mapping.items():
        if not (answer is None or isinstance(answer, str | int | Enum)):
            raise GraphError(
                f"{where}: an answer must be text, a number, True, False, None or a member of an enumeration, found "
                f"{type(answer).__name__}: {answer!r:.80}"
            )
        if isinstance(target, list | tuple | set | frozenset):
            raise GraphError(
                f"{where}: the answer {answer!r:.80} leads to several nodes ({type(target).__name__}), {MANY}"
            )
        found[answer] = name_of(target, f"{where}: to node")
    return found


MANY: Final = (
    "and a run visits one node at a time; several nodes at once are one node of branches_node({...}), and several "
    "pieces of work are one node with ctx.map"
)


def edges_of(route: Route, nodes: Iterable[str]) -> tuple[Edge, ...]:
    """The edges of a route, one for each answer; without a mapping, to each of the nodes and to the end."""
    if route.targets is not None:
        ways = [(label(answer), target) for answer, target in route.targets.items()]
    else:
        ways = [*((name, name) for name in nodes), ("END", END)]
    return tuple(
        Edge(route.source, target, route.function, name, index, route) for index, (name, target) in enumerate(ways)
    )


def label(answer: Any) -> str:
    """How an answer is shown in drawings and events."""
    if isinstance(answer, Enum):
        return answer.name
    if isinstance(answer, str):
        return "END" if answer == END else answer
    return repr(answer)
