"""What a `State` says to who takes it for a dict or an object."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from tau import State


def assign(state: Any) -> None:
    state["a"] = 1


def delete(state: Any) -> None:
    del state["a"]


WRONG: dict[str, tuple[Callable[[Any], object], type[Exception], str]] = {
    "assigned": (assign, TypeError, "return {'a': ...} from the node"),
    "deleted": (delete, TypeError, r"state\.drop\('a'\)"),
    "update": (lambda state: state.update({"a": 1}), AttributeError, "return {'a': ...} from the node"),
    "pop": (lambda state: state.pop("a"), AttributeError, "a key of a state is set by returning it"),
    "setdefault": (lambda state: state.setdefault("a", 1), AttributeError, "a key of a state is set by returning it"),
    "attribute": (lambda state: state.a, AttributeError, r"state\['a'\]"),
}


@pytest.mark.parametrize("how", WRONG)
def test_a_change_in_place_says_what_to_do_instead_and_changes_nothing(how: str) -> None:
    act, kind, text = WRONG[how]
    state = State({"a": 0})
    with pytest.raises(kind, match=text):
        act(state)
    assert dict(state) == {"a": 0}


def test_an_attribute_that_neither_a_state_nor_its_values_have_is_only_missing() -> None:
    state = State({"a": 0})
    assert not hasattr(state, "nothing_of_the_kind")
    assert not hasattr(state, "__array__")
    assert getattr(state, "b", 7) == 7


def test_a_state_can_still_be_copied_by_the_standard_library() -> None:
    state = State({"a": [1]}, run_id="r")
    assert copy.copy(state) == state
    assert copy.deepcopy(state) == state
    assert pickle.loads(pickle.dumps(state)) == state
