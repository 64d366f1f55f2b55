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

from tau.values.refusal import Refused

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

_CHUNK = 1024  # what fits the processor's cache: twice the speed of whole levels on large values
_SUSPICIOUS = 4_000_000  # parts seen before asking whether a few shared containers make them up


class _Probe:
    def __init__(self) -> None:
        self.x = ()


# From CPython 3.13 on the __dict__ of an instance keeps its values in the instance and lists no contents of its own.
_HIDDEN_CONTENTS = not gc.get_referents(_Probe().__dict__)


def count_plain(values: Sequence[Any], depth: int) -> int:
    """The number of parts if ``values`` and all below them are plain and not too deep; otherwise -1.

    ``depth`` is the number of containers around ``values``. Integers beyond 64 bits and lone surrogates are not looked
    for: msgspec refuses those itself. Raises `Refused` when there are more than `MAX_ITEMS` parts.
    """
    total = 0
    checked = False
    todo: list[tuple[Sequence[Any], int]] = [(values, depth)]
    while todo:
        level, depth = todo.pop()
        while True:
            types = set(map(type, level))
            total += len(level)
            if types <= LEAVES:
                break
            if depth >= MAX_DEPTH or not types <= PLAIN:
                return -1
            if total > _SUSPICIOUS and not checked:
                _refuse_too_many(values)
                checked = True
            if len(level) > 2 * _CHUNK:
                total -= len(level)
                todo += [(level[i : i + _CHUNK], depth) for i in range(0, len(level), _CHUNK)]
                break
            level = _contents(level, types)
            depth += 1
    return total


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


def _refuse_too_many(values: Sequence[Any]) -> None:
    """Count every container once, whatever the number of its appearances: linear even for a billion laughs."""
    sizes: dict[int, int] = {}
    todo: list[tuple[Any, bool]] = [(values, False)]
    while todo:
        container, counted = todo.pop()
        parts = container.values() if type(container) is dict else container
        inner = [part for part in parts if type(part) is list or type(part) is dict]
        if counted:
            sizes[id(container)] = len(parts) + sum(sizes[id(part)] for part in inner)
        elif id(container) not in sizes:
            sizes[id(container)] = 0
            todo.append((container, True))
            todo += [(part, False) for part in inner]
    if sizes[id(values)] > MAX_ITEMS:
        raise Refused("", "value", f"it has {TOO_MANY}", MAX_ITEMS)
