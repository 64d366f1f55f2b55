"""Long lists of NumPy's scalars are written and read at once, to the same bytes and values as one by one."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from exactness import same
from tau.errors import CorruptCheckpointError, UnsupportedFormatError
from tau.values import decode, encode
from tau.values.decoding import _decode

NANS = np.array([0x7FF8000000000123, 0xFFF0000000000001, 0x7FF0000000000001, 1 << 63, 0], "<u8").view("<f8")
LISTS: dict[str, list[Any]] = {
    **{
        char: list((np.arange(40) % 3).astype(char))
        for char in ("?", "b", "B", "h", "H", "i", "I", "l", "L", "q", "Q", "e", "f", "d", "F", "D")
    },
    "NaN": list(NANS) * 5,
    "half NaN": list(np.array([0x7C01, 0xFE55, 0x8000], "<u2").view("<f2")) * 7,
    "single NaN": list(np.array([0x7F800001, 0xFFC12345], "<u4").view("<f4")) * 9,
    "complex NaN": list(NANS[:4].view("<c16")) * 9,
    "largest": [np.uint64(2**64 - 1), np.uint64(0)] * 10,
    "big-endian": list(np.arange(30, dtype=">i4")),
    "times": list(np.arange("2000", "2005", dtype="M8[M]")),
    "no times": [np.datetime64("NaT"), np.datetime64("2020")] * 10,
    "times of units": [np.datetime64("2020"), np.datetime64("2020-01-01", "25s")] * 10,
    "durations": list(np.arange(30).astype("m8[ns]")),
    "text": list(np.array(["a", "\u20ac", ""] * 10)),
    "text whose length reads as the type's number": [np.str_("a" * 47)] * 20,
    "long text whose length holds that number": [np.str_("a" * 12_600)] * 20,
    "bytes whose length reads as the type's number": [np.bytes_(b"a" * 47)] * 20,
    "bytes": [np.bytes_(b"a\0"), np.bytes_(b"")] * 10,
    "two types": [np.float64(1), np.float32(1)] * 10,
    "with others": [*map(np.float64, range(20)), 1.0],
    "others first": [1.0, *map(np.float64, range(20))],
    "int64 among floats": [*map(np.float64, range(20)), np.int64(1)],
    "very many": list(np.arange(70_000, dtype="u1")),
}


@pytest.mark.parametrize("name", list(LISTS))
def test_a_list_is_its_items_one_after_the_other(name: str) -> None:
    items = LISTS[name]
    one_by_one = b"".join(map(encode, items))
    count = len(items)
    header = b"\xdc" + count.to_bytes(2, "big") if count < 1 << 16 else b"\xdd" + count.to_bytes(4, "big")
    assert encode(items) == header + one_by_one
    long = items * (1 + 6000 // len(items))
    deep = {"a": [{"b": long}, 1], "c": (1, tuple(long)), "d": {1: long}, "e": [long] * 2}
    for value in (long, tuple(long), deep):
        read = decode(encode(value))
        assert same(read, value)
        assert encode(read) == encode(value)


def outcome(read: Any, data: bytes) -> Any:
    """What was read, stored once more; ``None`` for an error, which has to be a typed one of `decode`."""
    try:
        return encode(read(data))
    except (CorruptCheckpointError, UnsupportedFormatError):
        return None
    except Exception:
        if read is decode:
            raise
        return None


def test_a_damaged_list_is_read_as_one_by_one() -> None:
    data = encode(list(np.linspace(0, 1, 500)))
    rng = random.Random(1)
    for _ in range(3000):
        damaged = bytearray(data)
        for _ in range(rng.choice((1, 2, 5))):
            damaged[rng.randrange(min(len(data), rng.choice((8, 40, len(data)))))] = rng.randrange(256)
        assert outcome(decode, bytes(damaged)) == outcome(_decode, bytes(damaged))


def test_a_list_of_scalars_grows_by_what_was_added() -> None:
    short, long = encode(list(np.arange(1000.0))), encode(list(np.arange(1001.0)))
    assert long[3:].startswith(short[3:])
