"""A graph: nodes, edges, one entry point, exit points."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from tau.errors import GraphError
from tau.graph import drawing
from tau.graph import validation as graph_checks
from tau.graph.adding_edges import EdgeAdding
from tau.graph.adding_nodes import NodeAdding
from tau.graph.edges import END, START, Edge
from tau.graph.nodes import Node, make_node
from tau.graph.redefinition import meant_again, same
from tau.late_imports import load_module

if TYPE_CHECKING:
    from tau.graph.fingerprint import GraphFingerprint

__all__ = ["Edge", "Graph", "Node"]


class Graph(NodeAdding, EdgeAdding):
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

    def sequence(self, *nodes: Any) -> None:
        """Chain nodes, the first becoming the entry point and the last an exit point.

        Each is the name of a node or a function; a function that is not a node yet is added under its own name. Nodes
        and edges that are already there are kept, as when a notebook's cell is run again. Raises `GraphError`, and then
        changes nothing, for no nodes at all, a node given twice, a name without a node, a different entry point, and
        once the graph is frozen.

        >>> other = StateGraph("two")
        >>> other.sequence(read, add_up)  # adds them as nodes
        >>> other.entry_point, list(other.exit_points)
        ('read', ['add_up'])
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

    def _chain(self, nodes: Sequence[Any]) -> tuple[list[str], dict[str, Node]]:
        names: list[str] = []
        added: dict[str, Node] = {}
        for item in nodes:
            if item is START or item == END:
                raise GraphError("sequence: it sets the entry point and the exit point itself; leave out START and END")
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

    def validate(self) -> None:
        """Check the graph as a whole. Raises `GraphError` with every problem found in ``.problems``.

        >>> from tau import GraphError
        >>> try:
        ...     StateGraph("empty").validate()
        ... except GraphError as error:
        ...     print(*error.problems, sep="\\n")
        graph has no nodes
        entry point not set: call sequence(...) or set_entry_point(node)
        no exit points set: call sequence(...) or set_exit_point(node)
        """
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

        >>> graph.freeze()  # as its first run does
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

        >>> graph.fingerprint() == graph.fingerprint()
        True
        """
        if self._fingerprint is not None:
            return self._fingerprint
        beside = self._beside
        if beside is not None and (beside[0] is stored or beside[0] == stored):  # mostly the run before was alike
            return beside[1]
        load_module("tau.graph.fingerprinting")
        from tau.graph.fingerprinting import fingerprint_of

        with self._lock:
            parts = self.name, self._nodes, self._edges
            found = fingerprint_of(*parts, entry=self.entry_point, exits=self._exits, stored=stored, schema=self.schema)
            if self._frozen and stored is None:
                self._fingerprint = found
            elif self._frozen:
                self._beside = stored, found
            return found

    def to_mermaid(self) -> str:
        """A drawing as a Mermaid flowchart, ending with a newline. Raises nothing.

        >>> print(graph.to_mermaid(), end="")
        flowchart TD
            n0(["read"])
            n1[["add_up"]]
            n0 --> n1
        """
        return drawing.mermaid(self)

    def to_text(self) -> str:
        """A drawing as plain text, one line for each node and edge, ending with a newline. Raises nothing.

        >>> print(graph.to_text(), end="")
        read  [entry]
          -> add_up
        add_up  [exit]
        """
        return drawing.text(self)

    def to_svg(self) -> str:
        """A drawing as an SVG picture, made without Graphviz. Raises nothing.

        >>> from pathlib import Path
        >>> Path("squares.svg").write_text(graph.to_svg()) > 0
        True
        """
        load_module("tau.graph.svg")
        from tau.graph.svg import svg

        return svg(self)

    def _repr_html_(self) -> str:
        return self.to_svg()

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/plain": repr(self), "text/vnd.mermaid": self.to_mermaid()}

    def __repr__(self) -> str:
        edges = sum(map(len, self._edges.values()))
        return f"{type(self).__name__}({self.name!r}, {len(self._nodes)} nodes, {edges} edges)"
