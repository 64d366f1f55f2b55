"""Values of pandas, pyarrow, Polars and xarray that are stored, and those that are refused; how each is compared."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import xarray as xr

import grid_values

BERLIN = "Europe/Berlin"
LEVELS = pd.MultiIndex.from_product([["a", "b"], [1, 2]], names=["x", None])
DAYS = pd.to_datetime(["2020-03-29", None, "2021-01-01"])

COLUMNS: dict[Any, Any] = {
    "int": np.array([1, -(2**63), 3]),
    "float": np.frombuffer(np.array([0x7FF8000000000123, 1 << 63, 0x3FF8000000000000], "<u8").tobytes(), "<f8"),
    "bool": np.array([True, False, True]),
    "small": np.array([1, 2, 255], "u1"),
    "half": np.array([1, 2, np.nan], "f2"),
    "complex": np.array([1j, 2, np.nan]),
    "big-endian": np.array([1, 2, 3], ">i4"),
    "str": pd.array(["x", None, "\u20ac\0"], "str"),
    "string": pd.array(["x", None, ""], "string"),
    "string in python": pd.array(["x", None, "y"], pd.StringDtype("python")),
    "str in python": pd.array(["x", None, "y"], pd.StringDtype("python", na_value=np.nan)),
    "time": DAYS,
    "time in ns": DAYS.as_unit("ns"),
    "zone": DAYS.tz_localize(BERLIN),
    "utc": DAYS.tz_localize(UTC),
    "duration": pd.to_timedelta([1, None, -2], unit="s"),
    "category": pd.Categorical(["a", "b", None], categories=["b", "a", "z"], ordered=True),
    "category of numbers": pd.Categorical([1.5, 2.5, 1.5]),
    "Int64": pd.array([1, None, 3], "Int64"),
    "UInt8": pd.array([1, None, 3], "UInt8"),
    "Float64": pd.array([1.5, None, 0.0], "Float64"),
    "boolean": pd.array([True, None, False], "boolean"),
    "period": pd.period_range("2020", periods=3, freq="2M"),
    "interval": pd.interval_range(0, 3, closed="left"),
    "text": np.array(["a", None, "\u20ac"], object),
    "surrogate": np.array(["\ud800", "b", "c"], object),
    "objects": pd.Series([[1], (2,), {"a": Decimal("1.5")}], dtype=object).to_numpy(),
    "missing": pd.Series([None, pd.NaT, pd.NA], dtype=object).to_numpy(),
    "times as objects": pd.Series([pd.Timestamp("2020"), pd.NaT, pd.NaT], dtype=object).to_numpy(),
    "arrow": pd.array([1, None, 2], "int32[pyarrow]"),
    "arrow lists": pd.array([[1], None, []], pd.ArrowDtype(pa.list_(pa.int64()))),
    5: np.array([1, 2, 3]),
    None: np.array([1, 2, 3]),
    ("t", 1): np.array([1.5, 2, 3]),
}


def every_kind() -> pd.DataFrame:
    frame = pd.DataFrame({"first": [1, 2, 3]}, index=pd.date_range("2020", periods=3, freq="MS", tz=BERLIN, name="at"))
    for name, values in COLUMNS.items():
        frame[name] = pd.Series(values, frame.index, dtype=values.dtype)
    frame.columns = pd.Index(["first", *COLUMNS], dtype=object, tupleize_cols=False)
    frame.attrs = {"units": ("K", 1), "nested": {"a": [1]}}
    return frame


EVERY = every_kind()
PLAIN = pd.DataFrame(np.arange(12.0).reshape(4, 3), columns=["a", "a", "b"], index=LEVELS)

SCALARS: list[Any] = [
    *grid_values.SCALARS,
    pd.Timestamp("2020-01-01"),
    pd.Timestamp(1, unit="ns"),
    pd.Timestamp("2020-10-25 00:30", tz="UTC").tz_convert(BERLIN),
    pd.Timestamp("2020-10-25 01:30", tz="UTC").tz_convert(BERLIN),
    pd.Timestamp("2020", tz=UTC),
    pd.Timedelta(-5, "ns"),
    pd.Timedelta(days=1),
    pd.Period("2020-03", "M"),
    pd.Period("2020-03", "Q-NOV"),
    pd.Interval(1, 2.5, "both"),
    pd.Interval(pd.Timestamp("2020"), pd.Timestamp("2021")),
    pd.NaT,
    pd.NA,
]

TABLE = pa.table(
    {"n": [1, None], "s": ["x", "\u20ac"], "l": [[1], None], "d": pa.array(["a", "b"]).dictionary_encode()},
    metadata={"units": "K"},
)
FRAME = pl.DataFrame(
    {
        "n": [1, None],
        "x": [1.5, float("nan")],
        "s": ["x", None],
        "b": [b"x", None],
        "l": [[1], []],
        "day": [date(2020, 1, 1), None],
        "at": [datetime(2020, 1, 1, tzinfo=UTC), None],
        "for": [timedelta(1), None],
        "clock": [time(1), None],
        "in": [{"x": 1}, {"x": 2}],
        "money": [Decimal("1.50"), None],
        "kind": pl.Series(["a", "b"], dtype=pl.Enum(["b", "a", "z"])),
        "sort": pl.Series(["a", "b"], dtype=pl.Categorical),
    }
)


TABLES: list[Any] = [
    EVERY,
    EVERY.iloc[::2],
    EVERY.drop(columns="big-endian").iloc[:0],
    PLAIN,
    PLAIN.T,
    PLAIN.iloc[:, 1:].set_flags(allows_duplicate_labels=True),
    pd.DataFrame({"a": [1]}).set_flags(allows_duplicate_labels=False),
    pd.DataFrame(),
    pd.DataFrame(index=[1.5, 2.5]),
    pd.DataFrame(columns=["a", "b"]),
    *(EVERY[name] for name in COLUMNS),
    *(EVERY[name].array for name, values in COLUMNS.items() if not isinstance(values, np.ndarray)),
    pd.Series(dtype=object),
    pd.Series([1.5], name=("a", (1,))),
    EVERY.index,
    LEVELS,
    LEVELS[:1],
    pd.RangeIndex(5, 50, 3, name="r"),
    pd.Index([1.5, 2], dtype="f4"),
    pd.Index(["a", None], dtype=object),
    pd.Index(["a", "b"], name="n"),
    pd.Index([1, "a", None, (2,)], tupleize_cols=False),
    pd.CategoricalIndex(["a", "b", "a"]),
    pd.interval_range(pd.Timestamp("2020"), periods=3),
    pd.period_range("2020", periods=2, freq="Q-NOV"),
    pd.timedelta_range("1s", periods=3, freq="90s"),
    pd.date_range("2020", periods=4, freq="QS-FEB"),
    pd.DatetimeIndex(["2020-01-01", None]),
    TABLE,
    TABLE.slice(1),
    pa.concat_tables([TABLE, TABLE]),
    pa.table({}),
    TABLE.to_batches()[0],
    pa.array(["a", None, "c"])[1:],
    pa.array([[1], None]),
    pa.chunked_array([[1], [2, None]]),
    pa.chunked_array([], pa.int8()),
    TABLE.schema,
    pa.scalar(5),
    pa.scalar(None),
    pa.scalar(Decimal("1.50")),
    pa.scalar([1, 2]),
    FRAME,
    FRAME.slice(1),
    *FRAME.get_columns(),
    pl.DataFrame(),
    pl.Series([1]),
    *grid_values.GRIDS,
    EVERY.drop(columns="surrogate").to_xarray(),
    EVERY.drop(columns="surrogate").to_xarray().drop_indexes("at"),
]


class Own(pd.DataFrame):
    pass


class OwnZone(tzinfo):
    def utcoffset(self, moment: datetime | None) -> timedelta:
        return timedelta(hours=1)

    dst = utcoffset

    def tzname(self, moment: datetime | None) -> str:
        return "own"


def with_attribute() -> pd.DataFrame:
    frame = pd.DataFrame({"a": [1]})
    object.__setattr__(frame, "note", "x")
    return frame


REFUSED: list[tuple[Any, str]] = [
    (Own({"a": [1]}), "subclass of DataFrame"),
    (pd.Series(pd.arrays.SparseArray([0, 0, 1])), "convert it with astype"),
    (pd.arrays.NumpyExtensionArray(np.zeros(2)), "value.to_numpy()"),
    (with_attribute(), "note"),
    (pd.date_range("2020", periods=3, freq=pd.offsets.CustomBusinessDay(holidays=["2020-01-02"])), "its freq"),
    (pd.date_range("2020", periods=2, tz=OwnZone()), "zoneinfo"),
    (pd.Series(["\ud800"], dtype=pd.StringDtype("python")), "surrogates"),
    (pd.offsets.Day(), "value.freqstr"),
    (pa.array([1]).type, "register_type"),
    (pl.Series([object()]), "through Arrow unchanged"),
    (pl.DataFrame({"a\0b": [1]}), "through Arrow unchanged"),
    (pl.Series([{"a\0b": 1}]), "through Arrow unchanged"),
    (FRAME.lazy(), "value.collect()"),
    *grid_values.REFUSED,
]


def same_index(one: Any, two: Any) -> bool:
    if type(one) is not type(two) or one.dtype != two.dtype or not same_names(one.names, two.names):
        return False
    if isinstance(one, pd.MultiIndex):
        codes = all(map(same_codes, one.codes, two.codes))
        return codes and one.sortorder == two.sortorder and all(map(same_index, one.levels, two.levels))
    if isinstance(one, pd.RangeIndex):
        return (one.start, one.stop, one.step) == (two.start, two.stop, two.step)
    if isinstance(one, xr.CFTimeIndex):  # which finds its frequency out from its values, slowly
        return same_values(one.array, two.array)
    return getattr(one, "freq", None) == getattr(two, "freq", None) and same_values(one.array, two.array)


def same_codes(one: Any, two: Any) -> bool:
    return one.dtype == two.dtype and np.array_equal(one, two)


def same_names(one: Any, two: Any) -> bool:
    from exactness import same

    return same(list(one), list(two))


def same_values(one: Any, two: Any) -> bool:
    """Two pandas arrays."""
    if type(one) is not type(two) or one.dtype != two.dtype or len(one) != len(two):
        return False
    return bool(next((same for classes, same in ARRAYS if type(one) in classes), same_present)(one, two))


def same_numpy(one: Any, two: Any) -> bool:
    from exactness import same

    if one.dtype.numpy_dtype.kind != "O":
        return same(one.to_numpy(), two.to_numpy())
    return all(map(same, one, two))


def same_present(one: Any, two: Any) -> bool:
    """What is not missing is the same, and the same is missing."""
    from exactness import same

    there = ~one.isna()
    return np.array_equal(there, ~two.isna()) and same(one[there].tolist(), two[there].tolist())


def same_ticks(one: Any, two: Any) -> bool:
    from exactness import same

    return np.array_equal(one.asi8, two.asi8) and same(getattr(one, "tz", None), getattr(two, "tz", None))


ARRAYS: list[tuple[Any, Any]] = [
    (
        (pd.Categorical,),
        lambda one, two: same_codes(one.codes, two.codes) and same_index(one.categories, two.categories),
    ),
    ((pd.arrays.NumpyExtensionArray,), same_numpy),
    ((pd.arrays.DatetimeArray, pd.arrays.TimedeltaArray, pd.arrays.PeriodArray), same_ticks),
    ((pd.arrays.IntervalArray,), lambda one, two: same_index(one.left, two.left) and same_index(one.right, two.right)),
    (
        (pd.arrays.ArrowExtensionArray, pd.arrays.ArrowStringArray),
        lambda one, two: same_items(pa.chunked_array(one._pa_array), pa.chunked_array(two._pa_array)),
    ),
]


def same_series(one: Any, two: Any) -> bool:
    from exactness import same

    return (
        same_values(one.array, two.array)
        and same_index(one.index, two.index)
        and same(one.name, two.name)
        and same(one.attrs, two.attrs)
        and one.flags == two.flags
    )


def columns_of(frame: Any) -> list[Any]:
    """The arrays of its columns, whose labels may be times that Python has no words for."""
    return [series.array for _, series in frame.set_axis(pd.RangeIndex(frame.shape[1]), axis=1).items()]


def same_frame(one: Any, two: Any) -> bool:
    from exactness import same

    return (
        one.shape == two.shape
        and same_index(one.columns, two.columns)
        and same_index(one.index, two.index)
        and all(map(same_values, columns_of(one), columns_of(two)))
        and same(one.attrs, two.attrs)
        and one.flags == two.flags
    )


def same_timestamp(one: Any, two: Any) -> bool:
    from exactness import same

    parts = [(int(stamp.asm8.view("i8")), stamp.unit, stamp.fold) for stamp in (one, two)]
    return parts[0] == parts[1] and same(one.tzinfo, two.tzinfo)


def same_items(one: Any, two: Any) -> bool:
    """Two Arrow arrays, however they lie in memory."""
    from exactness import same

    if one.type != two.type:
        return False
    try:
        items = one.to_pylist(), two.to_pylist()
    except OverflowError:  # times that Python has no words for
        return bool(one.equals(two))
    return same(*items)


def same_arrow(one: Any, two: Any) -> bool:
    if isinstance(one, pa.Schema):
        return one.equals(two, check_metadata=True)
    if isinstance(one, pa.Array):
        return same_items(one, two)
    if isinstance(one, pa.Scalar):
        return same_items(pa.repeat(one, 1), pa.repeat(two, 1))
    if isinstance(one, pa.ChunkedArray):
        return (
            one.type == two.type and one.num_chunks == two.num_chunks and all(map(same_items, one.chunks, two.chunks))
        )
    parts = [table.to_batches() if isinstance(table, pa.Table) else table.columns for table in (one, two)]
    return (
        one.num_rows == two.num_rows
        and same_arrow(one.schema, two.schema)
        and len(parts[0]) == len(parts[1])
        and all(map(same_arrow, *parts))
    )


FAMILIES: list[tuple[Any, Any]] = [
    (pd.DataFrame, same_frame),
    (pd.Series, same_series),
    (pd.Index, same_index),
    (pd.api.extensions.ExtensionArray, same_values),
    (pl.DataFrame, lambda one, two: one.equals(two) and one.schema == two.schema),
    (pl.Series, lambda one, two: one.equals(two) and (one.dtype, one.name) == (two.dtype, two.name)),
    ((xr.Dataset, xr.DataArray), grid_values.same_grid),
    (xr.Variable, grid_values.same_variable),
    (object, same_arrow),
]


def check_of(value: Any) -> Any:
    return next(check for base, check in FAMILIES if isinstance(value, base))


CHECKS: dict[type, Any] = {
    pd.Timestamp: same_timestamp,
    pd.Timedelta: lambda one, two: one == two and one.unit == two.unit,
    pd.Interval: lambda one, two: repr(one) == repr(two),
    type(pd.NaT): lambda one, two: one is two,
    type(pd.NA): lambda one, two: one is two,
    **grid_values.CHECKS,
    **{
        cls: same_arrow
        for cls in vars(pa.lib).values()
        if isinstance(cls, type) and issubclass(cls, (pa.Array, pa.Scalar))
    },
    **{type(value): check_of(value) for value in TABLES},
}
