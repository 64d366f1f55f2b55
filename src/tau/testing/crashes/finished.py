"""What records say is finished: visits of nodes, and items inside them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct

from tau.log.digests import ITEM
from tau.log.encoding import unseal
from tau.log.records import CheckpointRecord, Item, Scope, path_of
from tau.node.context import visit_key


class Visit(Struct, frozen=True):
    """A finished visit of a node."""

    scope: Scope
    node: str
    visit: int

    @property
    def path(self) -> str:
        return path_of(self.scope, self.node)

    def key(self, run_id: str) -> str:
        """What `Context.key` is there."""
        return visit_key(run_id, self.scope, self.node, self.visit)


class Piece(Struct, frozen=True):
    """A finished item: the last of its scope is the step, map or chain that it belongs to. ``label`` is what a line of
    effects calls it, empty where the item has no name of its own."""

    scope: Scope
    key: str
    label: str

    def visit_key(self, run_id: str) -> str:
        """What `Context.key` is around it."""
        node, visit, _ = self.scope[-1]
        return visit_key(run_id, self.scope[:-1], node, visit)


class Finished(Struct, frozen=True):
    """What is finished, in the order of the records; twice if it is there twice."""

    visits: list[Visit] = []
    pieces: list[Piece] = []


def finished(run_id: str, records: Iterable[tuple[int, bytes]]) -> Finished:
    """What those records, with their positions, say. Raises `tau.errors.CorruptCheckpointError` for a damaged one."""
    found = Finished()
    for position, data in records:
        record = unseal(run_id, position, data)
        if isinstance(record, CheckpointRecord):
            found.visits.append(Visit(record.scope, record.node, record.visit))
        elif isinstance(record, Item) and record.scope:
            found.pieces.append(Piece(record.scope, record.key, _label(record)))
    return found


def _label(record: Item) -> str:
    if not record.key.startswith(ITEM):
        return record.name if not record.key else ""
    kind, _, given = record.key.removeprefix(ITEM).partition(" ")
    return given if kind in ("s", "i") else ""


def twice(found: Sequence[Struct]) -> list[Struct]:
    """Those that are there more than once."""
    seen: set[Struct] = set()
    more: dict[Struct, None] = {}
    for one in found:
        if one in seen:
            more[one] = None
        seen.add(one)
    return list(more)
