"""Values to bytes.

Plain values go to msgspec whole. In all others only the containers that hold something else are taken apart in Python:
what is not plain becomes an extension (its tag, and its body in this same encoding), the clean rest is left to msgspec.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any

from msgspec import Raw
from msgspec.msgpack import Encoder, Ext

from tau.signals import pass_on
from tau.values.advice import why_unknown
from tau.values.crowding import CROWDED, crowded, refilled, room_left, with_room
from tau.values.fresh_stack import with_fresh_stack
from tau.values.plain import FEW, LEAVES, MANY, MAX_DEPTH, MAX_ITEMS, TOO_MANY, count_plain, is_plain
from tau.values.refusal import Refused, Step, refuse
from tau.values.registry import BY_TYPE, Kind, kind_of, missing
from tau.values.tags import BIG_INT, FROZENSET, MAP, SET, TEXT, TUPLE

MAX_BYTES = 900_000_000
"""How long the encoding of one value may be: what fits one SQLite blob of 1e9 bytes, with room around it."""

_msgpack: Callable[[Any], bytes] = Encoder().encode
_SHORT = 16  # items looked at one by one
_LONG = 128  # items asked about together: few enough that the answer helps, enough for the speed of C
_INSIDE = 8  # levels that a value has which is written in the quick way
_MEMO_AFTER = 50_000  # parts lowered before shared containers are remembered; a billion laughs is far above


def encode(value: Any) -> bytes:
    """The bytes that `decode` turns into an equal value of exactly the same types.

    Deterministic: equal values built the same way give equal bytes in every process. A list is a MessagePack array, so
    that a list with more at its end has the same bytes after the header. Raises `Refused` for what cannot be stored
    exactly, is nested deeper than `MAX_DEPTH`, has more than `MAX_ITEMS` parts or takes more than `MAX_BYTES`.
    """
    try:
        return _encode(value)
    except RecursionError:
        pass
    except Refused as refused:
        if refused.limit in (MAX_BYTES, MAX_ITEMS, MAX_DEPTH):
            raise
    # Perhaps many keys have one hash, or the stack is deep here; or a library took what a signal's handler raised for
    # an error of its own.
    return _with_room(value)


def _with_room(value: Any) -> bytes:
    write = partial(with_room, _encode)
    try:
        return write(value)
    except RecursionError:
        pass
    try:
        return with_fresh_stack(write, value)
    except RecursionError as error:
        raise refuse(value, "encoding it never ends; flatten the structure", MAX_DEPTH) from error


def _encode(value: Any) -> bytes:
    cls = type(value)
    try:
        if cls in LEAVES or ((cls is dict or cls is list) and is_plain(value)):
            data = _msgpack(value)
            return data if len(data) <= MAX_BYTES else _bounded(value, data)
        return _Writer(strict=False).bytes_of(value, 0)
    except (OverflowError, ValueError) as error:
        pass_on(error)
        # An integer beyond 64 bits or a lone surrogate, somewhere inside.
        return _Writer(strict=True).bytes_of(value, 0)
    except ImportError as error:
        pass_on(error)
        raise refuse(value, missing(error)[1]) from error
    except MemoryError as error:
        pass_on(error)
        reason = "its encoding does not fit into the memory of this machine; keep it in a file"
        raise refuse(value, reason, MAX_BYTES) from None


class _Writer:
    """One encoding of one value that is not plain.

    A strict writer also looks for integers beyond 64 bits and lone surrogates, by trying; it is used when the other
    kind stumbled over one.
    """

    def __init__(self, strict: bool) -> None:
        self.strict = strict
        self.roomy = refilled()
        self.parts = 0
        self.open: set[int] = set()
        self.memo: dict[int, tuple[Any, int, int, Any]] = {}

    def bytes_of(self, value: Any, depth: int) -> bytes:
        if type(value) not in LEAVES:
            value = self.lower(value, depth)
        elif self.strict:
            value = self.leaf(value)
        return _bounded(value, _msgpack(value))

    def lower(self, value: Any, depth: int) -> Any:
        """What msgspec can write in place of a value that is no leaf; ``depth`` counts the containers around it."""
        structure = _STRUCTURES.get(type(value))
        kind = None
        if structure is None:
            kind = kind_of(type(value))
            if kind is None:
                raise refuse(value, why_unknown(value))
            if kind.atom or kind.raw:
                return self.of_kind(kind, value, depth)
        key = id(value)
        if key in self.open:
            raise refuse(value, "it contains itself; store the relation by names or indices instead")
        if depth >= MAX_DEPTH:
            raise refuse(value, f"it is nested more than {MAX_DEPTH} levels deep; flatten the structure", MAX_DEPTH)
        if self.memo:
            known = self.memo.get(key)
            if known is not None and known[1] >= depth:
                self.count(known[2])
                return known[3]
        before, room = self.parts, room_left() if self.roomy else 0
        self.open.add(key)
        lowered = structure(self, value, depth + 1) if structure else self.of_kind(kind, value, depth + 1)
        self.open.discard(key)
        if self.parts > _MEMO_AFTER and (not self.roomy or room == room_left()):  # a reader needs the room every time
            # The value itself is kept as well, so that its id cannot be given to another one meanwhile.
            self.memo[key] = (value, depth, self.parts - before, lowered)
        return lowered

    def of_kind(self, kind: Kind | None, value: Any, depth: int) -> Ext:
        assert kind is not None
        body = _taken_apart(kind, value)
        if kind.raw:
            return Ext(kind.tag, _bounded(value, body))
        if type(body) is list and not self.strict and LEAVES.issuperset(map(type, body)):
            self.count(len(body))
            return Ext(kind.tag, _bounded(value, _msgpack(body)))
        try:
            return Ext(kind.tag, self.bytes_of(body, depth))
        except Refused as refused:
            if kind.trail is not None:
                refused.retrace(kind.trail(value, refused.steps))
            raise

    def leaf(self, value: Any) -> Any:
        if type(value) is int and not -(2**63) <= value < 2**64:
            return Ext(BIG_INT, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))
        if (type(value) is str or type(value) is bytes) and len(value) > MAX_BYTES:
            raise _too_long(value, len(value))
        if type(value) is str:
            try:
                value.encode()
            except UnicodeEncodeError:
                return Ext(TEXT, value.encode("utf-8", "surrogatepass"))
        return value

    def of_list(self, value: list[Any], depth: int) -> list[Any] | Raw:
        many = self.many(value, depth)
        return self.elements(value[:], depth, value) if many is None else Raw(many)

    def of_tuple(self, value: tuple[Any, ...], depth: int) -> Ext:
        many = self.many(value, depth)
        if many is not None:
            return Ext(TUPLE, many)
        return Ext(TUPLE, _bounded(value, _msgpack(self.elements(list(value), depth, value))))

    def of_dict(self, value: dict[Any, Any], depth: int) -> dict[Any, Any] | Ext:
        values = self.elements(list(value.values()), depth, value)
        if LEAVES.issuperset(map(type, value)) and not (self.strict and not self.writable(list(value))):
            return dict(zip(value, values, strict=True))
        if crowded(value):
            raise refuse(value, CROWDED, len(value))
        flat: list[Any] = [None] * (2 * len(values))
        flat[::2] = self.elements(list(value), depth, value.keys())
        flat[1::2] = values
        return Ext(MAP, _bounded(value, _msgpack(flat)))

    def of_set(self, value: set[Any] | frozenset[Any], depth: int) -> Ext:
        if crowded(value):
            raise refuse(value, CROWDED, len(value))
        # The order of a set depends on the process; that of its sorted elements does not.
        types = set(map(type, value))
        if len(types) == 1 and not self.strict and (str in types or int in types):
            self.count(len(value))
            payload = _msgpack(sorted(value))
        else:
            items = self.elements(list(value), depth, value)
            payload = _msgpack(list(map(Raw, sorted(map(_msgpack, items)))))
        return Ext(SET if type(value) is set else FROZENSET, _bounded(value, payload))

    def many(self, items: Sequence[Any], depth: int) -> bytes | None:
        """The encoding of a long list or tuple of one type that has a quick way for many."""
        if len(items) <= _SHORT or depth > MAX_DEPTH - _INSIDE:
            return None
        kind = kind_of(type(items[0]))
        if kind is None or kind.pack_many is None or len(set(map(type, items))) > 1:
            return None
        self.count(len(items))

        def ordinary(number: int) -> bytes:
            return _msgpack(*self.few([items[number]], number, depth, items))

        packed = kind.pack_many(items, ordinary)
        return None if packed is None else _bounded(items, b"%b%b" % (_header(len(items)), packed))

    def elements(self, items: list[Any], depth: int, owner: Collection[Any]) -> list[Any]:
        """Lower the items in place. In long lists the runs that are plain are found first, and left as they are."""
        if len(items) <= _SHORT:
            return self.few(items, 0, depth, owner)
        todo = [(start, _LONG) for start in range(0, len(items), _LONG)][::-1]
        while todo:
            start, size = todo.pop()
            run = items[start : start + size]
            if self.plain(run, depth, MANY):
                continue
            if size > _SHORT:
                todo += [(i, _SHORT) for i in range(start, start + len(run), _SHORT)][::-1]
            else:
                items[start : start + size] = self.few(run, start, depth, owner)
        return items

    def few(self, items: list[Any], start: int, depth: int, owner: Collection[Any]) -> list[Any]:
        """Lower the items in place, looking at one by one; the first has the number ``start`` in its owner."""
        self.count(len(items))
        types = list(map(type, items))
        others = [index for index, cls in enumerate(types) if cls not in LEAVES or self.strict]
        index = 0
        try:
            for index in others:
                item, cls = items[index], types[index]
                if cls in LEAVES:
                    items[index] = self.leaf(item)
                elif cls is tuple and not self.strict and depth < MAX_DEPTH and LEAVES.issuperset(map(type, item)):
                    self.parts += len(item)
                    items[index] = Ext(TUPLE, _msgpack(item))
                elif (kind := BY_TYPE.get(cls)) is not None and kind.raw and kind.atom:
                    items[index] = Ext(kind.tag, _bounded(item, _taken_apart(kind, item)))
                # The only one that may hold what is not plain need not be asked, but opened.
                elif len(others) == 1 or (cls is not list and cls is not dict) or not self.plain((item,), depth, FEW):
                    items[index] = self.lower(item, depth)
        except Refused as refused:
            raise refused.under(_step(owner, start + index)) from None
        return items

    def plain(self, run: Sequence[Any], depth: int, enough: int) -> bool:
        parts = count_plain(run, depth, enough)
        if parts < 0 or (self.strict and not self.writable(run)):
            return False
        self.count(parts)
        return True

    def writable(self, run: Sequence[Any]) -> bool:
        try:
            _msgpack(run)
        except (OverflowError, ValueError) as error:
            pass_on(error)
            return False
        return True

    def count(self, parts: int) -> None:
        self.parts += parts
        if self.parts > MAX_ITEMS:
            raise Refused("", "value", f"it has {TOO_MANY}", MAX_ITEMS)


_STRUCTURES: dict[type, Callable[[_Writer, Any, int], Any]] = {
    list: _Writer.of_list,
    dict: _Writer.of_dict,
    tuple: _Writer.of_tuple,
    set: _Writer.of_set,
    frozenset: _Writer.of_set,
}


def _step(owner: Collection[Any], index: int) -> Step:
    """The step of a path from a container to the item of that number."""
    if isinstance(owner, dict):
        return Step("item", list(owner)[index])
    if isinstance(owner, list | tuple):
        return Step("item", index)
    return Step("element") if isinstance(owner, set | frozenset) else Step("key", index)


def _header(count: int) -> bytes:
    """Of a MessagePack array of more than 15 items."""
    return b"\xdc" + count.to_bytes(2, "big") if count < 1 << 16 else b"\xdd" + count.to_bytes(4, "big")


def _taken_apart(kind: Kind, value: Any, pack: Callable[[Any], Any] | None = None) -> Any:
    try:
        return (pack or kind.pack)(value)
    except (Refused, ImportError, RecursionError, MemoryError):
        raise
    except Exception as error:  # of the library that the value is from
        pass_on(error)
        raise refuse(
            value, f"it cannot be taken apart ({type(error).__name__}: {error}); store the plain values it holds"
        ) from error


def _bounded(value: Any, data: bytes) -> bytes:
    if len(data) > MAX_BYTES:
        raise _too_long(value, len(data))
    return data


def _too_long(value: Any, size: int) -> Refused:
    return refuse(value, f"it takes {size:,} bytes; at most {MAX_BYTES:,} are stored. Keep it in a file", MAX_BYTES)
