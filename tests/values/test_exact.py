"""Every stored value comes back with exactly its types and contents."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter, OrderedDict, deque
from datetime import UTC, timedelta, timezone
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import msgpack

from exactness import HASHABLE, VALUES, Point, same
from tau.values import decode, encode, is_atom

leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=-(2**90), max_value=2**90),
    st.floats(),
    st.text(st.characters(exclude_categories=()), max_size=8),
    st.binary(max_size=8),
    st.complex_numbers(),
    st.decimals(),
    st.fractions(),
    st.dates(),
    st.datetimes(timezones=st.one_of(st.none(), st.just(UTC), st.timezones()), allow_imaginary=True),
    st.times(timezones=st.just(timezone(timedelta(hours=2), "two"))),
    st.timedeltas(),
    st.uuids(),
    st.ip_addresses(),
)
hashables = st.recursive(
    leaves.filter(lambda value: type(value) is not Decimal or not value.is_snan()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(tuple), st.frozensets(inner, max_size=4), st.builds(Point, inner, inner)
    ),
    max_leaves=6,
)
values = st.recursive(
    leaves | hashables,
    lambda inner: st.one_of(
        st.lists(inner, max_size=20),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(st.text(max_size=4), inner, max_size=4),
        st.dictionaries(hashables, inner, max_size=4),
        st.sets(hashables, max_size=4),
        st.dictionaries(st.text(max_size=3), inner, max_size=3).map(OrderedDict),
        st.lists(inner, max_size=3).map(deque),
        st.dictionaries(hashables, inner, max_size=3).map(Counter),
    ),
    max_leaves=40,
)


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_every_kind_is_exact_alone_and_in_containers(value: Any) -> None:
    for whole in (value, [value], (value,), {"k": value}, {1: [(value,)]}, [[1, {"a": [value, "x"]}], value]):
        assert same(decode(encode(whole)), whole)


@pytest.mark.parametrize("value", HASHABLE, ids=lambda value: type(value).__name__)
def test_every_hashable_kind_is_exact_as_a_key_and_as_an_element(value: Any) -> None:
    for whole in ({value: 1}, {"a": 1, value: [value]}, {value}, frozenset({value, "other"}), {(value, 1): None}):
        assert same(decode(encode(whole)), whole)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(values)
def test_any_nesting_of_kinds_is_exact(value: Any) -> None:
    data = encode(value)
    assert same(decode(data), value)
    assert encode(decode(data)) == data


@settings(max_examples=100, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary(),
        lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text() | st.none(), inner, max_size=5),
        max_leaves=30,
    )
)
def test_plain_data_is_plain_messagepack_whatever_it_looks_like(value: Any) -> None:
    assert encode(value) == msgpack.encode(value)


def test_a_list_with_more_at_its_end_keeps_its_bytes() -> None:
    for items in ([1, "x", {"a": [2]}] * 100, [(1, 2), {3}, None] * 100):
        assert encode([*items, (4,)])[3:].startswith(encode(items)[3:])


def test_shared_parts_become_equal_values_of_their_own() -> None:
    part = [1]
    one, two = decode(encode([part, part]))
    assert one == two == [1]
    assert one is not two


def test_sets_are_written_alike_in_every_process() -> None:
    program = (
        "import sys; from exactness import VALUES; from tau.values import encode;"
        "print([encode(v).hex() for v in VALUES if isinstance(v, set | frozenset)])"
    )
    here = str([encode(v).hex() for v in VALUES if isinstance(v, set | frozenset)])
    for seed in ("1", "2"):
        environment = {"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)}
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
        assert done.stdout.strip() == here


def test_atoms_are_the_immutable_scalars() -> None:
    containers = (tuple, frozenset, Point)
    for value in VALUES:
        try:
            hash(value)
        except (TypeError, ValueError):
            assert not is_atom(value) or "NaN" in repr(value) or isinstance(value, np.timedelta64 | np.ma.MaskedArray)
        else:
            names = ("Place", "Money", "slice", "void")
            # What pyarrow holds may lie over memory of somebody else.
            others = isinstance(value, (*containers, np.dtype)) or type(value).__module__.startswith("pyarrow")
            expected = not others and type(value).__name__ not in names
            assert is_atom(value) == expected, value


def test_what_is_not_stored_is_no_atom() -> None:
    class Text(str):
        __slots__ = ()

    for value in (Text("x"), object(), print, int, [], {}, (), bytearray()):
        assert not is_atom(value)


def test_the_values_of_a_dict_that_lives_inside_an_instance_are_seen() -> None:
    class Holder:
        def __init__(self) -> None:
            self.pair = (1, 2)

    holder = Holder()
    for value in (vars(holder), [vars(holder)], {"a": vars(holder), "b": {1: 2, 3: 4}}):
        assert same(decode(encode(value)), value)


def test_deep_nesting_is_exact_even_at_the_end_of_the_stack() -> None:
    value: Any = ()
    for i in range(99):
        value = ({"k": value}, i)

    def descend(left: int) -> Any:
        if left:
            return descend(left - 1)
        return decode(encode(value))

    frames = 0
    frame = sys._getframe()
    while frame is not None:
        frames, frame = frames + 1, frame.f_back
    assert same_shape(descend(sys.getrecursionlimit() - frames - 60), value)


def same_shape(one: Any, two: Any) -> bool:
    """As ``same``, without recursion."""
    while one != ():
        if type(one) is not tuple or list(one[0]) != ["k"] or one[1] != two[1]:
            return False
        one, two = one[0]["k"], two[0]["k"]
    return two == ()
