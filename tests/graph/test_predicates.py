"""Predicates: what each answers, and what equality means for `key_equals`."""

from __future__ import annotations

import copy
import dataclasses
import datetime as dt
import pickle
import uuid
from collections import OrderedDict, namedtuple
from decimal import Decimal
from enum import Enum, IntEnum
from fractions import Fraction
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tau.errors import GraphError
from tau.predicates import always, and_, key_equals, key_exists, not_, or_


def state(**values: Any) -> Any:
    """A predicate needs no more of a state than that it is a mapping."""
    return values


@dataclasses.dataclass
class Record:
    data: Any
    note: str = dataclasses.field(default="", compare=False)


class Hostile:
    def __eq__(self, other: object) -> bool:
        raise RuntimeError("cannot be compared")

    __hash__ = object.__hash__


class Color(Enum):
    RED = 1


class Level(IntEnum):
    LOW = 1


Point = namedtuple("Point", "x y")
NAN = float("nan")


def test_always_holds_for_any_state() -> None:
    assert always()(state()) is True


def test_a_key_exists_whatever_its_value() -> None:
    holds = key_exists("a")
    assert holds(state(a=None))
    assert holds(state(a=0))
    assert not holds(state(b=1))


def test_a_missing_key_equals_nothing_not_even_none() -> None:
    assert not key_equals("a", None)(state())
    assert key_equals("a", None)(state(a=None))


EQUAL = [
    (1, 1), (1, 1.0), (1, Decimal(1)), (0.5, Fraction(1, 2)), (10**30, 10**30), (0.0, -0.0), ("a", "a"), (b"a", b"a"),
    (NAN, float("nan")), (Decimal("NaN"), NAN), (Decimal("sNaN"), Decimal("sNaN")), (complex(NAN, 1), complex(1, NAN)),
    (True, True), ([1, [NAN]], [1.0, [float("nan")]]), ((1, 2), (1, 2)), (Point(1, 2), Point(1, 2)),
    ({"a": 1, "b": [NAN]}, {"b": [NAN], "a": 1.0}), (OrderedDict(a=1), {"a": 1}), ({1, 2}, frozenset({2, 1})),
    (Color.RED, Color.RED), (Level.LOW, 1), (Record([1]), Record([1], note="x")),
    (dt.datetime(2025, 1, 1, tzinfo=dt.UTC), dt.datetime(2025, 1, 1, tzinfo=dt.UTC)),
    (uuid.UUID(int=1), uuid.UUID(int=1)), (PurePosixPath("/a"), PurePosixPath("/a")),
    (np.array([1.0, NAN]), np.array([1.0, NAN])), (np.array(["a"]), np.array(["a"])),
    (np.zeros((0, 3)), np.zeros((0, 3))),
    (np.array(["NaT", "2025-01-01"], "M8[D]"), np.array(["NaT", "2025-01-01"], "M8[D]")),
    (np.array([{"a": 1}, NAN], object), np.array([{"a": 1}, NAN], object)), (np.array(5), np.array(5)),
    (np.zeros(2, [("x", "i4"), ("y", "f8")]), np.zeros(2, [("x", "i4"), ("y", "f8")])),
    (Record(np.arange(3)), Record(np.arange(3))), ({"a": np.arange(3)}, {"a": np.arange(3)}),
    (np.True_, True), (np.int64(3), 3), (np.float32(0.5), 0.5), (np.str_("a"), "a"), (np.float64(NAN), NAN),
]  # fmt: skip

UNEQUAL = [
    (1, 2), (1, True), (0, False), (1.0, True), (1, "1"), ("a", b"a"), (1, None), (NAN, 1.0), (Decimal("sNaN"), 1),
    ([1], (1,)), ([1], [1, 2]), ([True], [1]), ({"a": 1}, {"a": True}), ({1: "x"}, {True: "x"}), ({True}, {1}),
    ({"a": 1}, {"a": 1, "b": 2}), ({"a": 1}, [("a", 1)]), ({1}, [1]), (Color.RED, 1), (Record([1]), Record([2])),
    (np.True_, 1),
    (dt.datetime(2025, 1, 1, tzinfo=dt.UTC), dt.datetime(2025, 1, 1)),
    (np.arange(3), np.arange(4)), (np.arange(3), np.array([0, 1, 3])), (np.arange(3), np.arange(3.0)),
    (np.arange(3), [0, 1, 2]),
    (np.zeros((2, 3)), np.zeros((3, 2))), (np.zeros(1), 0.0), (np.arange(3), None), (None, np.arange(3)),
    (np.zeros(2, [("x", "i4")]), np.ones(2, [("x", "i4")])),
    (Hostile(), Hostile()), (Hostile(), 1), ([Hostile()], [Hostile()]),
]  # fmt: skip


@pytest.mark.parametrize(("left", "right"), EQUAL, ids=lambda value: type(value).__name__)
def test_these_are_equal_both_ways(left: Any, right: Any) -> None:
    assert key_equals("k", right)(state(k=left)) is True
    assert key_equals("k", left)(state(k=right)) is True


