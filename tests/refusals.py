"""Values of the kinds that are refused, each with a word of the reason."""

from __future__ import annotations

import decimal
import io
import sys
import threading
import types
from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import datetime, tzinfo
from enum import Enum, IntEnum
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import array_values
import table_values


class Text(str):
    __slots__ = ()


class Whole(int):
    pass


class Items(list):
    pass


class Shade(Enum):
    DARK = 1


class Grade(IntEnum):
    GOOD = 1


class Pair(NamedTuple):
    a: int


@dataclass
class Plain:
    a: int


class Zone(tzinfo):
    pass


class Odd(PurePosixPath):
    pass


def own_counter() -> Counter[str]:
    value = Counter("a")
    value.note = 1
    return value


REFUSED: list[tuple[Any, str]] = [
    (print, "code"),
    (lambda: 1, "code"),
    ([].append, "code"),
    (int, "code"),
    (Plain, "code"),
    (sys, "code"),
    (ValueError("x"), "exceptions"),
    (memoryview(b"x"), "memoryview"),
    (io.BytesIO(b"x"), "open file"),
    ((i for i in ()), "running computation"),
    (iter([1]), "iterator"),
    (threading.Lock(), "pass it as a resource"),
    (object(), "register_type"),
    (NotImplemented, "register_type"),
    (Text("x"), "subclass of str"),
    (Whole(1), "subclass of int"),
    (Items(), "subclass of list"),
    (Shade.DARK, "enum is not registered"),
    (Grade.GOOD, "enum is not registered"),
    (Pair(1), "named tuple is not registered"),
    (Plain(1), "register_type"),
    (Odd("x"), "register_type"),
    (datetime(2024, 1, 1, tzinfo=Zone()), "time zone is of type Zone"),
    (defaultdict(lambda: 1), "default_factory"),
    (own_counter(), "note"),
    (types.MappingProxyType({}), "register_type"),
    (decimal.Context(), "register_type"),
    *array_values.REFUSED,
    *table_values.REFUSED,
]
