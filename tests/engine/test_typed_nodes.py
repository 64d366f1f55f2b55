"""What the nodes of a typed graph are given, and what they change in it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import msgspec
import pydantic
import pytest
from typed_models import (
    EVERY,
    OBJECTS,
    STORED,
    AsDataclass,
    AsModel,
    AsTypedDict,
    Percent,
    Words,
    failure,
    graph,
    value,
)

from tau import (
    Context,
    ExecutionError,
    SchemaError,
    State,
    register_type,
)
from tau.stores.contract import Store


@EVERY
@STORED
def test_a_node_gets_an_instance_and_others_the_state(cls: Any, location: Any) -> None:
    def first(state: cls, ctx: Context) -> dict[str, Any]:
        assert ctx.node == "first"
        return {"count": value(state, "count") + 1}

    async def second(state: cls) -> dict[str, Any]:
        return {"count": value(state, "count") * 2}

    async def third(state: Words, ctx: Context) -> dict[str, Any]:
        assert isinstance(state, Words)
        return {"words": [*state.words, ctx.node]}

    def fourth(state: State[Any]) -> dict[str, Any]:
        assert type(state) is State
        return {"note": str(state["count"])}

    first.__annotations__["state"] = second.__annotations__["state"] = cls
    made = graph(cls, first, second, third, fourth, location=location)
    given = {"count": 1, "words": ["a"]}
    wanted = {"count": 4, "words": ["a", "third"], "note": "4"}
    assert dict(made.execute(given)) == dict(asyncio.run(made.aexecute(given))) == wanted


@OBJECTS
def test_a_class_takes_its_defaults_where_the_state_has_nothing_and_the_state_stays_without(cls: Any) -> None:
    def reads(state: Any) -> None:
        assert (state.words, state.level, state.note) == ([], 0.0, None)

    def smaller(state: Words) -> None:
        assert state.words == []

    reads.__annotations__["state"] = cls
    final = graph(cls, reads, smaller).execute({"count": 1})
    assert dict(final) == {"count": 1}
    assert final.typed == cls(count=1)


def test_a_key_that_a_typed_dict_does_not_have_yet_is_missing_in_it() -> None:
    def reads(state: AsTypedDict) -> None:
        assert state == {"count": 1}

    def needs(state: Words) -> None:
        raise AssertionError("it is not called")

    assert graph(AsTypedDict, reads).execute({"count": 1}).typed == {"count": 1}
    error = failure(graph(AsTypedDict, needs), {"count": 1})
    assert (error.node, error.keys) == ("needs", ("words",))


def test_a_smaller_class_may_ask_for_more_than_the_schema() -> None:
    @dataclass
    class Noted:
        note: str

    def needs(state: Noted) -> dict[str, Any]:
        return {"words": [state.note]}

    needs.__annotations__["state"] = Noted
    made = graph(AsModel, needs)
    assert made.execute({"count": 1, "note": "x"})["words"] == ["x"]
    assert failure(made, {"count": 1, "note": None}).keys == ("note",)


def test_rules_over_several_fields_run_where_all_of_them_are_read() -> None:
    def breaks(state: State) -> dict[str, Any]:
        return {"total": 0}

    def smaller(state: Words) -> None:
        return None

    def reads(state: Percent) -> None:
        raise AssertionError("it is not called")

    error = failure(graph(Percent, breaks, reads), {"share": 50})
    assert error.node == "reads"
    assert "more than there is" in str(error)
    final = graph(Percent, breaks).execute({"share": 50})
    assert final["total"] == 0
    with pytest.raises(SchemaError, match="more than there is"):
        _ = final.typed


@STORED
def test_what_is_changed_inside_a_default_of_the_schema_counts_in_a_smaller_class(location: Any) -> None:
    def appends(state: Words) -> None:
        state.words.append("b")

    assert dict(graph(AsModel, appends, location=location).execute({"count": 1})) == {"count": 1, "words": ["b"]}


@STORED
def test_what_is_changed_in_a_value_that_the_smaller_class_converted_is_not_lost_in_silence(location: Any) -> None:
    @dataclass
    class AsSet:
        words: set[str]

    def adds(state: AsSet) -> Any:
        state.words.add("b")
        return returned(state)

    returned: Callable[[AsSet], Any] = lambda state: None  # noqa: E731
    adds.__annotations__["state"] = AsSet
    made = graph(AsModel, adds, location=location)
    assert failure(made, {"count": 1, "words": ["a"]}).keys == ("words",)
    returned = lambda state: {"words": sorted(state.words)}  # noqa: E731
    assert made.execute({"count": 1, "words": ["a"]})["words"] == ["a", "b"]


class Counted:
    """Notes how often it was read back."""

    read = 0

    @classmethod
    def decode(cls, fields: Any) -> Counted:
        cls.read += 1
        return cls()


register_type(Counted, name="typed-counted", encode=lambda value: {}, decode=Counted.decode)


@dataclass
class Heavy:
    heavy: Counted
    words: list[str] = field(default_factory=list)
    again: bool = False


def test_keys_that_a_node_does_not_ask_for_are_not_read_nor_are_they_on_a_resume(store: Store) -> None:
    class Cause:
        fails = True

    def smaller(state: Words) -> None:
        state.words.append("a")
        if Cause.fails:
            raise OSError("not now")

    def all_of_it(state: Heavy) -> None:
        assert type(state.heavy) is Counted

    made = graph(Heavy, smaller, location=store)
    Counted.read = 0
    with pytest.raises(ExecutionError):
        made.execute({"heavy": Counted()}, run_id="r")
    Cause.fails = False
    assert made.resume("r")["words"] == ["a"]
    assert Counted.read == 0
    graph(Heavy, all_of_it, location=store).execute({"heavy": Counted()})
    assert Counted.read == 1


def test_what_a_struct_says_is_not_set_is_not_set() -> None:
    class Partly(msgspec.Struct):
        count: int
        note: str | msgspec.UnsetType = msgspec.UNSET

    def returns(state: Partly) -> Partly:
        assert state.note is msgspec.UNSET
        return Partly(state.count + 1)

    returns.__annotations__["state"] = Partly
    assert dict(graph(Partly, returns).execute({"count": 1})) == {"count": 2}


def test_a_frozen_smaller_model_has_the_same_rules() -> None:
    class Share(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(frozen=True)
        share: float = 0.0
        of_a_hundred = pydantic.field_validator("share")(Percent.of_a_hundred.__func__)  # type: ignore[attr-defined]

    def reads(state: Share) -> dict[str, Any]:
        return {"total": int(state.share * 100)}

    reads.__annotations__["state"] = Share
    assert dict(graph(Percent, reads).execute({"share": 50})) == {"share": 0.5, "total": 50}


# What nodes change in the instance.


@EVERY
@STORED
def test_what_is_changed_inside_a_value_counts_as_in_a_state(cls: Any, location: Any) -> None:
    def appends(state: Any) -> None:
        value(state, "words").append("b")

    appends.__annotations__["state"] = cls
    assert graph(cls, appends, location=location).execute({"count": 1, "words": ["a"]})["words"] == ["a", "b"]


@OBJECTS
@STORED
def test_what_is_changed_inside_a_default_counts(cls: Any, location: Any) -> None:
    def appends(state: Any) -> dict[str, Any]:
        state.words.append("b")
        return {"count": 2}

    appends.__annotations__["state"] = cls
    assert dict(graph(cls, appends, location=location).execute({"count": 1})) == {"count": 2, "words": ["b"]}


@EVERY
@STORED
def test_an_attribute_that_is_assigned_and_not_returned_fails_the_node(cls: Any, location: Any) -> None:
    returned: Callable[[Any], Any]

    def assigns(state: Any) -> Any:
        if isinstance(state, dict):
            state["count"] = 5
        else:
            state.count = 5
        return returned(state)

    assigns.__annotations__["state"] = cls
    made = graph(cls, assigns, location=location)
    for lost in (None, {"note": "x"}):
        returned = lambda state, lost=lost: lost  # noqa: E731
        error = failure(made, {"count": 1})
        assert (error.node, error.keys) == ("assigns", ("count",))
        assert "return" in str(error)
    for kept in (lambda state: state, lambda state: {"count": 5}):
        returned = kept
        assert made.execute({"count": 1})["count"] == 5


@STORED
def test_an_attribute_that_is_no_field_is_not_lost_in_silence(location: Any) -> None:
    @dataclass
    class Derives:
        count: int
        cached: ClassVar[int] = 0

        def __post_init__(self) -> None:
            self.half = self.count / 2

        @cached_property
        def double(self) -> int:
            self._asked = True
            return self.count * 2

    def mistypes(state: Derives) -> Derives | None:
        state.coutn = 5  # type: ignore[attr-defined]
        return state if state.count else None

    def derives(state: Derives) -> Derives:
        return Derives(state.double + int(state.half))

    for node in (mistypes, derives):
        node.__annotations__["state"] = Derives
    made = graph(Derives, mistypes, location=location)
    for number in (0, 1):
        assert failure(made, {"count": number}).keys == ("coutn",)
    assert dict(graph(Derives, derives, location=location).execute({"count": 2})) == {"count": 5}


def test_a_class_that_was_defined_again_has_the_same_rules() -> None:
    def define() -> Any:
        class Again(pydantic.BaseModel):
            share: float = 0.0

            @pydantic.field_validator("share")
            @classmethod
            def of_a_hundred(cls, value: float) -> float:
                return value / 100

        return Again

    def reads(state: Any) -> Any:
        assert state.share == 0.5
        return type(state)(share=20)

    reads.__annotations__["state"] = define()
    assert dict(graph(define(), reads).execute({"share": 50})) == {"share": 0.2}


def test_the_state_of_an_error_is_typed() -> None:
    def bad(state: State) -> dict[str, Any]:
        return {"count": "many"}

    with pytest.raises(ExecutionError) as raised:
        graph(AsModel, bad).execute({"count": 1})
    assert raised.value.state.typed == AsModel(count=1)


def test_a_returned_instance_sets_its_fields() -> None:
    def returns(state: AsModel) -> AsDataclass:
        return AsDataclass(count=state.count + 1, note="x")

    def returns_smaller(state: AsModel) -> Words:
        return Words(["a"])

    def returns_wrong(state: AsModel) -> Words:
        return Words([1])  # type: ignore[list-item]

    final = graph(AsModel, returns, returns_smaller).execute({"count": 1})
    assert dict(final) == {"count": 2, "note": "x", "words": ["a"], "level": 0.0}
    assert failure(graph(AsModel, returns_wrong), {"count": 1}).keys == ("words",)
