"""What is finished in the node in flight, by scope and key; the items of long maps and chains in little memory."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from typing import Final

from tau.log.digests import ITEM, SIZE, Digests, name_of
from tau.log.records import Scope
from tau.values.stored import Blobs, Fetch, Inline, Part, StoredValue

_MANY: Final = 1024
"""So many items lie here as they are before any are packed."""

_WORTH_PACKING: Final = 256
"""Of so many that belong to one map or chain, and are stored, each costs less packed."""

_LENGTH: Final = 24
"""The bits of a length."""

Place = tuple[Scope, str]


class FinishedItems:
    """What is finished in the node in flight: steps, artifacts, saved states, and the items of maps and chains.

    It is used like a dictionary from scope and key to a cell. ``fetch`` reads the blobs of the run. For one thread that
    writes at a time; others may look meanwhile.
    """

    def __init__(self, fetch: Fetch) -> None:
        self.single: dict[Place, StoredValue] = {}
        """All but the items that are packed: these are of maps and chains, and stored."""
        self.packed: dict[Scope, _Packed] = {}
        self._most = _MANY
        self._fetch = fetch

    def get(self, place: Place) -> StoredValue | None:
        """The cell of what is finished there; of a packed item a new one each time."""
        cell = self.single.get(place)
        if cell is None and self.packed and (packed := self.packed.get(place[0])) is not None:
            cell = packed.get(name_of(place[1]), self._fetch)
        return cell

    def __setitem__(self, place: Place, cell: StoredValue) -> None:
        self.single[place] = cell
        if len(self.single) > self._most:
            self._pack()

    def __bool__(self) -> bool:
        return bool(self.single or self.packed)

    def scopes(self) -> set[Scope]:
        """Where something is finished."""
        return {*(scope for scope, _ in self.single), *self.packed}

    def cells(self) -> Iterator[StoredValue]:
        """The cell of everything that is finished, in no order."""
        yield from self.single.values()
        for packed in self.packed.values():
            yield from packed.cells(self._fetch)

    def clear(self) -> None:
        """Drop everything. What lies packed is left to whoever still has it."""
        self.single.clear()
        self.packed.clear()
        self._most = _MANY

    def drop(self, belongs: Callable[[Scope], bool]) -> None:
        """Drop what lies in scopes that belong to something."""
        for place in [one for one in self.single if belongs(one[0])]:
            del self.single[place]
        for scope in [one for one in self.packed if belongs(one)]:
            del self.packed[scope]

    def _pack(self) -> None:
        """Pack the items of which there are many. An interrupt leaves each of them in one place or in both."""
        lots: dict[Scope, list[Place]] = {}
        for place, cell in self.single.items():
            if cell.change is None and place[1].startswith(ITEM) and _can_be_packed(cell):
                lots.setdefault(place[0], []).append(place)
        for scope, places in lots.items():
            if len(places) < _WORTH_PACKING and scope not in self.packed:
                continue
            packed = self.packed.setdefault(scope, _Packed())
            for place in places:
                packed.put(name_of(place[1]), self.single[place])
                del self.single[place]
        self._most = _MANY + 2 * len(self.single)


def _can_be_packed(cell: StoredValue) -> bool:
    whole = cell.whole
    if type(cell) is not StoredValue:  # a state of a chain has a cell for each key
        return False
    if type(whole) is Blobs:
        alone = not whole.head and not whole.skip and len(whole.parts) == 1
        return alone and len(whole.parts[0].digest) == SIZE and 0 <= whole.parts[0].size < 1 << 64
    return len(whole.data) + 1 < 1 << _LENGTH if type(whole) is Inline else False


class _Packed:
    """Where the values of many items lie, by the digests of their keys: 40 bytes for each, and its encoding, if that
    lies in its record."""

    __slots__ = ("_data", "_digests", "_places")

    def __init__(self) -> None:
        self._digests = Digests()
        self._places = array("Q")
        self._data = bytearray()

    def put(self, name: bytes, cell: StoredValue) -> None:
        """Keep it; another one under that name is replaced."""
        whole, data, places = cell.whole, self._data, self._places
        start = len(data)
        if type(whole) is Inline:
            data += b"\0" + whole.data
        else:
            assert type(whole) is Blobs
            data += b"\1" + whole.parts[0].digest + whole.parts[0].size.to_bytes(8)
        place = start << _LENGTH | len(data) - start
        number = self._digests.number(name)
        if number < 0:  # its place first: who finds the name finds that
            del places[len(self._digests) :]
            places.append(place)
            self._digests.add(name)
        else:
            places[number] = place

    def get(self, name: bytes, fetch: Fetch) -> StoredValue | None:
        number = self._digests.number(name)
        return None if number < 0 else self._cell(self._places[number], fetch)

    def cells(self, fetch: Fetch) -> Iterator[StoredValue]:
        for place in self._places:
            yield self._cell(place, fetch)

    def _cell(self, place: int, fetch: Fetch) -> StoredValue:
        start = place >> _LENGTH
        data = bytes(self._data[start : start + (place & (1 << _LENGTH) - 1)])
        if data[0] == 0:
            return StoredValue(Inline(data[1:]), fetch=fetch)
        part = Part(data[1 : SIZE + 1], int.from_bytes(data[SIZE + 1 :]))
        return StoredValue(Blobs(b"", 0, (part,)), fetch=fetch)
