"""Classes as schemas: which fields they have, what fits these, and which classes are refused."""

from __future__ import annotations

import copy
import datetime
import pickle
from collections.abc import Callable
from dataclasses import KW_ONLY, InitVar, dataclass, field
from enum import Enum
from typing import (
    Annotated,
    Any,
    ClassVar,
    Generic,
    Literal,
    NamedTuple,
    NotRequired,
    Protocol,
    Required,
    TypedDict,
    TypeVar,
)

import msgspec
import numpy as np
import numpy.typing as npt
import pandas as pd
import pydantic
import pytest
from pydantic.dataclasses import dataclass as pydantic_dataclass

from tau import Artifact, ConfigError, GraphError, SchemaError, State, StateGraph
from tau.schema.fields import Misfit
from tau.schema.schema import Reader, Schema
from tau.schema.types import checker

T = TypeVar("T")


class Colour(Enum):
    RED = "red"


class Inner(pydantic.BaseModel):
    depth: int


@dataclass
class Leaf:
    size: int
    name: str = "leaf"


class Point(NamedTuple):
    x: int


class Closable(Protocol):
    def close(self) -> None: ...


def made(hint: Any, value: Any) -> Any:
    return checker(hint)(value)


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        (np.ndarray, np.arange(3)),
        (npt.NDArray[np.float64], np.zeros(2)),
        (np.ndarray | None, None),
        (np.ndarray | list[float], np.zeros(1)),
        (pd.DataFrame | np.ndarray, pd.DataFrame({"a": [1]})),
        (pd.Series, pd.Series([1])),
        (dict[str, pd.DataFrame], {"a": pd.DataFrame()}),
        (Colour, Colour.RED),
        (list[Colour], [Colour.RED]),
        (dict[str, Colour | None], {"a": Colour.RED, "b": None}),
        (tuple[Colour, ...], (Colour.RED,)),
        (float, np.float64(1.5)),
        (datetime.datetime, pd.Timestamp("2024-01-01")),
        (Any, object()),
        (object, len),
        (complex, 1j),
        (Leaf, Leaf(1)),
        (list[Leaf], [Leaf(1)]),
        (Inner, Inner(depth=1)),
        (Leaf | Inner, Inner(depth=1)),
        (Callable[[int], int], len),
        (Literal["a", 1], 1),
        (list, [1, (2, {3})]),
        (dict[str, Any], {"a": (1, {2})}),
    ],
)
def test_a_value_that_fits_stays_what_it_is(hint: Any, value: Any) -> None:
    found = made(hint, value)
    assert type(found) is type(value)
    assert found is value or found == value


@pytest.mark.parametrize(
    ("hint", "value", "text"),
    [
        (np.ndarray, [1, 2], "Expected `numpy.ndarray`, got `list`"),
        (np.ndarray | list[float], "a", "none of"),
        (int, True, "Expected `int`, got `bool`"),
        (int, "1", "Expected `int`, got `str`"),
        (int, np.int64(1), "Expected `int`"),
        (datetime.date, datetime.datetime(2024, 1, 1), "Expected `date`, got `datetime`"),
        (list[int], [1, "2"], r"at `value\[1\]`"),
        (Colour, "blue", "Invalid enum value"),
        (list[Colour], [Colour.RED, 1], "."),
        (Annotated[int, msgspec.Meta(ge=0)], -1, ">= 0"),
        (Literal["a"], "b", "Invalid enum value"),
        (Inner, {"depth": "x"}, "depth"),
        (tuple[int, int], (1,), "length 2"),
    ],
)
def test_a_value_that_does_not_fit_is_told_without_the_value(hint: Any, value: Any, text: str) -> None:
    with pytest.raises(Misfit, match=text):
        made(hint, value)


def test_plain_data_becomes_an_instance_with_all_its_defaults() -> None:
    leaf = made(list[Leaf], [{"size": 1}])[0]
    assert vars(leaf) == {"size": 1, "name": "leaf"}
    assert made(Inner, {"depth": "2"}) == Inner(depth=2)
    assert made(Leaf | Inner, Leaf(2)) == Leaf(2)
    assert made(Colour, "red") is Colour.RED


class Keys(TypedDict, total=False):
    sometimes: int
    always: Required[int]


class MoreKeys(Keys):
    name: str
    note: NotRequired[Annotated[str, "a note"]]


@dataclass(frozen=True)
class Frozen:
    size: int
    LIMIT: ClassVar[int] = 3
    _: KW_ONLY
    _hidden: int = 0
    area: int = field(init=False, default=1)


