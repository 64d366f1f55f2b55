"""Is a value plain, all the way down? Answered at the speed of C.

Plain values are written by msgspec without a Python call per element. msgspec also writes a tuple as an array, a
``Decimal`` as text and an ``IntEnum`` as a number, without a word, so every type in the value has to be seen first.
`gc.get_referents` lists the contents of many containers in one call; only exact lists and dicts are ever given to it.
"""

from __future__ import annotations

import gc
from collections.abc import Sequence
from itertools import chain
from typing import Any

MAX_DEPTH = 200
"""How many containers may lie inside one another."""

MAX_ITEMS = 50_000_000
"""How many parts one value may have, a shared part counted wherever it appears."""

TOO_MANY = (
    f"more than {MAX_ITEMS:,} parts, a shared one counted wherever it appears; "
    "keep large data in arrays or files, and shared parts under names of their own"
)

LEAVES: frozenset[type] = frozenset({type(None), bool, int, float, str, bytes})
PLAIN: frozenset[type] = LEAVES | {list, dict}

FEW = 256
MANY = 8192  # small enough for the processor's cache


class _Probe:
    def __init__(self) -> None:
        self.x = ()


# From CPython 3.13 on the __dict__ of an instance keeps its values in the instance and lists no contents of its own.
_probe = _Probe()  # alive while it is asked: the values move into the dict when the instance goes
_HIDDEN_CONTENTS = not gc.get_referents(_probe.__dict__)


def is_plain(value: list[Any] | dict[Any, Any]) -> bool:
    """Whether a whole value is found to be plain; the quick answer for small ones first."""
    contents = gc.get_referents(value)
    if not contents:
        contents = _contents((value,), {type(value)})
    types = set(map(type, contents))
    if types <= LEAVES:
        return len(contents) <= MAX_ITEMS
    return types <= PLAIN and count_plain(contents, 1, FEW) >= 0


def count_plain(values: Sequence[Any], depth: int, enough: int) -> int:
    """The number of parts if ``values`` and all below them are found to be plain and not too deep; otherwise -1.

    A scan that met ``enough`` parts and sees more containers gives up with -1, so that asking about the same value at
    several levels stays cheap; the caller then asks about smaller pieces.
    ``depth`` is the number of containers around ``values``. Integers beyond 64 bits and lone surrogates are not looked
    for: msgspec refuses those itself.
    """
    total = 0
    level = values
    while True:
        total += len(level)
        if total > enough and not LEAVES.issuperset(map(type, level[:64])):
            return -1
        types = set(map(type, level))
        if types <= LEAVES:
            return total
        if total > enough or depth >= MAX_DEPTH or not types <= PLAIN:
            return -1
        level = _contents(level, types)
        depth += 1


def _contents(level: Sequence[Any], types: set[type]) -> list[Any]:
    """What the containers among ``level`` hold: dict values, keys too where not all of them are text, list elements."""
    if not _HIDDEN_CONTENTS or dict not in types:
        return gc.get_referents(*level)
    dicts = level if len(types) == 1 else [value for value in level if type(value) is dict]
    found = list(map(gc.get_referents, dicts))
    if not all(found):
        found = [part or list(chain(d, d.values())) for part, d in zip(found, dicts, strict=True)]
    contents = list(chain.from_iterable(found))
    if list in types:
        contents += chain.from_iterable(value for value in level if type(value) is list)
    return contents
