"""What is finished in the node in flight, as it is shown: items of a map or chain, perhaps a million, as one."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator

from msgspec import Struct
from msgspec.structs import replace

from tau.log.chained import stored_size
from tau.log.digests import CALL, ITEM, Digests, name_of
from tau.log.items import FinishedItems
from tau.log.planned import Plans
from tau.log.records import Item, Record, Scope
from tau.log.subgraphs import names_in


class Piece(Struct, frozen=True):
    """What is finished in the node in flight: a step, a journaled call, an artifact, or ``count`` items of a map or
    chain together, of which so many were ``planned`` (``None`` where that is not known); ``ended`` in Unix seconds."""

    name: str
    kind: str
    seconds: float
    size: int
    ended: float
    count: int = 1
    planned: int | None = None


class _Lot:
    """The items of one map or chain: of each its newest record counts."""

    def __init__(self) -> None:
        self.names = Digests()
        self.seconds = array("d")
        self.sizes = array("Q")
        self.ended = 0.0

    def add(self, record: Item) -> None:
        number = self.names.add(name_of(record.key))
        if number == len(self.seconds):
            self.seconds.append(0.0)
            self.sizes.append(0)
        self.seconds[number], self.sizes[number] = record.seconds, stored_size(record)
        self.ended = max(self.ended, record.time)


class Finished:
    """The records of what is finished, as they are read; of items only what is shown of them together."""

    def __init__(self) -> None:
        self.scopes: set[Scope] = set()
        """Of all that ever was."""
        self._found: dict[tuple[Scope, str], Item | _Lot] = {}

    def note(self, record: Record, left: FinishedItems) -> None:
        """A record was read, after which that is left; where nothing is, a visit has ended, or is to be done anew."""
        if not isinstance(record, Item):
            if not left:
                self._found.clear()
            return
        self.scopes.add(record.scope)
        if not record.key.startswith(ITEM):
            self._found[record.scope, record.key] = record
            return
        lot = self._found.setdefault((record.scope, ITEM), _Lot())
        assert isinstance(lot, _Lot)
        lot.add(record)

    def pieces(self, left: FinishedItems, plans: Plans) -> list[Piece]:
        """What is shown of what is left; where maps nest, by the names on the way to them."""
        found: dict[tuple[str, str], Piece] = {}
        scopes: dict[tuple[str, str], set[Scope]] = {}
        for scope, one in self._left(left):
            key = one.name, one.kind
            before = found.get(key)
            found[key] = one if before is None else _together(before, one)
            scopes.setdefault(key, set()).add(scope)
        return [replace(one, planned=_planned(scopes[key], plans)) for key, one in found.items()]

    def _left(self, left: FinishedItems) -> Iterator[tuple[Scope, Piece]]:
        alive = left.scopes()
        for (scope, key), one in self._found.items():
            path = " / ".join(names_in(scope))
            if isinstance(one, Item):
                if left.get((scope, key)) is not None:
                    yield scope, Piece(path or one.name, _kind(key), one.seconds, stored_size(one), one.time)
            elif scope in alive:
                yield scope, Piece(path, "items", sum(one.seconds), sum(one.sizes), one.ended, len(one.names))


def _kind(key: str) -> str:
    return "call" if key.startswith(CALL) else key or "step"


def _together(one: Piece, other: Piece) -> Piece:
    return Piece(
        one.name,
        one.kind,
        one.seconds + other.seconds,
        one.size + other.size,
        max(one.ended, other.ended),
        one.count + other.count,
    )


def _planned(scopes: Iterable[Scope], plans: Plans) -> int | None:
    """How many items there are in these maps; ``None`` where one was not drawn to its end, or has no plan."""
    found = [plans.get(scope) for scope in scopes]
    return sum(map(len, whole)) if len(whole := [one for one in found if one and one.complete]) == len(found) else None