@dataclass
class Box(Generic[T]):
    content: T
    more: list[T] = field(default_factory=list)


@dataclass
class NamedBox(Box[int]):
    name: str = ""


class Crate(msgspec.Struct, Generic[T], rename="camel"):
    first_content: T


class Bin(pydantic.BaseModel, Generic[T]):
    model_config = pydantic.ConfigDict(populate_by_name=True)
    LIMIT: ClassVar[int] = 3
    content: T = pydantic.Field(alias="theContent")
    _secret: int = pydantic.PrivateAttr(7)

    @pydantic.computed_field  # type: ignore[prop-decorator]
    @property
    def doubled(self) -> Any:
        return [self.content, self.content]


class BoxKeys(TypedDict, Generic[T]):
    content: T


@pydantic_dataclass
class Checked:
    size: int = pydantic.Field(gt=0)
    words: list[str] = pydantic.Field(default_factory=list)

    @pydantic.field_validator("words")
    @classmethod
    def upper(cls, words: list[str]) -> list[str]:
        return [word.upper() for word in words]

    def __post_init__(self) -> None:
        if self.size < len(self.words):
            raise ValueError("too many words")


class Tree(pydantic.BaseModel):
    kids: list[Tree] = []
    left: Tree | None = None


@pytest.mark.parametrize(
    ("cls", "required", "optional"),
    [
        (MoreKeys, "always name", "note sometimes"),
        (Frozen, "size", "_hidden"),
        (Box[int], "content", "more"),
        (NamedBox, "content", "more name"),
        (Crate[int], "first_content", ""),
        (Bin[int], "content", ""),
        (BoxKeys[int], "content", ""),
        (Checked, "size", "words"),
        (Tree, "", "kids left"),
    ],
)
def test_the_fields_of_a_class(cls: Any, required: str, optional: str) -> None:
    fields = Schema(cls).fields
    assert sorted(name for name, one in fields.items() if one.required) == required.split()
    assert sorted(name for name, one in fields.items() if not one.required) == optional.split()


@pytest.mark.parametrize("cls", [Box[int], NamedBox, Bin[int], BoxKeys[int]])
def test_the_parameters_of_a_generic_class_count(cls: Any) -> None:
    schema = Schema(cls)
    assert schema.fitted("content", 1) == 1
    with pytest.raises(Misfit):
        schema.fitted("content", "x")
    instance, _ = Reader(schema, cls).read({"content": 1}, lambda _: 1, None)
    assert (instance["content"] if isinstance(instance, dict) else instance.content) == 1


def test_aliases_are_not_names_of_the_state_and_private_attributes_are_made() -> None:
    schema = Schema(Bin[int])
    with pytest.raises(SchemaError, match=r"'theContent': .*alias of 'content'"):
        schema.checked({"theContent": 1})
    with pytest.raises(SchemaError, match=r"'firstContent': .*alias of 'first_content'"):
        Schema(Crate[int]).checked({"firstContent": 1})
    instance, _ = Reader(schema, Bin[int]).read({"content": 1}, lambda _: 1, None)
    assert (instance._secret, instance.doubled) == (7, [1, 1])


def test_values_of_an_instance_are_those_that_were_read() -> None:
    words, kids = ["A"], [Tree()]
    checked, _ = Reader(Schema(Checked), Checked).read({"size", "words"}, {"size": 1, "words": words}.__getitem__, None)
    assert checked.words is words
    tree, _ = Reader(Schema(Tree), Tree).read({"kids"}, {"kids": kids}.__getitem__, None)
    assert tree.kids is kids
    with pytest.raises(SchemaError, match="too many words"):
        Reader(Schema(Checked), Checked).read({"size", "words"}, {"size": 0, "words": words}.__getitem__, None)
    assert Schema(Checked).fitted("words", ["a"]) == ["A"]
    with pytest.raises(Misfit, match="greater than 0"):
        Schema(Checked).fitted("size", 0)


