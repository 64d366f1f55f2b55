"""Adding nodes to a graph."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable
from types import CodeType
from typing import TYPE_CHECKING, Any, TypeVar, overload

from tau.config import Retry
from tau.errors import GraphError
from tau.graph import validation as graph_checks
from tau.graph.edges import edges_of
from tau.graph.inner import InnerGraphs
from tau.graph.naming import own_name
from tau.graph.nodes import Node, make_node
from tau.graph.parts import Parts
from tau.graph.redefinition import alike, lines_of_both, same_home
from tau.spelling import names_keywords

if TYPE_CHECKING:
    from tau.graph.graph import Graph

_log = logging.getLogger("tau")

_F = TypeVar("_F", bound=Callable[..., Any])


class NodeAdding(Parts):
    """The ways in which a graph is given its nodes."""

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

        >>> from tau import Retry
        >>> other = StateGraph("shifted")
        >>> other.add_node("shift", lambda state: {"n": state["n"] + 1}, retry=Retry(attempts=3), timeout=60.0)
        >>> other.sequence("shift")
        >>> other.execute({"n": 1})["n"]
        2
        """
        node = make_node(
            name,
            InnerGraphs.of(function) if isinstance(function, Parts) else function,
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

        >>> other = StateGraph("shifted")
        >>> @other.node(timeout=60.0)
        ... def shift(state):
        ...     return {"n": state["n"] + 1}
        >>> list(other.nodes)
        ['shift']
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
