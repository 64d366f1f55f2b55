"""An oracle of exactness that knows nothing of the encoding, and a table of values of every kind."""

from __future__ import annotations

import re
import struct
from array import array
from collections import ChainMap, Counter, OrderedDict, defaultdict, deque
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, Flag, IntEnum, IntFlag, StrEnum, auto
from fractions import Fraction
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from pathlib import Path, PurePosixPath, PureWindowsPath
from types import SimpleNamespace
from typing import Any, NamedTuple
from uuid import UUID, SafeUUID
from zoneinfo import ZoneInfo

from msgspec import UNSET

import array_values
import table_values
from tau.values import register_type


@register_type(name="values.Color")
class Color(Enum):
    RED = (1, "r")
    BLUE = (2, "b")
    AZURE = BLUE


@register_type(name="values.Level")
class Level(IntEnum):
    LOW = 1
    HIGH = 2


@register_type(name="values.Word")
class Word(StrEnum):
    YES = "yes"


@register_type(name="values.Rights")
class Rights(Flag):
    READ = auto()
    WRITE = auto()


@register_type(name="values.Mask")
class Mask(IntFlag):
    ONE = 1
    FOUR = 4


class Point(NamedTuple):
    x: Any
    y: Any


register_type(Point, name="values.Point")


@register_type(name="values.Reading")
@dataclass
class Reading:
    station: str
    values: list[Any]
    total: float = field(init=False)

    def __post_init__(self) -> None:
        self.total = float(len(self.values))


@register_type(name="values.Place")
@dataclass(frozen=True, slots=True)
class Place:
    lat: float
    lon: float
    tags: tuple[Any, ...] = ()


class Money:
    """A class with an encoding of its own."""

    def __init__(self, amount: Decimal, unit: str) -> None:
        self.amount, self.unit = amount, unit

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Money) and (self.amount, self.unit) == (other.amount, other.unit)

    def __hash__(self) -> int:
        return hash((self.amount, self.unit))


register_type(
    Money, name="values.Money", encode=lambda m: {"amount": m.amount, "unit": m.unit}, decode=lambda f: Money(**f)
)


def nan(bits: int) -> float:
    return struct.unpack(">d", struct.pack(">Q", bits))[0]


BERLIN = ZoneInfo("Europe/Berlin")
FOLDED = datetime(2024, 10, 27, 2, 30, tzinfo=BERLIN, fold=1)

SCALARS: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    2**63 - 1,
    2**63,
    2**64 - 1,
    2**64,
    -(2**63),
    -(2**63) - 1,
    10**5000,
    -(10**5000),
    0.0,
    -0.0,
    1.5,
    5e-324,
    float("inf"),
    float("-inf"),
    nan(0x7FF8000000000000),
    nan(0xFFF8000000000123),
    "",
    "a",
    "nul\0inside",
    "\N{PILE OF POO} \N{COMBINING ACUTE ACCENT}",
    "\ud800",
    "x\udfffy\ud83d\ude00",
    "long" * 20_000,
    b"",
    b"\x00\xff",
    b"b" * 70_000,
    0j,
    complex(-0.0, float("nan")),
    ...,
    UNSET,
    range(0),
    range(10, -5, -3),
    range(2**70, 2**71),
    date(1, 1, 1),
    date(9999, 12, 31),
    datetime(2024, 1, 2, 3, 4, 5, 6),
    datetime(2024, 1, 2, fold=1),
    datetime(2024, 1, 2, tzinfo=UTC),
    datetime(2024, 1, 2, tzinfo=timezone(timedelta(hours=-3, seconds=7, microseconds=9))),
    datetime(2024, 1, 2, tzinfo=timezone(timedelta(hours=1), "CET")),
    datetime(2024, 1, 2, tzinfo=timezone(timedelta(0), "UTC+0")),
    datetime(2024, 1, 2, tzinfo=ZoneInfo("UTC")),
    FOLDED,
    FOLDED.replace(fold=0),
    time(23, 59, 59, 999_999),
    time(1, fold=1, tzinfo=BERLIN),
    time(1, tzinfo=UTC),
    timedelta(0),
    timedelta(days=-999_999_999),
    timedelta(microseconds=-1),
    UTC,
    timezone(timedelta(hours=5, minutes=30)),
    timezone(timedelta(hours=5), "name"),
    BERLIN,
    Decimal("0"),
    Decimal("-0E+7"),
    Decimal("1.500"),
    Decimal("123456789012345678901234567890.12345678901234567890"),
    Decimal("1E-1000000"),
    Decimal("NaN"),
    Decimal("-NaN123"),
    Decimal("sNaN7"),
    Decimal("-Infinity"),
    Fraction(-22, 7),
    Fraction(2**80, 3),
    UUID(int=5),
    UUID(int=2**128 - 1, is_safe=SafeUUID.safe),
    UUID(int=7, is_safe=SafeUUID.unsafe),
    Path("a/b"),
    Path("/"),
    Path(),
    Path("/caf\N{LATIN SMALL LETTER E WITH ACUTE}/\udc80"),
    PurePosixPath("//a/../b"),
    PureWindowsPath("C:\\x\\y"),
    PureWindowsPath("c:rel"),
    re.compile("a(?P<n>b+)", re.IGNORECASE | re.VERBOSE),
    re.compile(rb"(?s)\xff."),
    re.compile("(?a)x"),
    IPv4Address("127.0.0.1"),
    IPv6Address("fe80::1%eth0"),
    IPv6Address("::ffff:1.2.3.4"),
    IPv4Network("10.0.0.0/8"),
    IPv6Network("2001:db8::/32"),
    IPv4Interface("10.1.2.3/8"),
    IPv6Interface("2001:db8::1/64"),
    Color.RED,
    Color.AZURE,
    Level.HIGH,
    Word.YES,
    Rights.READ | Rights.WRITE,
    Rights(0),
    Mask.ONE | Mask.FOUR,
    Mask(64),
    *array_values.SCALARS,
    *table_values.SCALARS,
]