class Open(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow", arbitrary_types_allowed=True)
    table: pd.DataFrame | None = None
    file: Artifact | None = None


def test_an_open_model_takes_other_names_as_they_are() -> None:
    schema = Schema(Open)
    table = pd.DataFrame({"a": [1]})
    assert schema.checked({"other": (1,)}) == {"other": (1,)}
    assert schema.fitted("table", table) is table
    with pytest.raises(Misfit, match="DataFrame"):
        schema.fitted("table", [1])
    with pytest.raises(Misfit):
        schema.fitted("file", "clean.nc")


class LooksAside(pydantic.BaseModel):
    first: int = 0
    second: int = 0

    @pydantic.field_validator("second")
    @classmethod
    def above(cls, value: int, info: pydantic.ValidationInfo) -> int:
        assert value >= info.data["first"]
        return value


def test_a_validator_that_looks_at_another_field_is_told_what_to_do() -> None:
    with pytest.raises(Misfit, match="model_validator"):
        Schema(LooksAside).fitted("second", 1)


class Strange(pydantic.BaseModel):
    value: int = 0

    @pydantic.field_validator("value")
    @classmethod
    def fails(cls, value: int) -> int:
        raise RuntimeError("the service is away")


def test_a_validator_that_fails_is_a_misfit_with_its_cause() -> None:
    with pytest.raises(SchemaError, match="the service is away") as raised:
        Schema(Strange).checked({"value": 1})
    assert isinstance(raised.value.__cause__, RuntimeError)


@dataclass
class WithInitVar:
    size: InitVar[int]


class Lost(pydantic.BaseModel):
    other: Nowhere  # type: ignore[name-defined]  # noqa: F821


@dataclass
class LostToo:
    other: Nowhere  # type: ignore[name-defined]  # noqa: F821


@dataclass
class CannotBeAsked:
    closable: Closable


@pytest.mark.parametrize(
    ("cls", "text"),
    [
        (WithInitVar, "InitVar"),
        (Lost, "not complete"),
        (LostToo, "Nowhere"),
        (CannotBeAsked, "CannotBeAsked.closable"),
        (pydantic.RootModel[int], "no fields"),
        (pydantic.BaseModel, "schema must be"),
        (msgspec.Struct, "schema must be"),
        (Point, "found Point"),
        (Colour, "found Colour"),
        ([Leaf], "schema must be"),
        (Leaf(1), "schema must be"),
    ],
)
def test_a_class_that_cannot_say_what_a_state_holds_is_refused(cls: Any, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        StateGraph("graph", schema=cls)


def test_a_schema_goes_where_its_state_goes() -> None:
    graph = StateGraph("graph", schema=Leaf)
    graph.add_node("leaf", lambda state: None)
    graph.sequence("leaf")
    final = graph.execute({"size": 1})
    for one in (copy.deepcopy(final), copy.copy(final), pickle.loads(pickle.dumps(final)), final.set("name", "x")):
        assert one.typed.size == 1


# Which class a node asks for.


def _plain(state: State[Leaf]) -> None: ...
def _mapping(state: dict[str, Any]) -> None: ...
def _optional(state: Leaf | None) -> None: ...
def _annotated(state: Annotated[Leaf, "all of it"]) -> None: ...
def _forward(state: "Annotated['Leaf', 1]") -> None: ...  # noqa: UP037
def _generic(state: Box[int]) -> None: ...
def _lost(state: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821
def _star(*states: Any) -> None: ...
def _unannotated(state, other=1) -> None: ...  # type: ignore[no-untyped-def]


class Node:
    def __call__(self, state: Leaf) -> None: ...

    def method(self, state: Leaf) -> None: ...


@pytest.mark.parametrize(
    ("function", "schema", "found"),
    [
        (_plain, Leaf, None),
        (_mapping, Leaf, None),
        (_optional, Leaf, Leaf),
        (_annotated, Leaf, Leaf),
        (_forward, Leaf, Leaf),
        (_generic, Box[int], Box[int]),
        (_star, Leaf, None),
        (_unannotated, Leaf, None),
        (Node(), Leaf, Leaf),
        (Node().method, Leaf, Leaf),
    ],
    ids=lambda one: getattr(one, "__name__", type(one).__name__),
)
def test_which_class_a_node_asks_for(function: Any, schema: Any, found: Any) -> None:
    graph = StateGraph("graph", schema=schema)
    graph.add_node("node", function)
    reader = graph.nodes["node"].reader
    assert (None if reader is None else reader.known.cls) == found


def test_a_class_that_cannot_be_found_is_refused() -> None:
    with pytest.raises(GraphError, match=r"node node: .*Nowhere cannot be found"):
        StateGraph("graph", schema=Leaf).add_node("node", _lost)


def test_a_class_that_is_there_for_the_type_checker_alone_is_known_by_its_name() -> None:
    def make() -> Any:
        @dataclass
        class Local:
            size: int

        return Local

    def node(state: Local) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    graph = StateGraph("graph", schema=make())
    graph.add_node("node", node)
    assert graph.nodes["node"].reader is not None
