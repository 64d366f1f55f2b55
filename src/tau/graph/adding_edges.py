"""Adding edges, routes and ends to a graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from tau.checks import checked_name
from tau.errors import GraphError
from tau.graph import validation as graph_checks
from tau.graph.edges import END, START, Edge, checked_targets, edges_of, make_route
from tau.graph.nodes import reader_for
from tau.graph.parts import Parts
from tau.graph.redefinition import alike, meant_again, same_code
from tau.predicates import Condition, checked_condition, predicate_name
from tau.spelling import names_keywords


class EdgeAdding(Parts):
    """The ways in which a graph is told which node comes next, where a run begins and where it ends."""

    @names_keywords
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

        >>> from tau import END, START, key_equals
        >>> other = StateGraph("halved")
        >>> other.add_node("halve", lambda state: {"n": state["n"] // 2, "small": state["n"] < 8})
        >>> other.add_node("report", lambda state: {"text": f"at most {state['n']}"})
        >>> other.add_edge(START, "halve")
        >>> other.add_edge("halve", "report", key_equals("small", True))
        >>> other.add_edge("halve", "halve")
        >>> other.add_edge("report", END)
        >>> other.execute({"n": 100})["text"]
        'at most 3'
        """
        if source is START or target is START or END in (source, target):
            self._add_end(source, target, predicate, name)
            return
        ends = (self._name_of(source, "from node"), self._name_of(target, "to node"))
        if predicate is not None:
            checked_condition(f"edge {ends[0]} -> {ends[1]}", predicate)
        label = predicate_name(predicate) if name is None else checked_name("edge name", name, GraphError)
        with self._lock:
            graph_checks.check_no_route(self._routes, *ends)
            graph_checks.check_not_ended(self._ended, *ends)
            again = meant_again(self._edges, *ends, predicate, label, named=name is not None)
            if again is None or not same_code(again.predicate, predicate) or again.name != label:
                self._check_changeable(f"the edge {ends[0]} -> {ends[1]} is {'new' if again is None else 'another'}")
            self._connect(*ends, predicate, label, again)

    def _add_end(self, source: Any, target: Any, predicate: Condition | None, name: str | None) -> None:
        graph_checks.check_end(source, target, plain=predicate is None and name is None)
        if source is START:
            self.set_entry_point(target)
            return
        node = self._name_of(source, "from node")
        with self._lock:
            graph_checks.check_no_route(self._routes, node, "END")
            graph_checks.check_may_end(node, self._edges.get(node, ()))
            self.set_exit_point(node)
            self._ended.add(node)

    @names_keywords
    def add_conditional_edges(
        self,
        source: Any,
        route: Callable[[Any], Any],
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

        >>> from tau import END
        >>> other = StateGraph("sorted")
        >>> other.add_node("look", lambda state: {"kind": "even" if state["n"] % 2 == 0 else "odd"})
        >>> other.add_node("halve", lambda state: {"n": state["n"] // 2})
        >>> other.add_conditional_edges("look", lambda state: state["kind"], {"even": "halve", "odd": END})
        >>> other.add_edge("halve", "look")
        >>> other.set_entry_point("look")
        >>> other.execute({"n": 24})["n"]
        3
        """
        if source is START:
            raise GraphError(graph_checks.ONE_BEGINNING)
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

    def set_entry_point(self, node: Any) -> None:
        """Say where a run begins. Raises `GraphError` for a second entry point, and once the graph is frozen.

        >>> other = StateGraph("one")
        >>> other.add_node("work", lambda state: None)
        >>> other.set_entry_point("work")
        >>> other.entry_point
        'work'
        """
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
        `GraphError` for anything that cannot name a node, and once the graph is frozen.

        >>> other = StateGraph("one")
        >>> other.add_node("work", lambda state: None)
        >>> other.set_exit_point("work")
        >>> list(other.exit_points)
        ['work']
        """
        name = self._name_of(node, "exit point")
        with self._lock:
            if name not in self._exits:
                self._check_changeable(f"exit point {name} is new")
                self._exits[name] = None

    def _connect(
        self, source: str, target: str, predicate: Condition | None, name: str, again: Edge | None = None
    ) -> None:
        before = self._edges.get(source, ())
        reader = None if predicate is None else reader_for(f"edge {source} -> {target}", predicate, self.schema)
        index = len(before) if again is None else again.index
        edge = Edge(source, target, predicate, name, index, reader=reader)
        self._edges[source] = (*before[: edge.index], edge, *before[edge.index + 1 :])
