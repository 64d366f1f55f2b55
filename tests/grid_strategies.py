"""Strategies for xarray values in every form that its own operations leave behind, and for times of `cftime`."""

from __future__ import annotations

from math import prod
from typing import Any

import cftime
import numpy as np
import pandas as pd
import xarray as xr
from hypothesis import reject
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from table_strategies import (
    as_objects,
    attrs,
    columns,
    fits_an_index,
    leaves,
    listed,
    names,
    objects,
    regular_indexes,
    simple_indexes,
)

GRID_TYPES = [np.dtype(text) for text in ("<f8", ">f4", "<i8", "u1", "?", "<c16", "<M8[ns]", "<m8[s]", "<U3", "S2")]
CALENDARS = ("noleap", "all_leap", "360_day", "julian", "standard", "proleptic_gregorian")
calendar_times = st.builds(
    cftime.datetime, st.integers(1, 3000), st.integers(1, 12), st.integers(1, 28), st.integers(0, 23),
    microsecond=st.integers(0, 999_999), calendar=st.sampled_from(CALENDARS),
) | st.builds(cftime.DatetimeNoLeap, st.integers(-5, 3000), st.integers(1, 12), st.integers(1, 28))  # fmt: skip


@st.composite
def model_times(draw: Any, count: int) -> Any:
    calendar = draw(st.sampled_from(CALENDARS))
    return xr.date_range("1999-02-01", periods=count, freq="3h", calendar=calendar, use_cftime=True)


@st.composite
def variables(draw: Any, sizes: dict[Any, int]) -> Any:
    dims = draw(st.lists(st.sampled_from(list(sizes)), unique=True))
    shape = tuple(sizes[dim] for dim in dims)
    kind = draw(st.sampled_from([*GRID_TYPES, None]))
    if kind is None:
        data = as_objects(draw(listed(objects | calendar_times, prod(shape)))).reshape(shape)
    else:
        data = draw(arrays.arrays(kind, shape, fill=st.nothing()))
    if len(dims) == 1 and draw(st.booleans()):
        data = draw(columns(shape[0]).filter(fits_an_index) | simple_indexes(shape[0]))
    data = np.asfortranarray(data) if len(dims) > 1 and draw(st.booleans()) else data
    try:
        made = xr.Variable(dims, data, draw(attrs))
    except (UnicodeEncodeError, OverflowError, NotImplementedError):
        reject()  # xarray tries to make text or times of such objects
    made.encoding = draw(st.dictionaries(st.sampled_from(["dtype", "_FillValue", "zlib"]), leaves, max_size=2))
    return made


def fits_a_grid(index: Any) -> bool:
    return not isinstance(index, pd.MultiIndex) and isinstance(index.dtype, np.dtype) and index.dtype.kind in "iufbM"


@st.composite
def datasets(draw: Any) -> Any:
    sizes = draw(st.dictionaries(st.sampled_from(["x", "y", "time", "z"]), st.integers(0, 3), min_size=1, max_size=3))
    coordinates = {}
    for name, size in sizes.items():
        if draw(st.booleans()):
            index = draw(regular_indexes(size) | simple_indexes(size).filter(fits_a_grid) | model_times(size))
            coordinates[name] = (name, index.rename(None), draw(attrs))
    coordinates |= draw(st.dictionaries(st.sampled_from(["lat", "lon"]), variables(sizes)))
    data = draw(st.dictionaries(st.sampled_from(["t", "p", 5, ("a", 1)]), variables(sizes), max_size=3))
    made = xr.Dataset(data, coordinates, draw(attrs))
    if draw(st.booleans()):  # in another order
        made = made.coords.to_dataset().assign(made.data_vars).assign_attrs(made.attrs)
    made = reshaped(draw, made)
    made.encoding = draw(st.sampled_from([{}, {"unlimited_dims": {"time"}}]))
    return made


def reshaped(draw: Any, made: Any) -> Any:
    """With indexes dropped, renamed or set where xarray makes none by itself."""
    how = draw(st.sampled_from(["", "", "drop", "reset", "rename", "set"]))
    if how in ("drop", "reset", "rename") and made.xindexes:
        name = draw(st.sampled_from(list(made.xindexes)))
        if how == "rename":
            return made.rename_vars({name: "renamed"})
        made = made.drop_indexes(name)
        return made if how == "drop" else made.reset_coords(name)
    flat = [name for name, one in made.coords.items() if one.ndim == 1 and name not in made.xindexes]
    if how == "set" and flat:
        name = draw(st.sampled_from(flat))
        dtype = made[name].dtype
        return made.set_xindex(name) if isinstance(dtype, np.dtype) and dtype.kind in "iufb" else made
    return made


@st.composite
def grids(draw: Any) -> Any:
    made = draw(datasets())
    if made.variables and draw(st.booleans()):
        name = draw(st.sampled_from(list(made.variables)))
        one = made[name]
        others = [name for name in one.coords if draw(st.booleans())]
        return draw(st.sampled_from([one, one.variable, one.rename(draw(names)), one.drop_vars(others)]))
    return made
