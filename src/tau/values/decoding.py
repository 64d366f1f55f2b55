"""Bytes to values. Only what `tau.values.encode` can write is built; nothing is imported, opened or run."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

from msgspec import Raw, ValidationError
from msgspec.msgpack import Decoder

from tau.errors import CorruptCheckpointError, UnsupportedFormatError
from tau.signals import pass_on
from tau.values.crowding import CROWDED, crowded, with_room
from tau.values.fresh_stack import with_fresh_stack
from tau.values.plain import MAX_DEPTH
from tau.values.registry import BY_TAG, BY_TYPE, kind_of_tag, missing
from tau.values.tags import FROZENSET, MAP, SET, TUPLE


def decode(data: bytes) -> Any:
    """The value that was encoded; a new one every time, apart from atoms.

    Raises `tau.errors.CorruptCheckpointError` for bytes that `encode` does not write, and
    `tau.errors.UnsupportedFormatError` for a type, a registered name or a version that is not known here.
    """
    try:
        return _decode(data) if len(data) < _LONG else _whole(data)
    except (CorruptCheckpointError, UnsupportedFormatError, RecursionError):
        pass
    except Exception as error:
        pass_on(error)
    # Perhaps many keys have one hash, or the stack is deep here. Or a library took what a signal's handler raised for
    # an error of its own, and went on without what it had asked for. Such bytes are read the second time; damage is
    # damage again.
    return _with_room(data)


def _with_room(data: bytes) -> Any:
    try:
        try:
            return with_room(_whole, data)
        except RecursionError:
            return with_fresh_stack(partial(with_room, _decode), data)
    except (CorruptCheckpointError, UnsupportedFormatError):
        raise
    except ImportError as error:
        pass_on(error)
        package, what = missing(error)
        raise UnsupportedFormatError(f"a stored value cannot be read: {what}", found=package) from error
    except RecursionError as error:
        raise _corrupt("it is nested too deeply") from error
    except MemoryError as error:
        pass_on(error)
        raise _corrupt("it asks for more memory than there is") from error
    except Exception as error:
        pass_on(error)
        raise _corrupt(f"{type(error).__name__}: {error}") from error


def is_view_of(value: Any, data: bytes) -> bool:
    """Whether a value shows these very bytes, as `decode` made it, so that it cannot differ from what they hold. Raises
    what `decode` raises for damaged bytes."""
    kind = BY_TYPE.get(type(value))
    if kind is None or kind.shows is None or _tag(data) != kind.tag:
        return False
    return kind.shows(value, decode(data))


def _tag(data: bytes) -> int | None:
    """The tag of an encoding that is a single extension, with the header that long ones have."""
    place = {0xC7: 2, 0xC8: 3, 0xC9: 5}.get(data[0])
    return None if place is None or place >= len(data) else data[place]


def _corrupt(what: str) -> CorruptCheckpointError:
    return CorruptCheckpointError(
        f"a stored value does not decode: {what}. Its bytes are damaged, or were not written by tau", what=what
    )


def _whole(data: bytes | memoryview, depth: int = 0) -> Any:
    """A value, in which long lists of a kind that has a quick way for many are looked for a few levels down."""
    if len(data) < _LONG or depth > 3:
        return _decode(data)
    first = data[0]
    if first in (0xDC, 0xDD):
        found = _many(data, 0)
        return _decode(data) if found is None else found
    if 0x90 <= first <= 0x9F:
        return [_whole(memoryview(part), depth + 1) for part in _parts(data)]
    if 0x80 <= first <= 0x8F:
        try:
            named = _named_parts(data)
        except ValidationError:  # other keys than text
            return _decode(data)
        if len(named) == first & 0xF:
            return {name: _whole(memoryview(part), depth + 1) for name, part in named.items()}
    return _decode(data)


def _many(data: bytes | memoryview, depth: int) -> list[Any] | None:
    """The items of a long list, if they are of a kind that has a quick way for many."""
    start = 3 if data[0] == 0xDC else 5
    count = int.from_bytes(data[1:start], "big")
    place = _TAG_OF_EXTENSION.get(data[start])
    if place is None or not count:
        return None
    tag = data[start + place]
    kind = None if tag == TUPLE or tag in _STRUCTURES else kind_of_tag(tag)
    if kind is None or kind.unpack_many is None:
        return None
    return kind.unpack_many(memoryview(data)[start:], count, _decoder(depth + 1))


def _extension(depth: int, tag: int, payload: memoryview) -> Any:
    """Build what msgspec found as an extension; ``depth`` is the number of extensions around it."""
    if depth > MAX_DEPTH:
        raise _corrupt("it is nested too deeply")
    if tag == TUPLE:
        found = _many(payload, depth + 1) if len(payload) >= _LONG and payload[0] in (0xDC, 0xDD) else None
        return _tuple_decoder(depth + 1)(payload) if found is None else tuple(found)
    structure = _STRUCTURES.get(tag)
    if structure is not None:
        return structure(_decoder(depth + 1)(payload))
    kind = BY_TAG.get(tag) or kind_of_tag(tag)
    if kind.raw:
        return kind.unpack(payload if kind.shows is not None else bytes(payload))
    return kind.unpack(_decoder(depth + 1)(payload))


def _map(flat: Any) -> dict[Any, Any]:
    if type(flat) is not list or len(flat) % 2:
        raise ValueError("a map needs a key for every value")
    keys = flat[::2]
    if crowded(keys):
        raise ValueError(CROWDED)
    value = dict(zip(keys, flat[1::2], strict=True))
    if 2 * len(value) != len(flat):
        raise ValueError("a map with a repeated key")
    return value


def _set(items: Any) -> set[Any]:
    if type(items) is not list:
        raise ValueError("a set needs an array of elements")
    if crowded(items):
        raise ValueError(CROWDED)
    value = set(items)
    if len(value) != len(items):
        raise ValueError("a set with a repeated element")
    return value


_STRUCTURES: dict[int, Callable[[Any], Any]] = {MAP: _map, SET: _set, FROZENSET: lambda items: frozenset(_set(items))}


# One decoder for each depth, so that depth needs no state: decoders are shared by all threads.
@cache
def _decoder(depth: int) -> Callable[[Any], Any]:
    return Decoder(ext_hook=partial(_extension, depth)).decode


@cache
def _tuple_decoder(depth: int) -> Callable[[Any], Any]:
    return Decoder(tuple, ext_hook=partial(_extension, depth)).decode


_decode = _decoder(0)
_parts = Decoder(list[Raw]).decode
_named_parts = Decoder(dict[str, Raw]).decode
_LONG = 4096  # bytes; in less there is nothing to gain
_TAG_OF_EXTENSION = {
    0xC7: 2,
    0xC8: 3,
    0xC9: 5,
    **dict.fromkeys(range(0xD4, 0xD9), 1),
}  # by the first byte, where its tag lies
