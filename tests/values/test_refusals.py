"""What cannot be stored exactly is refused, with the path to it and the reason."""

from __future__ import annotations

import re
from collections import ChainMap, OrderedDict, defaultdict, deque
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exactness import Place, Point, Reading
from refusals import REFUSED, Items, Text, Whole
from tau.values import MAX_DEPTH, MAX_ITEMS, Refused, decode, encode
from tau.values import encoding as writer_module


@pytest.mark.parametrize(("value", "reason"), REFUSED, ids=lambda value: type(value).__name__)
def test_refused_alone_and_wherever_it_lies(value: Any, reason: str) -> None:
    for whole in (value, [value], (1, value), {"k": [{}, value]}, [{"x": 1}] * 200 + [{"y": (value,)}]):
        with pytest.raises(Refused) as caught:
            encode(whole)
        assert reason in caught.value.reason
        assert caught.value.limit is None


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (print, ""),
        ([0, print], "[1]"),
        ({"k": [0, 0, print]}, "['k'][2]"),
        ({(1, 2): (print,)}, "[(1, 2)][0]"),
        ([{"a": 1}] * 300 + [{"b": [print]}], "[300]['b'][0]"),
        ({"a": 1, (1, print): 2}, ".keys()[1][1]"),
        ({print}, "{...}"),
        (deque([1, print], maxlen=3), "[1]"),
        (OrderedDict(a=print), "['a']"),
        (defaultdict(list, a=[print]), "['a'][0]"),
        (ChainMap({}, {"a": print}), ".maps[1]['a']"),
        (SimpleNamespace(b=[print]), ".b[0]"),
        (slice(1, print), ".stop"),
        (Point(1, [print]), ".y[0]"),
        ({"r": Reading("s", [1, print])}, "['r'].values[1]"),
        ([Place(1, 2, (print,))], "[0].tags[0]"),
    ],
)
def test_the_path_leads_to_the_offending_part(value: Any, path: str) -> None:
    with pytest.raises(Refused) as caught:
        encode(value)
    assert caught.value.path == path
    assert caught.value.type_name == "builtin_function_or_method"


def test_extra_attributes_are_refused_not_lost() -> None:
    reading = Reading("s", [])
    reading.note = 1  # type: ignore[attr-defined]
    with pytest.raises(Refused, match="note"):
        encode(reading)


def test_a_zone_from_a_file_is_refused() -> None:
    import zoneinfo

    for folder in zoneinfo.TZPATH:
        try:
            with open(f"{folder}/UTC", "rb") as file:
                zone = ZoneInfo.from_file(file, key="UTC")
        except OSError:
            continue
        with pytest.raises(Refused, match="from a file"):
            encode(zone)


def test_a_pattern_that_prints_when_compiled_is_refused() -> None:
    with pytest.raises(Refused, match="DEBUG"):
        encode(re.compile("debug", re.DEBUG))


def cycles() -> list[Any]:
    a: list[Any] = [1]
    a.append(a)
    b: dict[str, Any] = {}
    b["x"] = [(b,)]
    c: Any = deque()
    c.append({"c": c})
    d: list[Any] = []
    d += [d] * 20
    e: Any = SimpleNamespace()
    e.self = e
    return [a, b, c, d, e]


@pytest.mark.parametrize("value", cycles(), ids=lambda value: type(value).__name__)
def test_a_cycle_is_refused_as_one(value: Any) -> None:
    with pytest.raises(Refused, match="contains itself"):
        encode(value)


@pytest.mark.parametrize("wrap", [lambda v: [v], lambda v: (v,), lambda v: {"k": v}, lambda v: {1j: v}])
def test_depth_has_a_limit(wrap: Any) -> None:
    value: Any = 1
    for _ in range(MAX_DEPTH):
        value = wrap(value)
    decoded = decode(encode(value))
    for _ in range(MAX_DEPTH):
        assert type(decoded) is type(value)
        decoded = next(iter(decoded.values() if type(decoded) is dict else decoded))
    assert decoded == 1
    with pytest.raises(Refused) as caught:
        encode(wrap(value))
    assert caught.value.limit == MAX_DEPTH
    bomb: Any = 1
    for _ in range(100_000):
        bomb = wrap(bomb)
    with pytest.raises(Refused) as caught:
        encode(bomb)
    assert caught.value.limit == MAX_DEPTH
    while bomb != 1:  # taken apart here, level by level
        bomb = next(iter(bomb.values() if type(bomb) is dict else bomb))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda v: [v] * 10,
        lambda v: (v,) * 10,
        lambda v: {str(i): v for i in range(10)},
        lambda v: [(v, 1)] * 5 + [{"a": v}] * 5,
        lambda v: deque([v] * 10),
        lambda v: Point(v, [v] * 9),
    ],
)
def test_a_billion_laughs_are_refused_in_linear_time(wrap: Any) -> None:
    value: Any = "ha"
    for _ in range(50):
        value = wrap(value)
    with pytest.raises(Refused) as caught:
        encode(value)
    assert caught.value.limit == MAX_ITEMS


def test_size_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "MAX_BYTES", 1000)
    assert decode(encode(b"x" * 900)) == b"x" * 900
    for value in (
        b"x" * 1001,
        "x" * 1001,
        ["x" * 600] * 2,
        ("x" * 600, "y" * 600),
        bytearray(1001),
        {"\ud800": "x" * 999},
    ):
        with pytest.raises(Refused) as caught:
            encode(value)
        assert caught.value.limit == 1000


KNOWN = {type(None), bool, int, float, str, bytes, list, dict, tuple, set, frozenset}


def holds_only_known(value: Any) -> bool:
    """The reference: every part looked at, one by one."""
    if type(value) not in KNOWN:
        return False
    parts = [*value, *value.values()] if type(value) is dict else value if hasattr(value, "__iter__") else ()
    return type(value) in (str, bytes) or all(map(holds_only_known, parts))


parts = st.recursive(
    st.none() | st.integers() | st.floats() | st.text(max_size=3) | st.builds(Text) | st.builds(Whole),
    lambda inner: (
        st.lists(inner, max_size=40)
        | st.lists(inner, max_size=3).map(tuple)
        | st.lists(inner, max_size=3).map(Items)
        | st.dictionaries(st.text(max_size=2) | st.integers() | st.builds(Text), inner, max_size=20)
        | st.integers(17, 400).flatmap(lambda n: inner.map(lambda v: [[]] * n + [v]))
    ),
    max_leaves=12,
)


@settings(max_examples=500, deadline=None)
@given(parts)
def test_nothing_unknown_slips_through_the_fast_scan(value: Any) -> None:
    try:
        encode(value)
    except Refused:
        stored = False
    else:
        stored = True
    assert stored == holds_only_known(value)
