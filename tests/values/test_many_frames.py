"""Long lists of small tables are written and read at once, to the same bytes and values as one by one."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pandas as pd
import pytest

from exactness import same
from tau.errors import CorruptCheckpointError, UnsupportedFormatError
from tau.values import Refused, decode, encode
from tau.values.decoding import _decode


def usual(number: int = 0) -> pd.DataFrame:
    numbers = np.arange(4) + number
    return pd.DataFrame(
        {
            "a": numbers,
            "b": numbers * 1.5,
            "c": ["x", "\u20ac", "", None],
            "d": numbers > 1,
            "e": numbers + 1,
            "f": pd.array([1, None, 3, 4], "Int64"),
            "t": pd.to_datetime(numbers, unit="s"),
        }
    )


def with_attrs() -> pd.DataFrame:
    frame = usual()
    frame.attrs = {"k": [usual(), usual()]}
    return frame


ODD: dict[str, Any] = {
    "other labels": lambda: usual().rename(columns={"b": "z"}),
    "named labels": lambda: usual().rename_axis("of labels", axis=1),
    "named rows": lambda: usual().rename_axis("of rows"),
    "labels that are missing": lambda: usual().set_axis([*"abcdef", None], axis=1),
    "numbered": lambda: usual().set_axis(range(7), axis=1),
    "numbered alike from elsewhere": lambda: usual().iloc[:0].set_axis(pd.RangeIndex(5, 5, 2), axis=0),
    "other rows": lambda: usual().iloc[1:],
    "rows of text": lambda: usual().set_axis([*"wxyz"]),
    "rows of times": lambda: usual().set_axis(pd.date_range("2020", periods=4, tz="Europe/Berlin")),
    "rows of objects": lambda: usual().set_axis([1, "a", (2, 3), None]),
    "levels": lambda: usual().set_index(["a", "c"]),
    "levels of labels": lambda: pd.concat({"k": usual()}, axis=1),
    "categories": lambda: usual().astype({"c": "category"}),
    "a zone": lambda: usual().assign(t=pd.date_range("2020", periods=4, tz="UTC")),
    "lists inside": lambda: usual().assign(a=pd.Series([[1], {"k": 2}, (3,), usual()])),
    "text of objects": lambda: usual().astype({"c": object}),
    "text of Python": lambda: usual().astype({"c": "string[python]"}).rename(columns=str),
    "labels of Python": lambda: usual().set_axis(pd.Index([*"abcdefg"], dtype="string[python]"), axis=1),
    "big-endian": lambda: usual().assign(a=np.arange(4).astype(">i8")),
    "attrs": with_attrs,
    "labels once": lambda: usual().set_flags(allows_duplicate_labels=False),
    "labels twice": lambda: usual()[["a", "a"]],
    "nothing": pd.DataFrame,
    "no rows": lambda: usual().iloc[:0],
    "no columns": lambda: usual()[[]],
    "large": lambda: pd.DataFrame({"a": np.arange(20_000.0)}),
}


def checked(items: list[pd.DataFrame]) -> list[pd.DataFrame]:
    data = encode(items)
    assert data == b"\xdc" + len(items).to_bytes(2, "big") + b"".join(map(encode, items))
    read: list[pd.DataFrame] = decode(data)
    assert same(read, items)
    assert encode(read) == data == encode(decode(data))
    deep = {"a": [{"b": items}], "c": (1, tuple(items)), "d": {1: items}}
    assert same(decode(encode(deep)), deep)
    return read


@pytest.mark.parametrize("name", ODD)
def test_a_list_is_its_items_one_after_the_other(name: str) -> None:
    odd = ODD[name]
    checked([*map(usual, range(10)), odd(), usual(), odd(), odd(), *map(usual, range(10))])
    checked([odd() for _ in range(20)])


def test_a_table_read_in_a_list_is_its_own() -> None:
    items = list(map(usual, range(30)))
    first, *others = checked(items)
    first.columns.name, first.index.name = "changed", "as well"
    first.loc[0, "a"] = 99
    first["c"] = "gone"
    first.attrs["k"] = 1
    assert same(others, items[1:])
    data = encode(items)
    assert same(decode(data), items)


@pytest.mark.parametrize("text", ["\ud800", "a\ud800b"])
def test_a_lone_surrogate_in_a_list_of_tables(text: str) -> None:
    odd = usual().astype({"c": object})
    odd.attrs = {"k": text}
    checked([*map(usual, range(20)), odd])


def test_a_table_that_cannot_be_stored_is_named_with_its_place() -> None:
    odd = usual().assign(a=[1, 2, object(), 4])
    with pytest.raises(Refused) as refused:
        encode({"k": [*map(usual, range(20)), odd]})
    assert refused.value.path == "['k'][20]['a'][2]"


def test_a_list_that_lies_in_a_table_of_its_own_is_refused() -> None:
    items = list(map(usual, range(20)))
    items[3].attrs["k"] = items
    with pytest.raises(Refused, match="contains itself"):
        encode(items)


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
    data = encode([pd.DataFrame({"a": np.arange(3) + number, "c": [*"xyz"]}) for number in range(20)])
    rng = random.Random(1)
    for _ in range(600):
        damaged = bytearray(data)
        for _ in range(rng.choice((1, 2, 5))):
            damaged[rng.randrange(min(len(data), rng.choice((8, 1200, len(data)))))] = rng.randrange(256)
        assert outcome(decode, bytes(damaged)) == outcome(_decode, bytes(damaged))
