"""Keys and elements of one hash: a dict compares each of them with all others, so their number is bounded.

A few hundred in one container are as good as others. More are counted over the whole value: it may take some seconds to
read, as it took to make, and never hours.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Collection
from typing import Any, Final, TypeVar

Argument = TypeVar("Argument")
Result = TypeVar("Result")

CROWDED: Final = (
    "so many of its keys or elements have the same hash that reading it would take for ever; "
    "give their class a better __hash__, or store a list of pairs"
)

ROOM: Final = 400_000_000
"""How large the squares of the numbers of keys of one hash may be, together, in one value: 20,000 keys of one hash."""

_FEW_KEYS = 64
_COMPARISONS = 250_000
_SECRETLY_HASHED = frozenset({str, bytes})  # by a function for which nobody finds thousands of one hash


class _Room(threading.local):
    given = False
    left = 0


_room = _Room()


def with_room(function: Callable[[Argument], Result], argument: Argument) -> Result:
    """``function(argument)``, in which `crowded` lets more pass, until `ROOM` is used up."""
    before = _room.given, _room.left
    _room.given, _room.left = True, ROOM
    try:
        return function(argument)
    finally:
        _room.given, _room.left = before


def refilled() -> bool:
    """Begin a value anew; whether there is room for one in this thread."""
    if _room.given:
        _room.left = ROOM
    return _room.given


def room_left() -> int:
    """What is left of the room of this thread; none outside `with_room`."""
    return _room.left


def crowded(keys: Collection[Any]) -> bool:
    """Whether so many keys have the same hash that making a dict or set of them costs far more than their number.

    A dict compares a key with all others of its hash; the comparisons may be some hundred a key, or what there is room
    for.
    """
    if len(keys) <= _FEW_KEYS or _SECRETLY_HASHED.issuperset(map(type, keys)):
        return False
    different = len(set(map(hash, keys)))
    if len(keys) - different <= _FEW_KEYS:
        return False
    same = Counter(map(hash, keys)).values()
    squares = sum(count * count for count in same)
    if squares <= 100 * len(keys) + _COMPARISONS:
        return False
    if squares > _room.left:
        return True
    _room.left -= squares
    return False
