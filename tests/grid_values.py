"""xarray values and times of `cftime` that are stored, and those that are refused; how each is compared."""

from __future__ import annotations

import warnings
from typing import Any

import cftime
import numpy as np
import pandas as pd
import xarray as xr
from xarray.core.indexing import PandasIndexingAdapter

SCALARS: list[Any] = [
    cftime.datetime(2000, 2, 30, 1, 2, 3, 4, calendar="360_day"),
    cftime.datetime(-4713, 1, 1, calendar="proleptic_gregorian", has_year_zero=False),
    cftime.datetime(1, 1, 1, calendar="julian", has_year_zero=True),
    cftime.datetime(1, 1, 1, calendar=""),
    cftime.Datetime360Day(2000, 2, 30, 23, 59, 59, 999_999),
    cftime.DatetimeNoLeap(0, 2, 28),
    cftime.DatetimeProlepticGregorian(9999, 12, 31),
]


def grid() -> xr.Dataset:
    made = xr.Dataset(
        {"t": (("time", "x"), np.arange(6.0).reshape(3, 2), {"units": "K"}), "n": ((), 5)},
        {"time": pd.date_range("2020", periods=3), "x": ["a", "b"], "lon": ("x", [1.0, 2.0])},
        {"title": "grid"},
    )
    made["t"].encoding = {"dtype": "f4", "zlib": True}
    made.encoding = {"unlimited_dims": {"time"}}
    return made


GRID = grid()
MODEL = xr.Dataset(
    {
        "pr": ("time", [0.5, 1.5, 2.5]),
        "bounds": (("time", "b"), np.array([[cftime.DatetimeNoLeap(2000, 2, day) for day in (1, 28)]] * 3)),
        "station": ("time", np.array(["a", None, "\u20ac"], object)),
    },
    {"time": xr.date_range("2000-02-01", periods=3, freq="MS", calendar="noleap", use_cftime=True)},
)

GRIDS: list[Any] = [
    GRID,
    GRID["t"],
    GRID["time"],
    GRID["t"].variable,
    GRID["x"].variable,
    GRID["x"].rename("y"),
    GRID["x"].rename(None).assign_attrs(a=1),
    GRID["x"].drop_vars("x"),
    GRID["x"].drop_indexes("x"),
    GRID[["x"]].drop_indexes("x").reset_coords("x"),
    GRID.rename_vars(time="day"),
    pd.DataFrame({"a": [1, 2]}).to_xarray().drop_indexes("index"),
    GRID.set_xindex("lon")["t"],
    GRID.coords.to_dataset().assign(t=GRID["t"]),
    MODEL,
    MODEL["time"],
    xr.Variable("x", pd.Index([1, 2])),
    xr.Variable("x", pd.array(["a", None], "string")),
    MODEL["bounds"],
    MODEL.isel(time=slice(0)),
    MODEL.indexes["time"],
    xr.Dataset(),
    xr.DataArray(5.0, name="n"),
]


def before_christ() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return cftime.DatetimeJulian(-4713, 1, 1)


REFUSED: list[tuple[Any, str]] = [
    (before_christ(), "years before 1"),
    (GRID.stack(z=("time", "x")), "reset_index"),
    (xr.DataTree(GRID), "value.to_dict()"),
]


def same_variable(one: Any, two: Any) -> bool:
    from exactness import same

    if type(one) is not type(two) or one.dims != two.dims or one.dtype != two.dtype:
        return False
    alike = same(dict(one.attrs), dict(two.attrs)) and same(dict(one.encoding), dict(two.encoding))
    if isinstance(one._data, PandasIndexingAdapter) or isinstance(two._data, PandasIndexingAdapter):
        # A level of a stacked index is named after that level, and nothing but the index says so.
        return alike and same(*(part.to_index().rename(part.dims[0]) for part in (one, two)))
    left, right = one.data, two.data
    if type(left) is np.ndarray and left.dtype.kind == "T":
        marks = [getattr(part.dtype, "na_object", "none") for part in (left, right)]
        return alike and left.shape == right.shape and same(*marks) and same(left.tolist(), right.tolist())
    if type(left) is np.ndarray and left.dtype == object:
        return alike and left.shape == right.shape and same(left.ravel().tolist(), right.ravel().tolist())
    return alike and same(left, right)


def same_variables(one: Any, two: Any) -> bool:
    from exactness import same

    return same(list(one), list(two)) and all(same_variable(one[name], two[name]) for name in one)


def same_labels(one: Any, two: Any) -> bool:
    """Two indexes of xarray."""
    from exactness import same

    alike = (one.dim, one.coord_dtype) == (two.dim, two.coord_dtype)
    return type(one) is type(two) and alike and same(one.index, two.index)


def same_calendar(one: Any, two: Any) -> bool:
    return (repr(one), one.calendar, one.has_year_zero) == (repr(two), two.calendar, two.has_year_zero)


def same_grid(one: Any, two: Any) -> bool:
    from exactness import same

    if type(one) is not type(two) or list(one.xindexes) != list(two.xindexes):
        return False
    if not all(same_labels(one.xindexes[name], two.xindexes[name]) for name in one.xindexes):
        return False
    if isinstance(one, xr.DataArray):
        parts = [(grid.name, grid.variable, grid.coords.variables) for grid in (one, two)]
        return (
            same(parts[0][0], parts[1][0])
            and same_variable(parts[0][1], parts[1][1])
            and same_variables(parts[0][2], parts[1][2])
        )
    return (
        same(dict(one.attrs), dict(two.attrs))
        and same(dict(one.encoding), dict(two.encoding))
        and same(list(one.coords), list(two.coords))
        and same_variables(one.variables, two.variables)
    )


CHECKS: dict[type, Any] = dict.fromkeys((cftime.datetime, *cftime.datetime.__subclasses__()), same_calendar)
