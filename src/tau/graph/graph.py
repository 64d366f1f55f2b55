"""Building a graph: nodes, edges, one entry point, exit points."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from types import CodeType, MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar, overload

from tau.checks import checked_name
from tau.config import Retry
from tau.errors import GraphError
from tau.graph import drawing
from tau.graph import validation as graph_checks
from tau.graph.edges import Edge, Route, checked_targets, edges_of, make_route
from tau.graph.fingerprint import GraphFingerprint
from tau.graph.fingerprinting import fingerprint_of
from tau.graph.inner import InnerGraphs
from tau.graph.naming import name_of, own_name
from tau.graph.nodes import Node, make_node, reader_for
from tau.graph.redefinition import alike, lines_of_both, meant_again, same, same_code, same_home
from tau.late_imports import load_module
from tau.predicates import Condition, checked_condition, predicate_name
from tau.spelling import names_keywords

if TYPE_CHECKING:
    from tau.schema.schema import Schema

_log = logging.getLogger("tau")

__all__ = ["Edge", "Graph", "Node"]

_F = TypeVar("_F", bound=Callable[..., Any])


class Graph:
    """A named graph. Built by one thread; frozen at its first run, after which any number of threads may use it.

    ``nodes`` maps names to nodes, ``edges`` maps each source to its edges in the order in which they are tried, and
    ``routes`` each source that has one to its route; ``entry_point`` is ``None`` until set, ``exit_points`` are in the
    order set. All are read-only.

    Nodes may be named in edges and as entry or exit before they are added: `validate` reports those that were never
    added, together with every other problem.
    """

    @property
    def max_iterations(self) -> int:
        """How many nodes a run of it may visit."""
        return 1000

    def __init__(self, name: str, schema: Schema | None = None) -> None:
        self.name = checked_name("graph name", name, GraphError)
        self.schema = schema
        self._nodes: dict[str, Node] = {}
        self._edges: dict[str, tuple[Edge, ...]] = {}
        self._routes: dict[str, Route] = {}
        self._exits: dict[str, None] = {}
        self._twice: dict[str, str] = {}
        self._frozen = False
        self._lock = threading.RLock()
        self._fingerprint: GraphFingerprint | None = None
        self._beside: tuple[GraphFingerprint | None, GraphFingerprint] | None = None  # the newest, and what is stored
        self.nodes: Mapping[str, Node] = MappingProxyType(self._nodes)
        self.edges: Mapping[str, Sequence[Edge]] = MappingProxyType(self._edges)
        self.routes: Mapping[str, Route] = MappingProxyType(self._routes)
        self.entry_point: str | None = None
        self.exit_points = self._exits.keys()

    @names_keywords
    def add_node(
        self,
        name: str,
        function: Callable[..., Any] | Graph,
        *,
        retry: Retry | None = None,
        timeout: float | None = None,
        idempotent: bool = False,
        version: str | int | None = None,
        depends_on: Iterable[Any] = (),
        executor: str | None = None,
    ) -> None:
        """Add a node: a callable, sync or async, that takes the state, or the state and a `Context`; or another graph,
        whose nodes are then run, each committed when it finishes (see `graph_node`).

        ``retry``: how often and when it is tried again after an exception; without one, it is not. ``timeout``: seconds
        for each attempt, after which it fails with `NodeTimeoutError`. ``idempotent``: it may be tried again while an
        earlier attempt that ran into its timeout still runs. ``version`` decides, instead of the code, whether the node
        changed since a run was stored; ``depends_on`` are functions, classes and modules whose change counts as its
        own. ``executor``: where it is called, ``"inline"`` in the thread (or loop) of the run, ``"threads"`` in a
        thread, ``"processes"`` in a process of its own, which a timeout kills.

        Raises `GraphError` for a name that is taken, for what cannot be a node, a graph that this one is inside, a
        ``version`` or ``depends_on``, and once the graph is frozen; `ConfigError` for other options that cannot be
        used.
        """
        node = make_node(
            name,
            InnerGraphs.of(function) if isinstance(function, Graph) else function,
            retry=retry,
            timeout=timeout,
            idempotent=idempotent,
            version=version,
            depends_on=depends_on,
            executor=executor,
            schema=self.schema,
        )
        with self._lock:
            self._check_changeable(f"node {name} is new")
            if name in self._nodes:
                raise GraphError(f"node {name} already exists; give the second one another name")
            self._add(node)

    @overload
    def node(self, function: _F, /) -> _F: ...

    @overload
    def node(
        self,
        /,
        *,
        name: str | None = ...,
        retry: Retry | None = ...,
        timeout: float | None = ...,
        idempotent: bool = ...,
        version: str | int | None = ...,
        depends_on: Iterable[Any] = ...,
        executor: str | None = ...,
    ) -> Callable[[_F], _F]: ...

    def node(self, function: Any = None, /, *, name: str | None = None, **options: Any) -> Any:
        """As a decorator, bare or with the options of `add_node`: add the function as a node and return it unchanged.

        The name is the function's own unless given. Defined again (a notebook's cell run again), the function replaces
        its former self; once the graph has run, only if nothing about the node changed. Raises what `add_node` raises,
        and `GraphError` for a name that another function has.
        """
        if isinstance(function, str):
            raise GraphError(f"the name of a node is given by keyword: write @graph.node(name={function!r})")
        graph_checks.check_options(options)
        if function is None:
            return lambda decorated: self._define(decorated, name, options, sys._getframe(1).f_code)
        return self._define(function, name, options, sys._getframe(1).f_code)

    def _define(self, function: _F, name: str | None, options: dict[str, Any], around: CodeType) -> _F:
        node = make_node(own_name(function) if name is None else name, function, schema=self.schema, **options)
        with self._lock:
            old = self._nodes.get(node.name)
            if old is not None and not same_home(old.function, function):
                raise GraphError(
                    f"node {node.name} already exists, from another function; give one of them another name"
                )
            self._redefine(node, old)
            if old is not None and (lines := lines_of_both(around, old.function, function)):
                self._twice[node.name] = (
                    f"node {node.name} is defined twice in {around.co_filename}, at lines {lines[0]} and {lines[1]}, "
                    "and the second replaces the first; give one of them another name if both are meant"
                )
                _log.warning("graph %r: %s", self.name, self._twice[node.name], extra={"told": "warnings"})
        return function

    def _redefine(self, node: Node, old: Node | None) -> None:
        if old is None or not alike(node, old):
            self._check_changeable(f"node {node.name} {'is new' if old is None else 'is not what it was'}")
        self._add(node)

    def _add(self, node: Node) -> None:
        graph_checks.check_not_inside(self, node)
        self._nodes[node.name] = node
        for source, route in self._routes.items():
            if route.targets is None:
                self._edges[source] = edges_of(route, self._nodes)

    def add_edge(
        self, source: Any, target: Any, predicate: Condition | None = None, *, name: str | None = None
    ) -> None:
        """Add an edge from one node to another, taken when ``predicate`` holds for the state, or always without one.

        Nodes are given by name or as the functions added. Of the edges of one node the first that holds, in the order
        added, is taken. ``name`` shows in events and drawings; the predicate's own name if not given. Added again with
        the same ends and name (a notebook's cell run again), a condition replaces its former self: a function of that
        name, a lambda if ``name`` is given, an equal predicate of this library. Raises `GraphError` for anything that
        cannot name a node, for a predicate that is async or cannot be called, and once the graph is frozen; `validate`
        checks whether the nodes exist.
        """
        ends = (self._name_of(source, "from node"), self._name_of(target, "to node"))
        if predicate is not None:
            checked_condition(f"edge {ends[0]} -> {ends[1]}", predicate)
        label = predicate_name(predicate) if name is None else checked_name("edge name", name, GraphError)
        with self._lock:
            graph_checks.check_no_route(self._routes, *ends)
            again = meant_again(self._edges, *ends, predicate, label, named=name is not None)
            if again is None or not same_code(again.predicate, predicate) or again.name != label:
                self._check_changeable(f"the edge {ends[0]} -> {ends[1]} is {'new' if again is None else 'another'}")
            self._connect(*ends, predicate, label, again)

    def add_conditional_edges(
        self,
        source: Any,
        route: Callable[..., Any],
        mapping: Mapping[Any, Any] | Sequence[Any] | None = None,
        *,
        name: str | None = None,
        version: str | int | None = None,
        depends_on: Iterable[Any] = (),
    ) -> None:
        """Have a function of the state, sync or async, say which node comes after ``source``.

        ``mapping`` maps its answers to nodes, or to `tau.END` where the run ends there; a list of nodes is a mapping of
        their names. Without one, the answers are names of nodes, or `tau.END`. The answer is stored, and a resume does
        not ask again; before an async route is awaited, what the node changed is stored too. An answer that leads
        nowhere fails the run, which keeps what the node did: `resume` asks anew. ``name`` shows in events and drawings;
        the function's own if not given. ``version`` and ``depends_on`` are those of `add_node`. Given again (a
        notebook's cell run again), a function of that name, or a lambda, replaces its former self.

        Raises `GraphError` for a node that has edges or another route, for what cannot be a route or a mapping, and
        once the graph is frozen; `validate` checks whether the nodes exist.
        """
        at = self._name_of(source, "from node")
        label = predicate_name(route) if name is None else checked_name("route name", name, GraphError)
        targets = checked_targets(at, mapping, self._name_of)
        made = make_route(at, route, targets, name=label, version=version, depends_on=depends_on, schema=self.schema)
        with self._lock:
            before = self._routes.get(at)
            graph_checks.check_routable(at, self._edges.get(at, ()), before, made)
            if before is None or not alike(before, made):
                self._check_changeable(f"the route of node {at} is {'new' if before is None else 'another'}")
            self._routes[at] = made
            self._edges[at] = edges_of(made, self._nodes)

    def sequence(self, *nodes: Any) -> None:
        """Chain nodes, the first becoming the entry point and the last an exit point.

        Each is the name of a node or a function; a function that is not a node yet is added under its own name. Nodes
        and edges that are already there are kept, as when a notebook's cell is run again. Raises `GraphError`, and then
        changes nothing, for no nodes at all, a node given twice, a name without a node, a different entry point, and
        once the graph is frozen.
        """
        with self._lock:
            names, added = self._chain(nodes)
            if self.entry_point not in (None, names[0]):
                self._check_changeable(f"the entry point is {self.entry_point}, the sequence begins at {names[0]}")
                raise GraphError(f"entry point already set to {self.entry_point}, the sequence begins at {names[0]}")
            new = [pair for pair in pairwise(names) if meant_again(self._edges, *pair, None, "") is None]
            for pair in new:
                graph_checks.check_no_route(self._routes, *pair)
            for node in added.values():
                self._redefine(node, self._nodes.get(node.name))
            if new or self.entry_point is None or names[-1] not in self._exits:
                self._check_changeable(f"the sequence {' -> '.join(names)} is new")
            for source, target in new:
                self._connect(source, target, None, "")
            self.entry_point = names[0]
            self._exits[names[-1]] = None

    def set_entry_point(self, node: Any) -> None:
        """Say where a run begins. Raises `GraphError` for a second entry point, and once the graph is frozen."""
        name = self._name_of(node, "entry point")
        with self._lock:
            if self.entry_point == name:
                return
            self._check_changeable(f"the entry point is {self.entry_point}, not {name}")
            if self.entry_point is not None:
                raise GraphError(f"entry point already set to {self.entry_point}; a graph has one")
            self.entry_point = name

    def set_exit_point(self, node: Any) -> None:
        """Say where a run may end, once for each exit point; a run ends at the first that it visits. Raises
        `GraphError` for anything that cannot name a node, and once the graph is frozen."""
        name = self._name_of(node, "exit point")
        with self._lock:
            if name not in self._exits:
                self._check_changeable(f"exit point {name} is new")
                self._exits[name] = None

    def validate(self) -> None:
        """Check the graph as a whole. Raises `GraphError` with every problem found in ``.problems``."""
        problems = graph_checks.problems_of(self)
        if problems:
            raise GraphError("graph validation failed: " + "; ".join(problems), problems=tuple(problems))

    @property
    def warnings(self) -> list[str]:
        """What looks like a mistake but can be run: nodes never reached or defined twice, edges never taken, loops
        without an exit."""
        found = graph_checks.warnings(self._nodes, self._edges, self.entry_point, self.exit_points)
        return [*self._twice.values(), *found]

    def freeze(self) -> None:
        """Validate, and refuse all changes from now on. Every run does this; repeating it does no harm. Thread-safe.

        Raises `GraphError` as `validate` does.
        """
        if not self._frozen:
            with self._lock:
                self.validate()
                for node in self._nodes.values():
                    for one in node.inside.branches if node.inside is not None else ():
                        one.graph.freeze()
                self._frozen = True

    def fingerprint(self, stored: GraphFingerprint | None = None) -> GraphFingerprint:
        """The fingerprint of this graph, which shows whether it has changed since a run was stored. Raises nothing.

        Parts that are the same as in ``stored`` are taken from there, so that their source need not be parsed.
        """
        if self._fingerprint is not None:
            return self._fingerprint
        beside = self._beside
        if beside is not None and beside[0] is stored:
            return beside[1]
        with self._lock:
            parts = self.name, self._nodes, self._edges
            found = fingerprint_of(*parts, entry=self.entry_point, exits=self._exits, stored=stored, schema=self.schema)
            if self._frozen and stored is None:
                self._fingerprint = found
            elif self._frozen:
                self._beside = stored, found
            return found

    def to_mermaid(self) -> str:
        """A drawing as a Mermaid flowchart, ending with a newline. Raises nothing."""
        return drawing.mermaid(self)

    def to_text(self) -> str:
        """A drawing as plain text, one line for each node and edge, ending with a newline. Raises nothing."""
        return drawing.text(self)

    def _repr_html_(self) -> str:
        load_module("tau.graph.svg")
        from tau.graph.svg import svg

        return svg(self)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/plain": repr(self), "text/vnd.mermaid": self.to_mermaid()}

    def __repr__(self) -> str:
        edges = sum(map(len, self._edges.values()))
        return f"{type(self).__name__}({self.name!r}, {len(self._nodes)} nodes, {edges} edges)"

    def _check_changeable(self, what: str) -> None:
        if self._frozen:
            raise GraphError(
                f"graph {self.name} has been run and cannot be changed any more: {what}; build the graph again, from "
                "StateGraph(...) on; its runs continue from the store"
            )

    def _connect(
        self, source: str, target: str, predicate: Condition | None, name: str, again: Edge | None = None
    ) -> None:
        before = self._edges.get(source, ())
        reader = None if predicate is None else reader_for(f"edge {source} -> {target}", predicate, self.schema)
        index = len(before) if again is None else again.index
        edge = Edge(source, target, predicate, name, index, reader=reader)
        self._edges[source] = (*before[: edge.index], edge, *before[edge.index + 1 :])

    def _chain(self, nodes: Sequence[Any]) -> tuple[list[str], dict[str, Node]]:
        names: list[str] = []
        added: dict[str, Node] = {}
        for item in nodes:
            name = self._name_of(item, "sequence", again=True)
            if name in names:
                raise GraphError(f"sequence: node {name} appears twice; add the edge back with add_edge")
            if callable(item) and (name not in self._nodes or not same(self._nodes[name].function, item)):
                added[name] = make_node(name, item, schema=self.schema)
            elif name not in self._nodes:
                raise GraphError(f"sequence: node {name} does not exist; add it first or pass the function")
            names.append(name)
        if not names:
            raise GraphError("sequence: needs at least one node")
        return names, added

    def _name_of(self, node: Any, what: str, *, again: bool = False) -> str:
        return name_of(self._nodes, node, what, again=again)
