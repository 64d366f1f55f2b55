"""Data of one's own for each receiver of a message."""

from __future__ import annotations

from typing import Any, Final

from tau.errors import ConfigError

WHOLE: Final = frozenset({str, int, float, bool, type(None), bytes, complex})
"""The commonest of what is never changed."""


def own_copy(data: Any) -> Any:
    """A copy of lists, dicts, sets, tuples and bytearrays, and of all inside of these that are such. Anything else is
    given as it is, also what is of a class derived from these. Raises `ConfigError` for what is nested too deeply."""
    if type(data) in WHOLE:
        return data
    try:
        return _copied(data, {})
    except RecursionError:
        raise ConfigError("the data of a message is nested too deeply to be copied for its receiver") from None


def _copied(data: Any, known: dict[int, Any]) -> Any:
    kind = type(data)
    made: Any
    if kind in WHOLE:
        return data
    if id(data) in known:
        return known[id(data)]
    if kind is list:
        known[id(data)] = made = []
        made.extend([_copied(one, known) for one in data])
    elif kind is dict:
        known[id(data)] = made = {}
        made.update({key: _copied(value, known) for key, value in data.items()})
    elif kind is tuple:
        made = tuple([_copied(one, known) for one in data])
        made = known.setdefault(id(data), made)  # a list inside may lead back to it
    elif kind is set or kind is bytearray:
        made = known[id(data)] = kind(data)
    else:
        made = data
    return made
