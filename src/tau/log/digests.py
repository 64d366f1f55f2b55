"""Many digests in little memory: 28 bytes for each, where a set of them takes 150."""

from __future__ import annotations

import sys
from array import array
from hashlib import sha256
from typing import Final

SIZE: Final = 20
"""The bytes of a digest."""

ITEM: Final = "item "
"""What the key of an item of a map or chain begins with, so that it is never that of an artifact or a saved state."""

CALL: Final = "call "
"""What the key of a journaled call begins with."""

_FIRST: Final = 16  # slots
_FEW: Final = 1024
_HEX: Final = len(ITEM) + 2 * SIZE


def name_of(key: str) -> bytes:
    """The digest that stands for the key of an item: the one that it holds, or one of its text."""
    if len(key) == _HEX and key.startswith(ITEM):
        try:
            return bytes.fromhex(key[len(ITEM) :])
        except ValueError:
            pass
    return sha256(key.encode("utf-8", "surrogatepass")).digest()[:SIZE]


def read_call(key: str) -> tuple[str, int]:
    """The digest and the number in the key of a journaled call."""
    name, _, number = key.removeprefix(CALL).partition(" ")
    return name, int(number) if number.isdecimal() else 1


class Digests:
    """Different digests, numbered from 0 in the order in which they came.

    For one thread that adds at a time; others may look meanwhile. An interrupt leaves it whole, at most with one that
    has a number and is not found.
    """

    __slots__ = ("_all", "_slots")

    def __init__(self) -> None:
        self._all = bytearray()
        self._slots = array("I", bytes(4 * _FIRST))  # open addressing: the number + 1, or 0 where nothing is

    def __len__(self) -> int:
        return len(self._all) // SIZE

    def number(self, digest: bytes) -> int:
        """Its number; -1 where it is not here."""
        slots, is_at = self._slots, self._all.startswith
        last = len(slots) - 1
        at = int.from_bytes(digest[:4], sys.byteorder) & last
        while (number := slots[at]) and not is_at(digest, (number - 1) * SIZE):
            at = (at + 1) & last
        return number - 1

    def add(self, digest: bytes) -> int:
        """Its number, from now on if it was not here."""
        slots, found = self._slots, self._all
        if len(found) * 2 >= len(slots) * SIZE:
            slots = self._grown()
        last, is_at = len(slots) - 1, found.startswith
        at = int.from_bytes(digest[:4], sys.byteorder) & last  # no call: it is made for each item that is drawn
        while (number := slots[at]) and not is_at(digest, (number - 1) * SIZE):
            at = (at + 1) & last
        if not number:
            found += digest
            number = slots[at] = len(found) // SIZE
        return number - 1

    def _grown(self) -> array[int]:
        slots = array("I", bytes(4 * len(self._slots) * 2))
        last = len(slots) - 1
        with memoryview(self._all) as every, every.cast("I") as words, words[:: SIZE // 4] as heads:
            for number, head in enumerate(heads, 1):
                at = head & last
                while slots[at]:
                    at = (at + 1) & last
                slots[at] = number
        self._slots = slots
        return slots


class Counts:
    """How often digests were counted. For one thread."""

    __slots__ = ("_counts", "_digests", "_few", "total")

    def __init__(self) -> None:
        self._few: dict[bytes, int] | None = {}  # quicker, until they are many
        self._digests = Digests()
        self._counts = array("I")
        self.total = 0

    def __getitem__(self, digest: bytes) -> int:
        if self._few is not None:
            return self._few.get(digest, 0)
        number = self._digests.number(digest)
        return 0 if number < 0 else self._counts[number]

    def add(self, digest: bytes) -> int:
        """Count it; how often it is counted now."""
        few = self._few
        if few is not None:
            count = few[digest] = few.get(digest, 0) + 1
            self.total += 1
            if len(few) > _FEW:
                self._pack(few)
            return count
        number, counts = self._digests.add(digest), self._counts
        while len(counts) <= number:
            counts.append(0)
        counts[number] += 1
        self.total += 1
        return counts[number]

    def take(self, digest: bytes) -> bool:
        """Count it once less; whether it was counted."""
        few = self._few
        if few is not None:
            count = few.get(digest, 0)
            if count:
                few[digest] = count - 1
                self.total -= 1
            return count > 0
        number = self._digests.number(digest)
        if number < 0 or not self._counts[number]:
            return False
        self._counts[number] -= 1
        self.total -= 1
        return True

    def _pack(self, few: dict[bytes, int]) -> None:
        digests = Digests()
        for digest in few:
            digests.add(digest)
        self._digests, self._counts = digests, array("I", few.values())
        self._few = None
