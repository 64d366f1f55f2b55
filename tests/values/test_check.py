"""`tau.check` says what a store would say."""

from __future__ import annotations

from typing import Any

import pytest

import tau
from tau import LimitExceededError, State, StateGraph, UnserializableError


@pytest.mark.parametrize("value", [None, 1, {"a": [(1, 2.5), {3}]}, b"x", float("nan"), {1: "one"}])
def test_what_is_stored_passes(value: Any) -> None:
    tau.check(value)


@pytest.mark.parametrize("value", [{"a": [1, {len}]}, [object()], State({"a": 1}), open])
def test_what_is_not_stored_is_refused_as_in_a_run(value: Any) -> None:
    with pytest.raises(UnserializableError) as checked:
        tau.check(value)
    graph = StateGraph("check", store="memory:")
    graph.sequence(nothing)
    with pytest.raises(UnserializableError) as stored:
        graph.execute({"value": value})
    assert checked.value.path == stored.value.path.replace("state['value']", "value")
    assert checked.value.type_name == stored.value.type_name
    assert str(checked.value).partition(": ")[2] == str(stored.value).partition(": ")[2]


def nothing(state: State) -> None:
    return None


def test_the_message_says_where_what_and_what_to_do() -> None:
    with pytest.raises(UnserializableError, match=r"^value\['a'\]\[1\] is of type function, .* look the function up"):
        tau.check({"a": [1, nothing]})
    with pytest.raises(UnserializableError, match=r"store dict\(state\)"):
        tau.check(State())


def test_a_value_that_is_too_deep_is_refused() -> None:
    deep: list[Any] = []
    for _ in range(tau.values.MAX_DEPTH + 1):
        deep = [deep]
    with pytest.raises(LimitExceededError):
        tau.check(deep)
