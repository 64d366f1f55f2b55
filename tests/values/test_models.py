"""attrs classes, msgspec Structs and pydantic models: exact, with versions, and nothing of them runs on load."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import attrs
import msgspec
import pydantic
import pytest

from exactness import same
from tau.errors import ConfigError, CorruptCheckpointError, UnsupportedFormatError
from tau.values import Refused, decode, encode, register_type
from tau.values import registered_classes as classes

RAN: list[str] = []


@pytest.fixture(autouse=True)
def registry_as_before() -> Iterator[None]:
    before = dict(classes._entries)
    RAN.clear()
    yield
    classes._entries.clear()
    classes._entries.update(before)


def note(*_: Any) -> None:
    RAN.append("ran")


@attrs.define
class Spot:
    lat: float = attrs.field(validator=note)
    tags: Any = attrs.field(factory=list, converter=lambda value: (note(), value)[1])
    late: int = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        note()


@attrs.frozen(slots=False, cache_hash=True)
class Frozen:
    a: Any


class Reading(msgspec.Struct, frozen=True, kw_only=True, rename="camel", tag=True):
    at_station: str
    values: Any = ()


class Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")

    name: str
    values: Any = None
    _hidden: int = pydantic.PrivateAttr(5)

    @pydantic.field_validator("name")
    @classmethod
    def check(cls, value: str) -> str:
        note()
        return value

    def model_post_init(self, _: Any) -> None:
        super().model_post_init(_)
        note()

    @cached_property
    def upper(self) -> str:
        return self.name.upper()


class Root(pydantic.RootModel[list[int]]):
    pass


class HidingRoot(Root):
    _hidden: int = pydantic.PrivateAttr(5)


def spot() -> Spot:
    made = Spot(1.5, [(1,)])
    made.late = 7
    return made


def model() -> Model:
    made = Model(name="n", values=(1, {2}), more=[1])  # type: ignore[call-arg]
    made._hidden = 6
    assert made.upper == "N"
    return made


@pytest.mark.parametrize(
    "make", [spot, lambda: Frozen((1, (2,))), model, lambda: Root([1, 2]), lambda: HidingRoot([3])]
)
def test_instances_come_back_without_running_anything(make: Any) -> None:
    value = make()
    register_type(type(value), name="test.class")
    RAN.clear()
    if isinstance(value, Frozen):
        hash(value)  # which is kept in the instance
    read = decode(encode([value]))[0]
    assert RAN == []
    assert read == value
    assert encode([read]) == encode([value])
    assert type(read) is type(value)
    assert read is not value
    if isinstance(value, Frozen):
        assert hash(read) == hash(value)


def test_a_field_of_an_attrs_class_that_was_never_set_stays_unset() -> None:
    register_type(Spot)
    assert not hasattr(decode(encode(Spot(1.0))), "late")


def test_a_model_keeps_what_was_set_what_is_extra_and_what_is_private() -> None:
    register_type(Model)
    read = decode(encode(model()))
    assert read.model_fields_set == {"name", "values", "more"}
    assert read.model_extra == {"more": [1]}
    assert read._hidden == 6
    assert same(read.values, (1, {2}))
    assert "upper" not in vars(read)
    assert decode(encode(Model(name="x"))).model_fields_set == {"name"}


def test_a_struct_comes_back_by_its_own_names() -> None:
    register_type(Reading)
    value = Reading(at_station="mlo", values=[1, (2,)])
    assert decode(encode(value)) == value
    assert same(decode(encode(value)).values, [1, (2,)])


def test_a_struct_whose_constructor_runs_code_needs_functions_of_its_own() -> None:
    class Hooked(msgspec.Struct):
        a: int

        def __post_init__(self) -> None:
            note()

    with pytest.raises(ConfigError, match="__post_init__"):
        register_type(Hooked)
    register_type(Hooked, encode=lambda value: value.a, decode=Hooked)
    assert decode(encode(Hooked(1))) == Hooked(1)


def test_what_is_no_field_is_refused() -> None:
    for cls in (Frozen, Model):
        register_type(cls)
    frozen = Frozen(1)
    object.__setattr__(frozen, "note", 1)
    with pytest.raises(Refused, match="note"):
        encode(frozen)
    broken = Model.model_construct(values=1)
    with pytest.raises(Refused, match="'name' is not set"):
        encode(broken)


def test_a_refusal_names_the_field() -> None:
    register_type(Spot)
    register_type(Reading)
    with pytest.raises(Refused) as caught:
        encode([Spot(1.0, [print])])
    assert caught.value.path == "[0].tags[0]"
    with pytest.raises(Refused) as caught:
        encode(Reading(at_station="x", values={"a": print}))
    assert caught.value.path == ".values['a']"


@pytest.mark.parametrize(("make", "renamed"), [(spot, "lat"), (lambda: Reading(at_station="x"), "at_station")])
def test_an_upgrade_turns_old_fields_into_new_ones(make: Any, renamed: str) -> None:
    register_type(type(make()), name="test.old")
    data = encode(make())
    del classes._entries["test.old"]

    @attrs.define
    class New:
        first: Any

    register_type(New, name="test.old", version=2)
    with pytest.raises(UnsupportedFormatError, match="upgrade function"):
        decode(data)
    register_type(New, name="test.old", version=2, upgrade=lambda version, fields: {"first": fields[renamed]})
    assert decode(data) == New(getattr(make(), renamed))


def test_a_model_is_upgraded_by_its_parts() -> None:
    register_type(Model, name="test.model")
    data = encode(model())
    del classes._entries["test.model"]

    def upgrade(version: int, parts: dict[str, Any]) -> dict[str, Any]:
        return {
            **parts,
            "fields": {"root": list(parts["fields"]["values"][:1])},
            "set": [],
            "extra": None,
            "private": None,
        }

    register_type(Root, name="test.model", version=2, upgrade=upgrade)
    assert decode(data) == Root([1])


def test_stored_fields_that_do_not_fit_are_typed_errors() -> None:
    register_type(Model, name="test.model")
    data = encode(Model(name="x"))
    for old, new in ((b"fields", b"fieldz"), (b"\xa3set\x91", b"\xa3set\xc0")):
        assert old in data
        with pytest.raises((UnsupportedFormatError, CorruptCheckpointError)):
            decode(data.replace(old, new))
