"""What a graph is made of, and who may change it."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from tau.checks import checked_name
from tau.errors import GraphError
from tau.graph.edges import Edge, Route
from tau.graph.naming import name_of
from tau.graph.nodes import Node

if TYPE_CHECKING:
    from tau.graph.fingerprint import GraphFingerprint
    from tau.schema.schema import Schema


class Parts:
    """The nodes, edges, routes and ends of a graph; frozen at its first run."""

    def __init__(self, name: str, schema: Schema | None = None) -> None:
        self.name = checked_name("graph name", name, GraphError)
        self.schema = schema
        self._nodes: dict[str, Node] = {}
        self._edges: dict[str, tuple[Edge, ...]] = {}
        self._routes: dict[str, Route] = {}
        self._exits: dict[str, None] = {}
        self._ended: set[str] = set()  # the exit points that an edge to END made
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

    def _check_changeable(self, what: str) -> None:
        if self._frozen:
            raise GraphError(
                f"graph {self.name} has been run and cannot be changed any more: {what}; build the graph again, from "
                "StateGraph(...) on; its runs continue from the store"
            )

    def _name_of(self, node: Any, what: str, *, again: bool = False) -> str:
        return name_of(self._nodes, node, what, again=again)