@pytest.mark.parametrize(("left", "right"), UNEQUAL, ids=lambda value: type(value).__name__)
def test_these_are_not_equal_either_way(left: Any, right: Any) -> None:
    assert key_equals("k", right)(state(k=left)) is False
    assert key_equals("k", left)(state(k=right)) is False


def test_a_table_is_equal_as_its_own_method_says() -> None:
    class Frame:
        dtype = object()

        def __init__(self, rows: int) -> None:
            self.rows = rows

        def equals(self, other: Frame) -> bool:
            return self.rows == other.rows

        def __eq__(self, other: object) -> bool:
            raise ValueError("the truth value of a table is ambiguous")

        __hash__ = object.__hash__

    assert key_equals("k", Frame(1))(state(k=Frame(1)))
    assert not key_equals("k", Frame(1))(state(k=Frame(2)))
    assert not key_equals("k", Frame(1))(state(k=np.arange(1)))


def test_a_value_without_end_is_not_equal_to_another() -> None:
    one: list[Any] = []
    one.append(one)
    other: list[Any] = []
    other.append(other)
    assert key_equals("k", one)(state(k=one))
    assert not key_equals("k", one)(state(k=other))


_plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.decimals(),
    lambda inner: (
        st.lists(inner) | st.tuples(inner) | st.dictionaries(st.text() | st.integers() | st.booleans(), inner)
    ),
    max_leaves=10,
)


@given(_plain, _plain)
def test_equality_is_symmetric_reflexive_and_never_raises(left: Any, right: Any) -> None:
    assert key_equals("k", left)(state(k=left))
    assert key_equals("k", left)(state(k=right)) == key_equals("k", right)(state(k=left))


def test_an_error_of_the_state_itself_is_not_swallowed() -> None:
    class Damaged(dict[str, Any]):
        def __getitem__(self, key: str) -> Any:
            raise OSError("cannot be read")

    with pytest.raises(OSError, match="cannot be read"):
        key_equals("k", 1)(Damaged(k=1))  # type: ignore[arg-type]


def test_not_and_or_combine() -> None:
    a, b = key_exists("a"), key_exists("b")
    assert not_(a)(state())
    assert and_(a, b)(state(a=1, b=1))
    assert not and_(a, b)(state(a=1))
    assert or_(a, b)(state(b=1))
    assert not or_(a, b)(state())
    nested = and_(key_equals("x", 1), or_(key_equals("y", 2), key_equals("z", 3)))
    assert nested(state(x=1, z=3))
    assert not nested(state(x=1, z=4))


def test_no_conditions_are_all_true_and_none_is() -> None:
    assert and_()(state()) is True
    assert or_()(state()) is False


def test_asking_stops_as_soon_as_the_answer_is_known() -> None:
    def explode(given: Any) -> bool:
        raise AssertionError("asked")

    assert not and_(key_exists("a"), explode)(state())
    assert or_(always(), explode)(state())


def test_a_predicate_reads_as_it_was_written() -> None:
    def is_ready(given: Any) -> bool:
        return True

    built = and_(not_(key_equals("valid", False)), or_(key_exists("a"), always(), is_ready))
    assert repr(built) == "and_(not_(key_equals('valid', False)), or_(key_exists('a'), always(), is_ready))"
    assert len(repr(key_equals("a", "x" * 10_000))) < 100


def test_a_predicate_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        key_exists("a").key = "b"  # type: ignore[attr-defined]


async def _async_condition(given: Any) -> bool:
    return False


@pytest.mark.parametrize("wrong", [None, "a", 1, _async_condition])
@pytest.mark.parametrize("factory", [not_, and_, or_])
def test_what_cannot_be_asked_is_refused(factory: Any, wrong: Any) -> None:
    with pytest.raises(GraphError, match=factory.__name__):
        factory(wrong)


@pytest.mark.parametrize("key", [1, None, b"a"])
def test_a_key_is_text(key: Any) -> None:
    with pytest.raises(GraphError, match="a key of the state must be text"):
        key_exists(key)
    with pytest.raises(GraphError, match="a key of the state must be text"):
        key_equals(key, 1)


@pytest.mark.parametrize("one", [always(), key_exists("a"), key_equals("a", 1), not_(always()), and_(always()), or_()])
def test_a_predicate_stays_as_it_was_made_and_comes_back_from_a_copy(one: Any) -> None:
    for other in (copy.copy(one), copy.deepcopy(one), pickle.loads(pickle.dumps(one))):
        assert repr(other) == repr(one)
        assert (other == one) is (hash(other) == hash(one)) is not repr(one).startswith("key_equals")
    for name in ("key", "value", "other"):
        with pytest.raises(AttributeError):
            setattr(one, name, "b")
        with pytest.raises(AttributeError):
            delattr(one, name)


def test_predicates_are_equal_when_they_ask_the_same() -> None:
    assert key_exists("a") == key_exists("a") != key_exists("b")
    assert and_(key_exists("a")) == and_(key_exists("a")) != or_(key_exists("a"))
    assert len({not_(key_exists("a")), not_(key_exists("a")), not_(always())}) == 2
    assert key_equals("a", np.arange(2)) != key_equals("a", np.arange(2))
