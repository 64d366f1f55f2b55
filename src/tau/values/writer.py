"""Values to bytes.

Plain values go to msgspec whole. In all others only the containers that hold something else are taken apart in Python:
what is not plain becomes an extension (its tag, and its body in this same encoding), the clean rest is left to msgspec.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Raw
from msgspec.msgpack import Encoder, Ext

from tau.values.deep import with_fresh_stack
from tau.values.kinds import Kind, kind_of
from tau.values.reasons import why_unknown
from tau.values.refusal import Refused, Step, refuse
from tau.values.scan import LEAVES, MAX_DEPTH, MAX_ITEMS, TOO_MANY, count_plain
from tau.values.tags import BIG_INT, FROZENSET, MAP, SET, TEXT, TUPLE

MAX_BYTES = 900_000_000
"""How long the encoding of one value may be: what fits one SQLite blob of 1e9 bytes, with room around it."""

_msgpack: Callable[[Any], bytes] = Encoder().encode
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
    try:
        return with_fresh_stack(_encode, value)
    except RecursionError as error:
        raise refuse(value, "encoding it never ends; flatten the structure", MAX_DEPTH) from error


def _encode(value: Any) -> bytes:
    cls = type(value)
    try:
        if cls in LEAVES or ((cls is dict or cls is list) and count_plain((value,), 0) >= 0):
            return _bounded(value, _msgpack(value))
        return _Writer(strict=False).bytes_of(value, 0)
    except (OverflowError, ValueError):
        # An integer beyond 64 bits or a lone surrogate, somewhere inside.
        return _Writer(strict=True).bytes_of(value, 0)
    except MemoryError:
        reason = "its encoding does not fit into the memory of this machine; keep it in a file"
        raise refuse(value, reason, MAX_BYTES) from None


class _Writer:
    """One encoding of one value that is not plain.

    A strict writer also looks for integers beyond 64 bits and lone surrogates, by trying; it is used when the other
    kind stumbled over one.
    """

    def __init__(self, strict: bool) -> None:
        self.strict = strict
        self.parts = 0
        self.open: set[int] = set()
        self.memo: dict[int, tuple[Any, int, int, Any]] = {}

    def bytes_of(self, value: Any, depth: int) -> bytes:
        return _bounded(value, _msgpack(self.lower(value, depth)))

    def lower(self, value: Any, depth: int) -> Any:
        """The value as msgspec can write it; ``depth`` is the number of containers around it."""
        cls = type(value)
        if cls in LEAVES:
            return self.leaf(value) if self.strict else value
        self.count(1)
        kind = None
        if cls not in _STRUCTURES:
            kind = kind_of(cls)
            if kind is None:
                raise refuse(value, why_unknown(value))
            if kind.raw:
                return Ext(kind.tag, _bounded(value, kind.pack(value)))
        key = id(value)
        if key in self.open:
            raise refuse(value, "it contains itself; store the relation by names or indices instead")
        if depth >= MAX_DEPTH:
            raise refuse(value, f"it lies more than {MAX_DEPTH} levels deep; flatten the structure", MAX_DEPTH)
        if self.parts < _MEMO_AFTER:
            return self.open_up(value, kind, depth)
        known = self.memo.get(key)
        if known is not None and known[1] >= depth:
            self.count(known[2])
            return known[3]
        before = self.parts
        lowered = self.open_up(value, kind, depth)
        # The value itself is kept in the memo, so that its id cannot be given to another one meanwhile.
        self.memo[key] = (value, depth, self.parts - before, lowered)
        return lowered

    def open_up(self, value: Any, kind: Kind | None, depth: int) -> Any:
        self.open.add(id(value))
        try:
            if kind is not None:
                return self.of_kind(value, kind, depth + 1)
            return _STRUCTURES[type(value)](self, value, depth + 1)
        finally:
            self.open.discard(id(value))

    def of_kind(self, value: Any, kind: Kind, depth: int) -> Ext:
        body = kind.pack(value)
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

    def of_list(self, value: list[Any], depth: int) -> list[Any]:
        return self.elements(value, depth, lambda i: Step("item", i))

    def of_tuple(self, value: tuple[Any, ...], depth: int) -> Ext:
        items = self.elements(value, depth, lambda i: Step("item", i))
        return Ext(TUPLE, _bounded(value, _msgpack(items)))

    def of_dict(self, value: dict[Any, Any], depth: int) -> dict[Any, Any] | Ext:
        keys = list(value)
        values = self.elements(list(value.values()), depth, lambda i: Step("item", keys[i]))
        if set(map(type, keys)) <= LEAVES and (not self.strict or self.writable(keys)):
            return dict(zip(keys, values, strict=True))
        keys = self.elements(keys, depth, lambda i: Step("key", i))
        flat: list[Any] = [None] * (2 * len(keys))
        flat[::2] = keys
        flat[1::2] = values
        return Ext(MAP, _bounded(value, _msgpack(flat)))

    def of_set(self, value: set[Any] | frozenset[Any], depth: int) -> Ext:
        # The order of a set depends on the process; that of the encoded elements does not.
        items = self.elements(list(value), depth, lambda _: Step("element"))
        encoded = sorted(map(_msgpack, items))
        payload = _bounded(value, _msgpack(list(map(Raw, encoded))))
        return Ext(SET if type(value) is set else FROZENSET, payload)

    def elements(self, items: Sequence[Any], depth: int, step: Callable[[int], Step]) -> list[Any]:
        """The lowered items. Runs of plain ones are found by halving down to a few, and left as they are."""
        out: list[Any] = []
        todo = [(0, len(items))]
        while todo:
            start, end = todo.pop()
            run = items[start:end]
            if self.plain(run, depth):
                out += run
            elif end - start > 32:
                size = max(32, (end - start) // 16)
                todo += reversed([(i, min(i + size, end)) for i in range(start, end, size)])
            else:
                for index, item in enumerate(run, start):
                    try:
                        out.append(self.lower(item, depth))
                    except Refused as refused:
                        raise refused.under(step(index)) from None
        return out

    def plain(self, run: Sequence[Any], depth: int) -> bool:
        parts = count_plain(run, depth)
        if parts < 0 or (self.strict and not self.writable(run)):
            return False
        self.count(parts)
        return True

    def writable(self, run: Sequence[Any]) -> bool:
        try:
            _msgpack(run)
        except (OverflowError, ValueError):
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


def _bounded(value: Any, data: bytes) -> bytes:
    if len(data) > MAX_BYTES:
        raise _too_long(value, len(data))
    return data


def _too_long(value: Any, size: int) -> Refused:
    return refuse(value, f"it takes {size:,} bytes; at most {MAX_BYTES:,} are stored. Keep it in a file", MAX_BYTES)
