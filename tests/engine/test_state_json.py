"""A state as JSON: the origin's fields, and exactly what JSON can hold."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tau import ConfigError, State, StateGraph, UnserializableError

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=20)


class Colour(IntEnum):
    RED = 1


class Text(str):
    __slots__ = ()


@given(st.dictionaries(TEXT, VALUES))
def test_what_json_holds_comes_back_exactly(data: dict[str, Any]) -> None:
    state = State(data)
    back = State.from_json(state.to_json())
    assert repr(dict(back)) == repr(data)  # 1, 1.0, True and -0.0 are told apart
    assert (back.run_id, back.checkpoint_node, back.timestamp) == (state.run_id, None, state.timestamp)


def test_a_state_that_a_run_returned_comes_back_with_its_place() -> None:
    graph = StateGraph("json", store="memory:")
    graph.sequence(count)
    final = graph.execute({"dataset": "mauna-loa"}, run_id="json-1")
    document = json.loads(final.to_json())
    assert list(document) == ["data", "run_id", "checkpoint_node", "timestamp"]
    assert document["data"] == {"dataset": "mauna-loa", "lengths": [9]}
    back = State.from_json(final.to_json())
    assert back == final
    assert (back.checkpoint_node, back.timestamp) == ("count", final.timestamp)


def count(state: State) -> dict[str, Any]:
    return {"lengths": [len(state["dataset"])]}


def test_a_dict_of_a_state_has_the_same_fields() -> None:
    state = State({"a": (1, 2)}, run_id="r")
    assert state.to_dict() == {
        "data": {"a": (1, 2)},
        "run_id": "r",
        "checkpoint_node": None,
        "timestamp": state.timestamp,
    }


def inside_itself() -> list[Any]:
    found: list[Any] = []
    found.append(found)
    return found


NOT_JSON: dict[str, tuple[Any, str, str]] = {
    "tuple": ([{"b": (1,)}], r"state\['k'\]\[0\]\['b'\] is of type tuple", "come back as a list"),
    "set": ({1}, "is of type set", "make it a list"),
    "bytes": (b"x", "is of type bytes", "base64"),
    "time": (datetime.now(UTC), "is of type datetime.datetime", "isoformat"),
    "nan": (float("nan"), "is of type float", "there is no nan in JSON"),
    "infinity": ([-float("inf")], r"\[0\] is of type float", "there is no -inf in JSON"),
    "key": ({1: 2}, r"state\['k'\]\.keys\(\)\[1\]", "keys are text"),
    "surrogate": ("\ud800", "is of type str", "lone surrogate"),
    "surrogate in a key": ({"\ud800": 1}, "is of type str", "lone surrogate"),
    "subclass of int": (Colour.RED, "Colour", "would not come back"),
    "subclass of str": (Text("x"), "Text", "would not come back"),
    "digits": (10**4300, "is of type int", "digits"),
    "inside itself": (inside_itself(), "is of type list", "inside itself"),
}


@pytest.mark.parametrize("kind", NOT_JSON)
def test_what_json_cannot_hold_is_refused_by_name(kind: str) -> None:
    value, where, why = NOT_JSON[kind]
    with pytest.raises(UnserializableError, match=f"(?s){where}.*, which JSON cannot hold: .*{why}") as caught:
        State({"fine": 1, "k": value}).to_json()
    assert caught.value.key == "k"
    assert caught.value.path.startswith("state['k']")


def test_the_longest_number_comes_back() -> None:
    assert State.from_json(State({"n": -(10**4299)}).to_json())["n"] == -(10**4299)


def test_a_state_of_the_origin_can_be_read() -> None:
    text = (
        '{"data": {"dataset": "climate-research-2024"}, "run_id": "8f9b50d4-385c-4b46-90b8-785c5e453254", '
        '"checkpoint_node": "", "timestamp": "2025-11-12T10:56:58.038587123-05:00"}'
    )
    state = State.from_json(text)
    assert (state["dataset"], state.run_id[:8], state.checkpoint_node) == ("climate-research-2024", "8f9b50d4", None)
    assert state.timestamp == datetime(2025, 11, 12, 15, 56, 58, 38587, UTC)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("nope", "not the JSON of a state"),
        ("[]", 'an object with "data"'),
        ('{"run_id": "r"}', 'an object with "data"'),
        ('{"data": {}, "node": "a"}', "unknown key 'node'; the keys are data, run_id"),
        ('{"data": {"a": 1, "a": 2}}', "the key 'a' more than once"),
        ('{"data": {"a": NaN}}', "NaN, which is not JSON"),
        ('{"data": {"a": 1e999}}', "1e999, which is not JSON"),
        ('{"data": {}, "run_id": 5}', "run_id in the JSON of a state: expected text, found int"),
        ('{"data": {}, "run_id": ""}', "a run id has 1 to 1,024 characters"),
        ('{"data": {}, "timestamp": "yesterday"}', "is not a time in ISO 8601"),
    ],
)
def test_what_is_no_state_is_refused(text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        State.from_json(text)
