"""What the log says of the list of items of a map or chain, put together from its `Planned` records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field

from tau.log.digests import SIZE, name_of
from tau.log.records import Item, Planned, Record, Scope


class PlannedItems(Struct):
    """The items in the order in which they were drawn: their digests, or the keys that were given for them.

    ``complete`` once the last one was drawn. ``finished`` are the digests (`name_of`) of the keys of the items of the
    scope that are stored, joined in the order of the log, and ``functions`` the fingerprints of what is called for
    them, as they were stored.
    """

    functions: dict[str, Any] = field(default_factory=dict)
    digests: bytearray = field(default_factory=bytearray)
    keys: list[str] = field(default_factory=list)
    complete: bool = False
    finished: bytearray = field(default_factory=bytearray)

    def __len__(self) -> int:
        return len(self.keys) or len(self.digests) // SIZE

    def entry(self, index: int) -> str | bytes:
        """The key that was given for an item, or its digest."""
        return self.keys[index] if self.keys else bytes(self.digests[SIZE * index : SIZE * (index + 1)])

    def add(self, entry: str | bytes) -> None:
        """Another one was drawn."""
        if isinstance(entry, str):
            self.keys.append(entry)
        else:
            self.digests += entry

    @property
    def finished_count(self) -> int:
        """How many items were finished, one that was finished twice counted twice."""
        return len(self.finished) // SIZE


def planned_count(record: Planned) -> int:
    """How many items a block has."""
    digests = record.body.get("digests")
    return len(record.keys) + (len(digests) // SIZE if isinstance(digests, bytes) else 0)


Plans = dict[Scope, PlannedItems]


def note_planned(plans: Plans, record: Record) -> None:
    """Count an item that is finished, or add a block; the first one of a list replaces what was planned before. What is
    not made as this version makes it is passed over."""
    if isinstance(record, Item):
        if record.scope in plans:
            plans[record.scope].finished += name_of(record.key)
        return
    if not isinstance(record, Planned):
        return
    body = record.body
    at, digests, functions = body.get("at"), body.get("digests", b""), body.get("functions", {})
    if not isinstance(digests, bytes) or len(digests) % SIZE or not isinstance(functions, Mapping):
        return
    before = plans.get(record.scope)
    if before is not None and type(kept := body.get("finished")) is int and kept >= 0:
        del before.finished[SIZE * kept :]
    if at == 0:
        finished = before.finished if before is not None else bytearray()
        before = plans[record.scope] = PlannedItems(functions=dict(functions), finished=finished)
    if before is not None and at == len(before):
        before.digests += digests
        before.keys += record.keys
        before.complete = body.get("end") is True
