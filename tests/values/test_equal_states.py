"""States are compared value by value, also where ``==`` of a value gives no bool or raises."""

from __future__ import annotations

import subprocess
import sys
from collections import deque
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import xarray as xr

from tau import State, key_equals

PAIRS: list[tuple[Any, Any]] = [  # a value, and one that differs from it
    (np.arange(3), np.arange(4)),
    (np.arange(3), np.array([0, 1, 5])),
    (np.array([np.nan]), np.array([1.0])),
    (np.zeros((2, 3)), np.zeros((3, 2))),
    ([np.arange(3)], [np.arange(1, 4)]),
    ({"a": (np.zeros(0), np.arange(2))}, {"a": (np.zeros(0), np.ones(2))}),
    (pd.DataFrame({"a": [1, 2]}), pd.DataFrame({"a": [1, 3]})),
    (pd.DataFrame({"a": [1, 2]}), pd.DataFrame({"b": [1, 2]})),
    (pd.Series([1, None]), pd.Series([1, None], name="x")),
    (pl.DataFrame({"a": [1, 2]}), pl.DataFrame({"a": [1, 2, 3]})),
    (pa.table({"a": [1]}), pa.table({"a": [2]})),
    (xr.DataArray([1, 2]), xr.DataArray([1, 3])),
    (np.arange(3), [0, 1, 2]),
    (np.arange(3), None),
    (pd.NA, 1),
    (np.float64(1.5), 2.5),
    ([1], [2]),
]


def copied(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return type(value)(map(copied, value))
    if isinstance(value, dict):
        return {key: copied(item) for key, item in value.items()}
    return value.copy() if hasattr(value, "copy") else value


@pytest.mark.parametrize(("value", "other"), PAIRS, ids=lambda value: type(value).__name__)
def test_equal_values_make_equal_states_and_others_do_not(value: Any, other: Any) -> None:
    one = State({"k": value, "n": 1}, run_id="r")
    same, different = State({"n": 1, "k": copied(value)}, run_id="r"), one.set("k", other)
    assert (one == same) is (same == one) is True
    assert (one == dict(same)) is True
    assert (one == different) is (different == one) is False
    assert (one == {"k": other, "n": 1}) is False
    assert key_equals("k", copied(value))(one) is True
    assert key_equals("k", other)(one) is key_equals("k", value)(different) is False


def test_equal_in_depth_whatever_holds_the_value() -> None:
    for value, other in (
        (float("nan"), float("nan")),
        (1, Decimal(1)),
        ([{"a": float("nan")}], [{"a": np.float64("nan")}]),
        (np.array([0.0]), np.array([-0.0])),
        (pa.chunked_array([[1], [2]]), pa.chunked_array([[1, 2]])),
        (pa.concat_tables([pa.table({"a": [1]}), pa.table({"a": [2]})]), pa.table({"a": [1, 2]})),
        (deque([np.arange(3)]), deque([np.arange(3)])),
        (deep(150), deep(150)),
    ):
        assert State({"k": value}, run_id="r") == State({"k": other}, run_id="r")
        assert key_equals("k", value)(State({"k": other}))
    for value, other in ((1, True), ([0], [False]), (np.int64(1), np.True_), (deque([np.arange(3)]), deque([0, 1, 2]))):
        assert State({"k": value}, run_id="r") != State({"k": other}, run_id="r")
        assert not key_equals("k", value)(State({"k": other}))


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def test_run_id_and_names_count() -> None:
    array = np.arange(3)
    one = State({"k": array}, run_id="r")
    assert one != State({"k": array}, run_id="s")
    assert one != one.set("m", array)
    assert one.drop("k") != one
    assert one != [("k", array)]
    assert one == one.clone()


def test_what_cannot_be_stored_equals_itself_and_what_says_so() -> None:
    class Hostile:
        def __eq__(self, other: object) -> bool:
            raise ValueError("the truth value is ambiguous")

        __hash__ = object.__hash__

    value = Hostile()
    assert State({"k": value}, run_id="r") == State({"k": value}, run_id="r")
    assert State({"k": value}, run_id="r") != State({"k": Hostile()}, run_id="r")
    assert State({"k": print}, run_id="r") == State({"k": print}, run_id="r")


def test_numbers_of_numpy_are_equal_as_they_say() -> None:
    assert State({"k": np.float64(1.5)}) == {"k": 1.5}
    assert State({"k": [np.float64(1.5)]}) == {"k": [1.5]}


def test_comparing_loads_no_numpy() -> None:
    program = "import sys, tau; assert tau.State({'a': [1]}) == {'a': [1]}; print('numpy' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    assert done.stdout == "False\n"
