"""Damaged and hostile bytes give a value or a typed error, never anything else, and run nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC
from pathlib import Path

import pandas as pd
import pytest
from msgspec import msgpack

from exactness import VALUES
from tau.errors import CorruptCheckpointError, UnsupportedFormatError
from tau.values import decode, encode
from tau.values.tags import COMPLEX, DECIMAL, FIXED_ZONE, MAP, NAMED_ZONE, PATTERN, REGISTERED, SET, TIMESTAMP, TUPLE

SMALL = [data for data in map(encode, VALUES) if len(data) < 300]


def extension(tag: int, body: object) -> bytes:
    return msgpack.encode(msgpack.Ext(tag, body if isinstance(body, bytes) else msgpack.encode(body)))


def outcome(data: bytes) -> str:
    try:
        decode(data)
    except (CorruptCheckpointError, UnsupportedFormatError) as error:
        return type(error).__name__
    return "value"


def test_every_truncation_is_corrupt() -> None:
    for data in SMALL:
        for length in range(len(data)):
            assert outcome(data[:length]) == "CorruptCheckpointError"


def test_every_bit_flip_gives_a_value_or_a_typed_error() -> None:
    for data in SMALL:
        for bit in range(8 * len(data)):
            damaged = bytearray(data)
            damaged[bit // 8] ^= 1 << bit % 8
            outcome(bytes(damaged))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\x01\x01",
        b"\xa1\xff",
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xdd\x00\x0f\xff\xff" * 150 + b"\xc0" * 1000,
        b"\x91" * 100_000 + b"\xc0",
        extension(TUPLE, b"\xdd\xff\xff\xff\xff"),
        extension(TUPLE, {"a": 1}),
        extension(MAP, [1]),
        extension(MAP, [1, 2, 1, 3]),
        extension(MAP, [[], 2]),
        extension(SET, [1, 1]),
        extension(SET, [{}]),
        extension(COMPLEX, b"short"),
        extension(DECIMAL, b"1,5"),
        extension(DECIMAL, b"1e5"),
        extension(DECIMAL, b"1E+99999999999999999999"),
        extension(FIXED_ZONE, [10**15]),
        extension(FIXED_ZONE, []),
        extension(NAMED_ZONE, b"../../etc/passwd"),
        extension(NAMED_ZONE, b"/etc/passwd"),
        extension(PATTERN, ["(", 32]),
        extension(PATTERN, ["a", 128]),
        extension(REGISTERED, [1, 1, {}]),
        extension(REGISTERED, ["values.Point", 0, {}]),
        extension(REGISTERED, ["values.Point", 1, 5]),
        extension(TIMESTAMP, ["us", 0, "Europe/Berlin", 0]),
        encode(pd.array(pd.to_datetime(["2020"]).tz_localize(UTC))).replace(encode(UTC), encode("UTC")),
    ],
    ids=lambda data: data[:12].hex(),
)
def test_malformed_bytes_are_corrupt(data: bytes) -> None:
    with pytest.raises(CorruptCheckpointError):
        decode(data)


def test_nested_extensions_are_bounded() -> None:
    data = b"\x90"
    for _ in range(2000):
        data = extension(TUPLE, b"\x91" + data)
    with pytest.raises(CorruptCheckpointError, match="too deep"):
        decode(data)


def test_what_a_newer_version_wrote_is_unsupported() -> None:
    for data in (extension(127, b""), extension(90, [1]), extension(NAMED_ZONE, b"Nowhere/City")):
        with pytest.raises(UnsupportedFormatError):
            decode(data)
    with pytest.raises(UnsupportedFormatError, match=r"os\.system"):
        decode(extension(REGISTERED, ["os.system", 1, ["true"]]))


def fuzz(count: int, seed: int) -> None:
    child = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("fuzz_decoder.py")), str(count), str(seed)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == 0, child.stderr


def test_fuzzed_bytes_give_values_or_typed_errors_and_run_nothing() -> None:
    fuzz(10_000, 1)


@pytest.mark.deep
def test_two_hundred_thousand_fuzzed_inputs() -> None:
    for seed in (2, 3):
        fuzz(100_000, seed)
