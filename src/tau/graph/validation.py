"""What can be wrong with a whole graph, found without running it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from tau.errors import GraphError
from tau.graph.edges import END, START, Edge, Route
from tau.graph.nodes import Node
from tau.graph.redefinition import both_lambdas, same, same_home
from tau.spelling import did_you_mean


def problems_of(graph: Any) -> list[str]:
    """All that makes it impossible to run, the graphs inside its nodes included."""
    return problems(graph.nodes, graph.edges, graph.entry_point, graph.exit_points)


def problems(
    nodes: Mapping[str, Node],
    edges: Mapping[str, Sequence[Edge]],
    entry: str | None,
    exits: Collection[str],
) -> list[str]:
    """All that makes a graph impossible to run, each as one sentence; empty where nothing does."""
    found = [] if nodes else ["graph has no nodes"]
    if entry is None:
        found.append("entry point not set: call sequence(...) or set_entry_point(node)")
    elif entry not in nodes:
        found.append(f"entry point {entry} does not exist{_known(nodes)}")
    ends = any(edge.target == END for edge in _all(edges))
    if not exits and not ends:
        found.append("no exit points set: call sequence(...) or set_exit_point(node)")
    if ends and END in nodes:
        found.append(f"a node is named {END}, which is tau.END, where a route ends a run; give it another name")
    found += [f"exit point {name} does not exist{_known(nodes)}" for name in exits if name not in nodes]
    for edge in _all(edges):
        where = f"edge {edge.source} -> {edge.target}"
        found += [f"{where}: from node {edge.source} does not exist"] * (edge.source not in nodes)
        found += [f"{where}: to node {edge.target} does not exist"] * (edge.target not in nodes and edge.target != END)
    for name, node in nodes.items():
        found += _problems_inside(name, node) if node.inside is not None else []
    if entry is None or entry not in nodes:
        return found
    reached, beyond = reachable(entry, edges, exits), reachable(entry, edges, ())
    for name in exits:
        if name in nodes and name not in beyond:
            found.append(f"exit point {name} cannot be reached from entry point {entry}")
    for name in nodes:
        if name in reached and name not in exits and not edges.get(name):
            found.append(f"node {name} has no outgoing edges and is not an exit point")
    return found


def _problems_inside(name: str, node: Node) -> list[str]:
    found: list[str] = []
    for one in node.inside.branches if node.inside is not None else ():
        where = f"in node {'/'.join(filter(None, (name, one.name)))}: "
        found += [where + problem for problem in problems_of(one.graph)]
    return found


def check_not_inside(graph: Any, node: Node) -> None:
    """Raise `GraphError` for a node that has the graph inside, which would then be inside itself."""
    ways, seen = [(node, node.name)], set[int]()
    for part, way in ways:
        for one in part.inside.branches if part.inside is not None else ():
            if id(one.graph) in seen:
                continue
            seen.add(id(one.graph))
            here = f"{way}/{one.name}" if one.name else way
            if one.graph is graph:
                raise GraphError(
                    f"node {node.name}: graph {graph.name} would be inside itself, at {here}, and never come to an "
                    "end; to repeat nodes, lead an edge back to one of them"
                )
            ways += [(inner, f"{here}/{name}") for name, inner in one.graph.nodes.items() if inner.inside is not None]


def warnings(
    nodes: Mapping[str, Node], edges: Mapping[str, Sequence[Edge]], entry: str | None, exits: Collection[str]
) -> list[str]:
    """What looks like a mistake but can be run, each as one sentence."""
    found = [
        f"node {name} has no Python code that could be looked at: once it ran, a run cannot be resumed without version="
        for name, node in nodes.items()
        if node.quick.opaque
    ]
    for source, leaving in edges.items():
        if source in exits:
            found += [f"edge {source} -> {one.target} is never taken: {source} is an exit point" for one in leaving]
            continue
        first = next((one for one in leaving if one.predicate is None), None)
        if first is not None:
            late = leaving[first.index + 1 :]
            found += [
                f"edge {source} -> {one.target} is never taken: {source} -> {first.target} always is" for one in late
            ]
    if entry is None or entry not in nodes:
        return found
    reached = reachable(entry, edges, exits)
    behind = reachable(entry, edges, ()) - reached
    for name in nodes:
        if name in behind and name in exits:
            found.append(
                f"exit point {name} is never reached: every way leads through another exit point, which ends the run"
            )
        elif name not in reached:
            found.append(f"node {name} cannot be reached from entry point {entry}")
    ending = _leading_to((*exits, END), edges, exits)
    for name in nodes:
        if name in reached and name not in ending and edges.get(name):
            found.append(f"from node {name} no exit point can be reached")
    return found


def reachable(entry: str, edges: Mapping[str, Sequence[Edge]], exits: Collection[str]) -> set[str]:
    """The nodes that a run can visit. An exit point ends the run, so that no way leads on from there."""
    reached, waiting = {entry}, [entry]
    while waiting:
        name = waiting.pop()
        if name in exits:
            continue
        for edge in edges.get(name, ()):
            if edge.target not in reached:
                reached.add(edge.target)
                waiting.append(edge.target)
    return reached


def _leading_to(targets: Iterable[str], edges: Mapping[str, Sequence[Edge]], exits: Collection[str]) -> set[str]:
    before: dict[str, list[str]] = {}
    for edge in _all(edges):
        if edge.source not in exits:
            before.setdefault(edge.target, []).append(edge.source)
    leading, waiting = set(targets), list(targets)
    while waiting:
        for source in before.get(waiting.pop(), ()):
            if source not in leading:
                leading.add(source)
                waiting.append(source)
    return leading


def _all(edges: Mapping[str, Sequence[Edge]]) -> Iterable[Edge]:
    return (edge for leaving in edges.values() for edge in leaving)


def _known(nodes: Mapping[str, Node]) -> str:
    return f" (nodes are {', '.join(nodes)})" if nodes else ""


def check_no_route(routes: Mapping[str, Route], source: str, target: str) -> None:
    """Raise `GraphError` for an edge that nothing would lead along."""
    if source in routes:
        raise GraphError(
            f"edge {source} -> {target}: node {source} has a route, which alone decides what follows; add the node to "
            "the mapping of add_conditional_edges"
        )


ONE_BEGINNING: Final = (
    "a run begins at one node, whatever its input is: let a node that returns None be the first, and give "
    "its edges the conditions"
)


def check_end(source: Any, target: Any, *, plain: bool) -> None:
    """Raise `GraphError` for an edge that cannot lead from START or to END; one with a condition or a name is not
    ``plain``."""
    if target is START:
        raise GraphError("no edge leads to START; to repeat nodes, lead an edge back to the first of them")
    if source == END:
        raise GraphError("no edge comes from END, where a run is over")
    if source is START and target == END:
        raise GraphError("an edge from START leads to the first node, and one to END comes from a last node")
    if not plain and source is START:
        raise GraphError(f"an edge from START has no condition and no name: {ONE_BEGINNING}")
    if not plain:
        raise GraphError(
            "an edge to END has no condition and no name, as it makes the node an exit point; where it depends on the "
            "state whether the run ends, decide that with add_conditional_edges"
        )


def check_not_ended(ended: Collection[str], source: str, target: str) -> None:
    """Raise `GraphError` for an edge that comes from a node which an edge leads to END."""
    if source in ended:
        raise GraphError(
            f"edge {source} -> {target}: {source} has an edge to END, so every run ends there; where it depends on the "
            "state which comes next, decide that with add_conditional_edges"
        )


def check_may_end(source: str, edges: Sequence[Edge]) -> None:
    """Raise `GraphError` for an edge to END that other edges stand beside."""
    if edges:
        raise GraphError(
            f"edge {source} -> END: {source} has an edge to {edges[0].target}, and an edge to END ends every run that "
            "comes there; where it depends on the state, decide that with add_conditional_edges"
        )


def check_routable(source: str, edges: Sequence[Edge], before: Route | None, route: Route) -> None:
    """Raise `GraphError` for a route of a node that has edges, or another route."""
    if before is None and edges:
        raise GraphError(
            f"node {source} has an edge to {edges[0].target} already, and a route alone decides what follows; leave "
            "out the edges, or add the nodes to the mapping"
        )
    if before is not None:
        one, other = before.function, route.function
        if not (same(one, other) or same_home(one, other) or both_lambdas(one, other)):
            raise GraphError(
                f"node {source} has a route already, {before.name}; a node has one: decide in one function"
            )


def check_options(options: Mapping[str, Any]) -> None:
    """Raise `TypeError` for what is not an option of a node."""
    for name in options:
        if name not in _OPTIONS:
            near = did_you_mean(name, _OPTIONS)
            raise TypeError(f"@graph.node has no option {name!r}{near or f'; its options are {_LISTED}'}")


_OPTIONS = ("name", "retry", "timeout", "idempotent", "version", "depends_on", "executor")
_LISTED = ", ".join(_OPTIONS)
