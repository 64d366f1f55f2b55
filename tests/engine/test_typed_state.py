"""Typed state: what a graph's schema refuses, what nodes are given, and what is stored."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import pydantic
import pytest
from typed_models import (
    CLASSES,
    WITH_ATTRIBUTES,
    AsDataclass,
    AsModel,
    AsTypedDict,
    Percent,
    Unknown,
    Words,
    value,
)

from tau import (
    ConfigError,
    Context,
    ExecutionError,
    GraphError,
    Retry,
    SchemaError,
    State,
    StateGraph,
    UnserializableError,
)
from tau.stores.contract import Store

STORED = pytest.mark.parametrize("location", [None, "memory:"], ids=["unstored", "stored"])
EVERY = pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
OBJECTS = pytest.mark.parametrize("cls", WITH_ATTRIBUTES, ids=lambda cls: cls.__name__)


def graph(cls: Any, *nodes: Any, location: Any = "memory:") -> StateGraph[Any]:
    made: StateGraph[Any] = StateGraph("typed", schema=cls, store=location)
    made.sequence(*nodes)
    return made


def failure(made: StateGraph[Any], given: Any) -> SchemaError:
    with pytest.raises(ExecutionError) as raised:
        made.execute(given)
    assert isinstance(raised.value.__cause__, SchemaError)
    return raised.value.__cause__


def nothing(state: State) -> None:
    return None


# The input.


@EVERY
@STORED
def test_the_input_is_validated_and_stored_as_validation_makes_it(cls: Any, location: Any) -> None:
    final = graph(cls, nothing, location=location).execute({"count": 3, "level": 2, "words": ("a", "b")})
    assert dict(final) == {"count": 3, "level": 2.0, "words": ["a", "b"]}
    assert type(final["level"]) is float
    assert type(final["words"]) is list


@EVERY
@pytest.mark.parametrize(
    ("given", "keys", "text"),
    [
        ({}, ("count",), "'count': it is missing"),
        ({"count": "many"}, ("count",), "'count'"),
        ({"count": 1, "wrods": []}, ("wrods",), "did you mean 'words'"),
        ({"count": 1, "words": ["a", 2]}, ("words",), "'words'"),
        ({"count": "many", "level": "high"}, ("count", "level"), "'level'"),
    ],
)
def test_an_input_that_does_not_fit_is_refused_before_anything_is_written(
    cls: Any, given: Any, keys: tuple[str, ...], text: str, store: Store
) -> None:
    made = graph(cls, nothing, location=store)
    with pytest.raises(SchemaError, match=text) as raised:
        made.execute(given, run_id="r")
    assert (raised.value.node, raised.value.keys) == (None, keys)
    with pytest.raises(SchemaError):
        asyncio.run(made.aexecute(given, run_id="r"))
    assert not list(store.runs())


@EVERY
def test_the_input_may_be_an_instance_or_a_state(cls: Any, store: Store) -> None:
    made = graph(cls, nothing, location=store)
    assert made.execute(cls(count=2))["count"] == 2
    final = made.execute(State({"count": 2}, run_id="mine"))
    assert (final.run_id, final["count"]) == ("mine", 2)


def test_if_exists_resume_without_a_run_id_is_still_refused() -> None:
    with pytest.raises(ConfigError, match="without a run id"):
        graph(AsModel, nothing).execute({"count": 1}, if_exists="resume")


# What nodes change.


@EVERY
@STORED
def test_what_a_node_sets_and_does_not_fit_fails_the_node(cls: Any, location: Any) -> None:
    def bad(state: State) -> dict[str, Any]:
        return {"count": "many", "wrods": 1, "level": 3}

    error = failure(graph(cls, bad, location=location), {"count": 1})
    assert (error.node, error.keys) == ("bad", ("count", "wrods"))
    assert "node 'bad'" in str(error)
    assert "did you mean 'words'" in str(error)
    assert "many" not in str(error)


@EVERY
@STORED
def test_a_required_key_that_is_removed_fails_the_node(cls: Any, location: Any) -> None:
    def drop(state: State) -> State:
        return state.drop("count", "note")

    assert failure(graph(cls, drop, location=location), {"count": 1, "note": "x"}).keys == ("count",)


@EVERY
def test_what_is_changed_in_place_is_validated_too(cls: Any) -> None:
    def append(state: State) -> None:
        state["words"].append(5)

    assert failure(graph(cls, append), {"count": 1, "words": ["a"]}).keys == ("words",)


@STORED
def test_only_changed_keys_are_validated(location: Any) -> None:
    def returns_all(state: State) -> dict[str, Any]:
        return {**state, "total": 90}

    def keeps(state: State) -> State:
        return state.set("total", 80)

    def reads(state: Percent) -> dict[str, Any]:
        assert state.share == 0.5
        return {"total": state.total - 10}

    def gives_back(state: Percent) -> Percent:
        state.total = 60
        return state

    def makes(state: Percent) -> Percent:
        return Percent(share=50, total=state.total)

    def copies(state: Percent) -> Percent:
        return state.model_copy(update={"total": 55})

    made = graph(Percent, returns_all, keeps, reads, gives_back, makes, copies, location=location)
    assert dict(made.execute({"share": 50})) == {"share": 0.5, "total": 55}
    assert dict(made.execute(Percent(share=50))) == {"share": 0.5, "total": 55}


def test_a_node_that_fails_validation_is_tried_again_as_retry_says() -> None:
    answers = [{"count": "none"}, {"count": 4}]

    def asks(state: State) -> dict[str, Any]:
        return answers.pop(0)

    made: StateGraph[AsModel] = StateGraph("retried", schema=AsModel, store="memory:")
    made.add_node("asks", asks, retry=Retry(attempts=2, delay=0.0))
    made.sequence("asks")
    assert made.execute({"count": 1}).typed.count == 4


def test_a_value_that_cannot_be_stored_is_refused_as_without_a_schema() -> None:
    class Client:
        pass

    class Holds(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)
        client: Client | None = None

    def opens(state: State) -> dict[str, Any]:
        return {"client": Client()}

    with pytest.raises(ExecutionError) as raised:
        graph(Holds, opens).execute({})
    assert isinstance(raised.value.__cause__, UnserializableError)
    assert isinstance(graph(Holds, opens, location=None).execute({})["client"], Client)


# What nodes are given.


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


def test_keys_that_a_node_does_not_ask_for_are_not_decoded(store: Store) -> None:
    def smaller(state: Words) -> None:
        return None

    made: StateGraph[AsModel] = StateGraph("lazy", schema=AsModel, store=store)
    made.sequence(smaller)
    final = made.execute({"count": 1, "words": ["a"], "note": "long " * 1000})
    assert final["words"] == ["a"]


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


# Graphs that cannot be built.


@pytest.mark.parametrize("cls", [dict, int, "Model", None.__class__, AsModel(count=1)])
def test_what_cannot_be_a_schema_is_refused(cls: Any) -> None:
    with pytest.raises(ConfigError, match="TypedDict, a dataclass, a pydantic model or a msgspec Struct"):
        StateGraph("typed", schema=cls)


def test_a_node_annotated_with_a_class_of_other_fields_is_refused_when_it_is_added() -> None:
    def asks(state: Unknown) -> None:
        return None

    made: StateGraph[AsModel] = StateGraph("typed", schema=AsModel)
    for add in (made.node, made.sequence, lambda node: made.add_node("asks", node)):
        with pytest.raises(GraphError, match=r"node asks: .*Unknown.*'wrods'.*did you mean 'words'"):
            add(asks)


def test_without_a_schema_a_class_as_annotation_means_nothing() -> None:
    def asks(state: AsDataclass) -> dict[str, Any]:
        assert type(state) is State
        return {"seen": True}

    made = StateGraph("plain")
    made.sequence(asks)
    final = made.execute({"count": "many"})
    assert final["seen"]
    with pytest.raises(ConfigError, match="schema"):
        _ = final.typed
