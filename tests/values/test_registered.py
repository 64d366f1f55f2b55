"""Registered classes: names, versions, upgrades, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, make_dataclass
from enum import Enum, Flag
from functools import cached_property
from typing import Any, NamedTuple

import pytest

from exactness import same
from tau.errors import ConfigError, CorruptCheckpointError, UnsupportedFormatError
from tau.values import Refused, decode, encode, register_type
from tau.values import registered_classes as classes


@pytest.fixture(autouse=True)
def registry_as_before() -> Iterator[None]:
    before = dict(classes._entries)
    yield
    classes._entries.clear()
    classes._entries.update(before)


def test_the_default_name_is_the_qualified_name_and_only_that_is_stored() -> None:
    @register_type
    @dataclass
    class Local:
        a: int

    data = encode(Local(1))
    assert Local.__qualname__.encode() in data
    assert __name__.encode() not in data
    assert decode(data) == Local(1)


def test_neither_init_nor_post_init_runs_on_load() -> None:
    runs = []

    @register_type
    @dataclass
    class Counted:
        a: int
        b: list[int] = field(init=False)

        def __post_init__(self) -> None:
            runs.append(1)
            self.b = []

    value = Counted(1)
    value.b = [5]
    assert same(vars(decode(encode(value))), {"a": 1, "b": [5]})
    assert runs == [1]


def test_a_field_that_was_never_set_stays_unset() -> None:
    @register_type
    @dataclass
    class Late:
        a: int
        b: int = field(init=False)

    assert not hasattr(decode(encode(Late(1))), "b")
    broken = Late(1)
    del broken.a
    with pytest.raises(Refused, match="'a' is not set"):
        encode(broken)


def test_cached_properties_are_computed_again() -> None:
    @register_type
    @dataclass
    class Lazy:
        a: int

        @cached_property
        def twice(self) -> int:
            return 2 * self.a

    value = Lazy(2)
    assert value.twice == 4
    assert vars(decode(encode(value))) == {"a": 2}


def test_an_upgrade_turns_old_fields_into_new_ones() -> None:
    old = register_type(make_dataclass("Old", ["lat", "long"]), name="test.Spot")
    data = encode([old(1, (2,))])
    del classes._entries["test.Spot"]
    asked = []

    def upgrade(version: int, fields: dict[str, Any]) -> dict[str, Any]:
        asked.append(version)
        return {"lat": fields["lat"], "lon": fields["long"]}

    new = register_type(make_dataclass("New", ["lat", "lon"]), name="test.Spot", version=3, upgrade=upgrade)
    assert decode(data) == [new(1, (2,))]
    assert asked == [1]


def test_unknown_names_versions_fields_and_members_are_told_apart() -> None:
    spot = register_type(make_dataclass("Spot", ["a"]), name="test.Spot", version=2)
    data = encode(spot(1))

    def replaced_by(cls: type, version: int) -> pytest.ExceptionInfo[UnsupportedFormatError]:
        classes._entries.pop("test.Spot", None)
        register_type(cls, name="test.Spot", version=version)
        with pytest.raises(UnsupportedFormatError) as caught:
            decode(data)
        return caught

    assert "newer program" in str(replaced_by(make_dataclass("Spot1", ["a"]), 1).value)
    assert "upgrade function" in str(replaced_by(make_dataclass("Spot3", ["a"]), 3).value)
    assert "the fields a, b" in str(replaced_by(make_dataclass("Spot2", ["b"]), 2).value)
    del classes._entries["test.Spot"]
    with pytest.raises(UnsupportedFormatError, match=r"'test\.Spot', which is not registered") as caught:
        decode(data)
    assert caught.value.found == "test.Spot"


def test_a_member_that_is_gone_is_named() -> None:
    old = register_type(Enum("Old", ["A", "B"]), name="test.Kind")
    data = encode(old.B)
    del classes._entries["test.Kind"]
    register_type(Enum("New", ["A"]), name="test.Kind")
    with pytest.raises(UnsupportedFormatError, match="'B'"):
        decode(data)


def test_a_bit_that_is_gone_is_an_error() -> None:
    old = register_type(Flag("Old", ["A", "B"]), name="test.Bits")
    data = encode(old.A | old.B)
    del classes._entries["test.Bits"]
    register_type(Flag("New", ["A"]), name="test.Bits")
    with pytest.raises((UnsupportedFormatError, CorruptCheckpointError)):
        decode(data)


def test_the_same_definition_again_replaces_the_earlier_one() -> None:
    def cell() -> type:
        @register_type(name="test.Cell")
        @dataclass
        class Cell:
            a: int

        return Cell

    first, second = cell(), cell()
    assert type(decode(encode(second(1)))) is second
    with pytest.raises(Refused, match="defined again"):
        encode(first(1))


def test_a_name_belongs_to_one_class_and_a_class_has_one_name() -> None:
    one = register_type(make_dataclass("One", ["a"]), name="test.one")
    with pytest.raises(ConfigError, match=r"test\.one"):
        register_type(make_dataclass("Two", ["a"]), name="test.one")
    with pytest.raises(ConfigError, match="Register it once"):
        register_type(one, name="test.other")
    assert register_type(one, name="test.one", version=2) is one


def test_what_cannot_be_registered() -> None:
    class Thing:
        pass

    class Base:
        __slots__ = ("hidden",)

    @dataclass
    class Slotted(Base):
        a: int

    @dataclass
    class Failure(Exception):
        a: int

    for cls in (Thing, Slotted, Failure, int, list, dict, tuple):
        with pytest.raises(ConfigError):
            register_type(cls)
    for arguments in ({"encode": vars}, {"name": ""}, {"version": 0}, {"version": True}, {"name": "a\n"}):
        with pytest.raises(ConfigError):
            register_type(make_dataclass("Fine", ["a"]), **arguments)
    with pytest.raises(ConfigError):
        register_type("text")  # type: ignore[call-overload]


def test_a_named_tuple_with_attributes_of_its_own_is_refused() -> None:
    class Bare(NamedTuple):
        a: int

    @register_type(name="test.Fat")
    class Fat(Bare):
        pass

    value = Fat(1)
    assert same(type(decode(encode(value))), Fat)
    value.note = 1  # type: ignore[attr-defined]
    with pytest.raises(Refused, match="more than its fields"):
        encode(value)


def test_what_own_functions_raise_is_told() -> None:
    class Thing:
        pass

    def fail(_: Any) -> Any:
        raise OverflowError("too much")

    register_type(Thing, name="test.Thing", encode=fail, decode=fail)
    with pytest.raises(Refused, match="too much"):
        encode([Thing()])
    register_type(Thing, name="test.Thing", encode=lambda _: 1, decode=fail)
    with pytest.raises(CorruptCheckpointError, match="too much"):
        decode(encode([Thing()]))
    register_type(Thing, name="test.Thing", encode=lambda _: 1, decode=lambda _: "text")
    with pytest.raises(UnsupportedFormatError, match="returned str"):
        decode(encode([Thing()]))