HASHABLE: list[Any] = [
    *(value for value in SCALARS if not (type(value) is Decimal and value.is_snan())),
    (),
    (1,),
    (1, (2.0, ("x", None)), b""),
    (True, 1, 1.0),
    frozenset(),
    frozenset({1, "1", (1,), frozenset({2})}),
    Point(1, (2, "z")),
    Place(1.5, -0.0, (1,)),
    Money(Decimal("1.10"), "EUR"),
]

READING = Reading("s1", [1, (2,)])
READING.total = float("nan")

UNHASHABLE: list[Any] = [
    [],
    [[], [[]]],
    {},
    {"b": 1, "a": 2},
    {1: "int", "1": "str", 1.5: "float", None: "none", b"1": "bytes"},
    {True: "bool", 0: "zero"},
    {(1, 2): "tuple", frozenset({1}): "frozen", nan(0x7FF8000000000001): "nan"},
    {2**70: 1, "\ud800": 2},
    {"\ud800": [1, (2,)]},
    {"__tau__": [5, b"\x91\x01"], "type": "tuple", "value": [1]},
    bytearray(b""),
    bytearray(b"\x00abc"),
    set(),
    {1, 2.5, "x", (1, 2), None},
    {nan(0x7FF8000000000002), 1},
    {f"name-{i}" for i in range(200)},
    slice(None),
    slice(1, (2,), [3]),
    deque(),
    deque([1, (2,)], maxlen=2),
    deque(maxlen=0),
    OrderedDict([("z", 1), ((1,), [2])]),
    defaultdict(None, {"a": 1}),
    defaultdict(list, {"a": [(1,)], (1, 2): []}),
    defaultdict(Counter),
    Counter("abracadabra"),
    Counter({(1,): -2, "x": 0}),
    ChainMap({"a": 1}, OrderedDict(b=(2,))),
    SimpleNamespace(),
    SimpleNamespace(b=1, a=(2,)),
    array("d", [1.5, float("inf")]),
    array("b"),
    array("Q", [2**64 - 1]),
    READING,
    [Point([1], {2})],
    [{"id": i, "pair": (i, [i])} if i % 50 == 7 else {"id": i} for i in range(300)],
]

VALUES = HASHABLE + UNHASHABLE + [Decimal("sNaN7")] + array_values.ARRAYS + table_values.TABLES


def same(one: Any, two: Any) -> bool:
    """Whether two values are of exactly the same types and contents, order and NaN bits included."""
    if type(one) is not type(two):
        return False
    check = CHECKS.get(type(one))
    return bool(check(one, two)) if check else one == two


def same_list(one: Any, two: Any) -> bool:
    return len(one) == len(two) and all(map(same, one, two))


def same_items(one: Any, two: Any) -> bool:
    return same_list(list(one.items()), list(two.items()))


def same_set(one: Any, two: Any) -> bool:
    left = list(two)
    for item in one:
        found = next((i for i, other in enumerate(left) if same(item, other)), None)
        if found is None:
            return False
        del left[found]
    return not left


def same_zone(one: Any, two: Any) -> bool:
    if type(one) is ZoneInfo:
        return type(two) is ZoneInfo and one.key == two.key
    return type(one) is type(two) and (one is None or repr(one) == repr(two))


def same_datetime(one: Any, two: Any) -> bool:
    parts = one.replace(tzinfo=None) == two.replace(tzinfo=None) and one.fold == two.fold
    return parts and same_zone(one.tzinfo, two.tzinfo)


def same_float(one: float, two: float) -> bool:
    return struct.pack(">d", one) == struct.pack(">d", two)


CHECKS: dict[type, Any] = {
    **array_values.CHECKS,
    **table_values.CHECKS,
    float: same_float,
    complex: lambda one, two: same_float(one.real, two.real) and same_float(one.imag, two.imag),
    list: same_list,
    tuple: same_list,
    Point: same_list,
    dict: same_items,
    OrderedDict: same_items,
    Counter: same_items,
    defaultdict: lambda one, two: one.default_factory is two.default_factory and same_items(one, two),
    ChainMap: lambda one, two: same(one.maps, two.maps),
    set: same_set,
    frozenset: same_set,
    deque: lambda one, two: one.maxlen == two.maxlen and same_list(one, two),
    slice: lambda one, two: same_list([one.start, one.stop, one.step], [two.start, two.stop, two.step]),
    range: lambda one, two: (one.start, one.stop, one.step) == (two.start, two.stop, two.step),
    datetime: same_datetime,
    time: same_datetime,
    timezone: same_zone,
    ZoneInfo: same_zone,
    Decimal: lambda one, two: one.as_tuple() == two.as_tuple(),
    UUID: lambda one, two: one == two and one.is_safe is two.is_safe,
    re.Pattern: lambda one, two: same(one.pattern, two.pattern) and one.flags == two.flags and one == two,
    array: lambda one, two: one.typecode == two.typecode and one.tobytes() == two.tobytes(),
    SimpleNamespace: lambda one, two: same(vars(one), vars(two)),
    Reading: lambda one, two: same(vars(one), vars(two)),
    Place: lambda one, two: same_list([one.lat, one.lon, one.tags], [two.lat, two.lon, two.tags]),
    Money: lambda one, two: same(one.amount, two.amount) and one.unit == two.unit,
}
