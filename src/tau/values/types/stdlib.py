"""Built-in types that are neither plain nor containers, and small neighbours from the standard library."""

from __future__ import annotations

import re
import struct
import sys
from array import array
from types import SimpleNamespace
from typing import Any

from msgspec import UNSET

from tau.values import tags
from tau.values.refusal import Step, refuse
from tau.values.registry import Kind, singleton

_FLAGS = int(re.ASCII | re.IGNORECASE | re.LOCALE | re.MULTILINE | re.DOTALL | re.UNICODE | re.VERBOSE)
_COMPLEX = struct.Struct(">dd")
_TYPECODES = frozenset("bBhHiIlLqQfd")


def _pack_pattern(value: re.Pattern[Any]) -> list[Any]:
    if value.flags & ~_FLAGS:
        raise refuse(value, "re.DEBUG and unknown flags are not stored; compile it without them")
    return [value.pattern, value.flags]


def _unpack_pattern(body: Any) -> re.Pattern[Any]:
    pattern, flags = body
    if type(pattern) not in (str, bytes) or type(flags) is not int or flags & ~_FLAGS:
        raise ValueError("a pattern needs its text and known flags")
    return re.compile(pattern, flags)


def _pack_array(value: array[Any]) -> list[Any]:
    if value.typecode not in _TYPECODES:
        raise refuse(value, "arrays of characters differ between platforms; store a str")
    stored = value
    if sys.byteorder == "big":
        stored = value[:]
        stored.byteswap()
    return [value.typecode, value.itemsize, stored.tobytes()]


def _unpack_array(body: Any) -> array[Any]:
    typecode, itemsize, data = body
    if typecode not in _TYPECODES or array(typecode).itemsize != itemsize:
        raise ValueError("an array of a type and size that does not exist here")
    value = array(typecode)
    value.frombytes(data)
    if sys.byteorder == "big":
        value.byteswap()
    return value


def _unpack_int(data: bytes) -> int:
    return int.from_bytes(data, "big", signed=True)


def _unpack_text(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")


def _unpack_namespace(body: Any) -> SimpleNamespace:
    if type(body) is not dict:
        raise ValueError("a namespace needs a map")
    value = SimpleNamespace()
    vars(value).update(body)
    return value


def _unpack_slice(body: Any) -> slice:
    start, stop, step = body
    return slice(start, stop, step)


def _unpack_range(body: Any) -> range:
    start, stop, step = body
    return range(start, stop, step)


def _slice_trail(_: Any, steps: list[Step]) -> list[Step]:
    return [Step("attr", ("start", "stop", "step")[steps[0].value]), *steps[1:]]


def _attr_trail(_: Any, steps: list[Step]) -> list[Step]:
    first = steps[0]
    return [Step("attr", first.value) if first.kind == "item" and type(first.value) is str else first, *steps[1:]]


def _nothing(value: Any) -> Any:
    raise AssertionError(f"{type(value).__name__} is written by the writer itself")


KINDS = (
    Kind(tag=tags.BIG_INT, types=(), pack=_nothing, unpack=_unpack_int, raw=True),
    Kind(tag=tags.TEXT, types=(), pack=_nothing, unpack=_unpack_text, raw=True),
    Kind(tag=tags.BYTEARRAY, types=(bytearray,), pack=bytes, unpack=bytearray, raw=True),
    Kind(
        tag=tags.COMPLEX,
        types=(complex,),
        pack=lambda value: _COMPLEX.pack(value.real, value.imag),
        unpack=lambda data: complex(*_COMPLEX.unpack(data)),
        raw=True,
        atom=True,
    ),
    Kind(
        tag=tags.RANGE,
        types=(range,),
        pack=lambda value: [value.start, value.stop, value.step],
        unpack=_unpack_range,
        atom=True,
    ),
    Kind(
        tag=tags.SLICE,
        types=(slice,),
        pack=lambda value: [value.start, value.stop, value.step],
        unpack=_unpack_slice,
        trail=_slice_trail,
    ),
    singleton(tags.ELLIPSIS, ...),
    singleton(tags.UNSET, UNSET),
    Kind(tag=tags.PATTERN, types=(re.Pattern,), pack=_pack_pattern, unpack=_unpack_pattern, atom=True),
    Kind(tag=tags.NAMESPACE, types=(SimpleNamespace,), pack=vars, unpack=_unpack_namespace, trail=_attr_trail),
    Kind(tag=tags.ARRAY, types=(array,), pack=_pack_array, unpack=_unpack_array),
)
