"""One value of every kind that can be stored, as the golden stores hold them. Never changed: new kinds, new stores."""

from __future__ import annotations

import re
import struct
from array import array
from collections import ChainMap, Counter, OrderedDict, defaultdict, deque
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntFlag
from fractions import Fraction
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from pathlib import Path, PurePosixPath, PureWindowsPath
from types import SimpleNamespace
from typing import Any, NamedTuple
from uuid import UUID, SafeUUID
from zoneinfo import ZoneInfo

import tau


@tau.register_type(name="golden.Station", version=2)
@dataclass(frozen=True)
class Station:
    name: str
    height: Decimal


@tau.register_type(name="golden.Quality")
class Quality(Enum):
    GOOD = 1
    POOR = (2, "p")


@tau.register_type(name="golden.Rights")
class Rights(IntFlag):
    READ = 1
    WRITE = 4


@tau.register_type(name="golden.Point")
class Point(NamedTuple):
    x: Any
    y: Any


class Money:
    def __init__(self, amount: Decimal) -> None:
        self.amount = amount

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Money) and self.amount == other.amount

    __hash__ = None  # type: ignore[assignment]


tau.register_type(Money, name="golden.Money", encode=lambda money: money.amount, decode=Money)

BERLIN = ZoneInfo("Europe/Berlin")

VALUES: dict[str, Any] = {
    "none": None,
    "booleans": [True, False],
    "integers": [0, -1, 127, 128, 2**63, 2**64 - 1, -(2**63), 2**64, -(2**63) - 1, 10**400],
    "floats": [0.0, -0.0, 1.5, 5e-324, float("inf"), float("-inf")],
    "nan": struct.unpack(">d", bytes.fromhex("fff8000000000123"))[0],
    "complex": complex(-0.0, float("inf")),
    "text": "nul\0 caf\N{LATIN SMALL LETTER E WITH ACUTE} \N{PILE OF POO}",
    "text, long": "all work and no play " * 200,
    "surrogate": "x\udfffy",
    "bytes": bytes(range(256)),
    "bytearray": bytearray(b"\x00abc"),
    "list": [[], [1, [2, [3]]]],
    "tuple": (1, (2.0, ("x", None)), b""),
    "dict": {"b": 1, "a": {1: "int", "1": "str", 1.5: None, None: 0, b"1": True}},
    "dict, any keys": {(1, 2): "tuple", frozenset({1}): "frozen", True: "bool", 2**70: "big"},
    "set": {1, 2.5, "x", (1, 2), None},
    "frozenset": frozenset({1, frozenset({2})}),
    "range": range(10, -5, -3),
    "slice": slice(1, (2,), None),
    "ellipsis": ...,
    "patterns": [re.compile("a(?P<n>b+)", re.IGNORECASE), re.compile(rb"(?s)\xff.")],
    "namespace": SimpleNamespace(b=1, a=(2,)),
    "arrays": [array("d", [1.5, float("inf")]), array("Q", [2**64 - 1]), array("b")],
    "deque": deque([1, (2,)], maxlen=2),
    "ordered": OrderedDict([("z", 1), ((1,), [2])]),
    "defaultdict": defaultdict(list, {"a": [(1,)]}),
    "counter": Counter({"x": 2, (1,): -2}),
    "chainmap": ChainMap({"a": 1}, OrderedDict(b=(2,))),
    "date": date(2024, 2, 29),
    "times": [time(23, 59, 59, 999_999), time(1, fold=1, tzinfo=BERLIN), time(1, tzinfo=UTC)],
    "datetimes": [
        datetime(2024, 1, 2, 3, 4, 5, 6),
        datetime(2024, 10, 27, 2, 30, tzinfo=BERLIN, fold=1),
        datetime(2024, 1, 2, tzinfo=timezone(timedelta(hours=-3, seconds=7))),
        datetime(2024, 1, 2, tzinfo=timezone(timedelta(hours=1), "CET")),
    ],
    "timedelta": timedelta(days=-1, microseconds=7),
    "zones": [UTC, timezone(timedelta(hours=5, minutes=30)), timezone(timedelta(hours=5), "name"), BERLIN],
    "decimals": [Decimal("1.500"), Decimal("-0E+7"), Decimal("-NaN123"), Decimal("-Infinity")],
    "fraction": Fraction(-22, 7),
    "uuids": [UUID(int=5), UUID(int=2**128 - 1, is_safe=SafeUUID.safe)],
    "paths": [PurePosixPath("//a/../b"), PureWindowsPath("C:\\x\\y"), Path("a/b")],
    "addresses": [
        IPv4Address("127.0.0.1"), IPv6Address("fe80::1%eth0"), IPv4Network("10.0.0.0/8"),
        IPv6Network("2001:db8::/32"), IPv4Interface("10.1.2.3/8"), IPv6Interface("2001:db8::1/64"),
    ],
    "registered": [
        Station("s1", Decimal("12.30")), Quality.POOR, Rights.READ | Rights.WRITE, Point(1, [2]), Money(Decimal("1.1")),
    ],
    "records": [{"id": i, "pair": (i, [i])} if i % 50 == 7 else {"id": i} for i in range(150)],
}  # fmt: skip
