"""The fingerprint of a whole graph from its parts, taken from a stored one where they are the same."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec.structs import replace

from tau.graph.digesting import hashed
from tau.graph.edges import ANYWHERE, Edge, Route
from tau.graph.fingerprint import (
    BranchFingerprint,
    EdgeFingerprint,
    GraphFingerprint,
    InnerFingerprint,
    NodeFingerprint,
    alike_but_for_trees,
    by_later_rule,
    code_alike_but_for_trees,
    code_by_later_rule,
    of_code,
)
from tau.graph.inner import InnerGraphs
from tau.graph.nodes import Node

if TYPE_CHECKING:
    from tau.schema.fields import Field
    from tau.schema.schema import Schema


def fingerprint_of(
    name: str,
    nodes: Mapping[str, Node],
    edges: Mapping[str, Sequence[Edge]],
    *,
    entry: str | None,
    exits: Iterable[str],
    stored: GraphFingerprint | None,
    schema: Schema | None = None,
) -> GraphFingerprint:
    """See `Graph.fingerprint`."""
    ways = [edge for leaving in edges.values() for edge in _told(leaving)]
    before = stored.edges if stored is not None and len(stored.edges) == len(ways) else (None,) * len(ways)
    known = stored.nodes if stored is not None else {}
    return GraphFingerprint(
        name=name,
        nodes={one: _of(node, known.get(one)) for one, node in nodes.items()},
        edges=tuple(map(_of_edge, ways, before)),
        entry=entry,
        exits=tuple(sorted(exits)),
        schema=None if schema is None else {name: _digest_of(field) for name, field in schema.fields.items()},
        inner={
            one: _inside(node.inside, stored.inner.get(one) if stored is not None else None)
            for one, node in nodes.items()
            if node.inside is not None
        },
    )


def _inside(inner: InnerGraphs, before: InnerFingerprint | None) -> InnerFingerprint:
    known = {} if before is None else {one.name: one.graph for one in before.branches}
    branches = tuple(
        BranchFingerprint(one.name, one.graph.fingerprint(known.get(one.name)), one.outputs) for one in inner.branches
    )
    merge = {key: how if isinstance(how, str) else of_code(how) for key, how in inner.merge.items()}
    return InnerFingerprint(branches, merge)


def _digest_of(field: Field) -> str:
    """What decides which values fit: where it is what it was, values that are stored need not be looked at again."""
    code = [of_code(function).digests for function in field.code]
    return hashed("field", field.rule.encode(), *((tree or bytecode).encode() for bytecode, tree in code)).hex()


def _told(leaving: Sequence[Edge]) -> Sequence[Edge]:
    """All edges of a node; one where its route answers with names of nodes, so that another node is no other route."""
    if leaving and leaving[0].route is not None and leaving[0].route.targets is None:
        first = leaving[0]
        return [Edge(first.source, ANYWHERE, first.predicate, "", 0, first.route)]
    return leaving


def _of(part: Node | Route, before: NodeFingerprint | None) -> NodeFingerprint:
    if before is None:
        return part.fingerprint
    before = by_later_rule(before, part.quick)
    return before if alike_but_for_trees(before, part.quick) else part.fingerprint


def _of_edge(edge: Edge, before: EdgeFingerprint | None) -> EdgeFingerprint:
    ends = (edge.source, edge.target, edge.name)
    if before is not None and ends != (before.source, before.target, before.name):
        before = None
    if edge.route is not None:
        return EdgeFingerprint(*ends, None, _of(edge.route, before.route if before is not None else None))
    if before is not None and before.route is None:
        quick = None if edge.predicate is None else of_code(edge.predicate, trees=False)
        if before.predicate is not None and quick is not None:
            before = replace(before, predicate=code_by_later_rule(before.predicate, quick))
        if code_alike_but_for_trees(before.predicate, quick):
            return before
    return EdgeFingerprint(*ends, None if edge.predicate is None else of_code(edge.predicate))
