"""Any table comes back exactly, or it is refused; encoding it changes nothing in it."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import msgpack
from polars.testing.parametric import dataframes as polars_frames

from exactness import same
from grid_strategies import grids
from table_strategies import arrow_values, as_objects, frames, pandas_values, texts
from tau.errors import CorruptCheckpointError
from tau.values import Refused, decode, encode
from tau.values.refusal import Step

STRATEGIES = {"pandas": pandas_values, "pyarrow": arrow_values, "xarray": grids()}
few_and_many = pytest.mark.parametrize("examples", [60, pytest.param(5_000, marks=pytest.mark.deep)])


def of(examples: int) -> settings:
    ways: Any = {"derandomize": examples < 1_000, "suppress_health_check": list(HealthCheck)}
    return settings(max_examples=examples, deadline=None, **ways)


def is_grid(value: Any) -> bool:
    return isinstance(value, xr.Dataset | xr.DataArray | xr.Variable)


def check(value: Any) -> bytes:
    """Its encoding, which is exact, the same again, and leaves the value as it was."""
    before = copy.copy(value) if is_grid(value) else value.copy() if hasattr(value, "copy") else value
    data = encode(value)
    assert same(value, before)
    assert same(decode(data), value)
    assert same(decode(encode([{"a": (value,)}])), [{"a": (value,)}])
    assert encode(value) == data == encode(before)
    return data


def has_nested_column(value: Any) -> bool:
    """What such a column keeps unseen, under missing lists and behind its end, changes whenever pandas takes rows."""
    dtypes = value.dtypes if isinstance(value, pd.DataFrame) else [getattr(value, "dtype", None)]
    return any(isinstance(dtype, pd.ArrowDtype) and pa.types.is_nested(dtype.pyarrow_dtype) for dtype in dtypes)


@few_and_many
@pytest.mark.parametrize("kind", STRATEGIES)
def test_any_table_is_exact_and_its_bytes_are_the_same_again(kind: str, examples: int) -> None:
    @of(examples)
    @given(STRATEGIES[kind])
    def prove(value: Any) -> None:
        data = check(value)
        assert has_nested_column(value) or encode(decode(data)) == data

    prove()


def passes_through_arrow(frame: pl.DataFrame) -> bool:
    made = pl.from_arrow(frame.to_arrow()) if frame.width else frame
    return isinstance(made, pl.DataFrame) and made.dtypes == frame.dtypes


@few_and_many
def test_any_polars_frame_is_exact_or_refused(examples: int) -> None:
    @of(examples)
    @given(polars_frames(max_cols=3, max_size=5, excluded_dtypes=[pl.Int128, pl.UInt128]))
    def prove(value: Any) -> None:
        if passes_through_arrow(value):
            check(value)
        else:
            with pytest.raises(Refused, match="through Arrow unchanged"):
                encode(value)

    prove()


def broken(count: int) -> Any:
    """A column of which one row, or the whole, cannot be stored."""
    rows = st.integers(0, count - 1).map(lambda row: as_objects([object() if at == row else at for at in range(count)]))
    sparse = st.just(pd.arrays.SparseArray(np.zeros(count)))
    extended = st.just(np.zeros(count, "g"))
    return sparse | extended | rows if count else sparse | extended


def last_label(value: pd.DataFrame) -> Any:
    try:
        return list(value.columns)[-1]
    except (OverflowError, NotImplementedError):  # times that Python has no words for
        return value.shape[1] - 1


@few_and_many
def test_a_table_with_what_cannot_be_stored_is_refused_with_the_path(examples: int) -> None:
    @of(examples)
    @given(frames(broken))
    def prove(value: Any) -> None:
        with pytest.raises(Refused) as caught:
            encode({"k": [value]})
        column = value.iloc[:, -1]
        rows = [f"[{row}]" for row, item in enumerate(column.array) if type(item) is object]
        assert caught.value.path == "".join(["['k'][0]", str(Step("item", last_label(value))), *rows])

    prove()


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(frames(), texts)
def test_attrs_with_what_cannot_be_stored_are_refused_with_the_path(value: Any, name: str) -> None:
    value.attrs = {name: [1, print]}
    with pytest.raises(Refused) as caught:
        encode(value)
    assert caught.value.path == f".attrs[{name!r}][1]"


def test_every_array_of_pandas_that_is_read_can_be_changed() -> None:
    for value in (
        pd.Categorical(["a", "b"]),
        pd.arrays.IntervalArray.from_breaks([0, 1, 2]),
        pd.array([1, None], "Int8"),
    ):
        read = decode(encode(value))
        read[0] = read[1]
        assert not same(read, value)


def test_labels_that_python_has_no_words_for_are_stored() -> None:
    at_the_end = pd.DatetimeIndex(np.array([2**62], "M8[us]")).tz_localize("UTC").tz_convert("Europe/Berlin")
    check(pd.Series([1], name=pd.Timestamp(np.datetime64(2**53, "s")).tz_localize("UTC")))
    check(pd.DataFrame([[1.5]], columns=pd.DatetimeIndex(np.array([-(2**53)], "M8[s]")).tz_localize("UTC")))
    for labels in (at_the_end, pd.MultiIndex.from_arrays([at_the_end])):
        check(pd.DataFrame([[1.5]], columns=labels))
        check(pd.DataFrame([[1.5]], index=labels))
        with pytest.raises(Refused) as caught:
            encode(pd.DataFrame([[print]], columns=labels))
        assert caught.value.path == "[0][0]"


def test_labels_with_lone_surrogates_are_stored() -> None:
    labels = pd.Index(["\ud800", "a"], dtype=object)
    check(pd.DataFrame([[1, 2.5]], columns=labels))
    check(pd.Series([1, 2], index=labels, name="\udfff"))


def test_a_name_that_pandas_would_cut_off_is_refused() -> None:
    column = pd.arrays.ArrowExtensionArray(pa.chunked_array([pa.array([{"a\0b": 1}])]))
    for value in (column, pd.Series(column), pd.DataFrame({"k": column})):
        with pytest.raises(Refused, match="NUL"):
            encode(value)


def test_columns_of_c_long_long_stay_so() -> None:
    for values in (np.array([1, 2], "q"), np.array([1, 2], "Q"), np.array([1, 2], "l")):
        series = pd.Series(values, dtype=values.dtype)
        assert decode(encode(series)).dtype.char == values.dtype.char
        assert decode(encode(series.to_frame())).dtypes[0].char == values.dtype.char


def test_an_empty_part_of_a_column_that_begins_behind_its_memory_does_no_harm() -> None:
    beyond = pa.Array.from_buffers(pa.int64(), 0, [None, pa.py_buffer(b"")], offset=3)
    column = pd.arrays.ArrowExtensionArray(pa.chunked_array([beyond, pa.array([1, None])]))
    empty = pd.arrays.ArrowExtensionArray(pa.chunked_array([beyond, beyond]))
    for value in (column, empty, pd.Series(column), pd.DataFrame({"a": empty})):
        check(value)


def test_the_empty_chunks_of_an_array_are_kept() -> None:
    value = pa.chunked_array([[], [1, None], []], pa.int8())
    assert decode(encode(value)).num_chunks == 3


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("frequency", ["w", "c", "NS", "MIN", "<Easter>", "D\n", ""])
def test_a_frequency_that_is_not_in_its_present_form_is_damage_and_no_warning(frequency: str) -> None:
    data = encode([pd.date_range("2020", periods=2, freq="D")])
    with pytest.raises(CorruptCheckpointError):
        decode(data.replace(b"\xa1D", msgpack.encode(frequency)))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "frequency", ["D", "-2D", "7min", "h", "us", "bh", "W-TUE", "QS-NOV", "WOM-3TUE", "REQ-L-DEC-TUE-1", "SME-10"]
)
def test_frequencies_of_every_form_are_kept(frequency: str) -> None:
    check(pd.date_range("2020", periods=3, freq=frequency))
