"""Typed state: what the schema of a graph refuses, and what is stored."""

from __future__ import annotations

import asyncio
from typing import Any

import pydantic
import pytest
from typed_models import (
    EVERY,
    STORED,
    AsDataclass,
    AsModel,
    Percent,
    Unknown,
    failure,
    graph,
)

from tau import (
    ConfigError,
    ExecutionError,
    GraphError,
    Retry,
    SchemaError,
    State,
    StateGraph,
    UnserializableError,
)
from tau.stores.contract import Store
from tau.stores.memory import MemoryStore


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

    made: StateGraph[AsModel] = StateGraph("retried", schema=AsModel, store=MemoryStore())
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
