"""xarray values in the forms that its own operations leave behind."""

from __future__ import annotations

import cftime
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import tau
from exactness import same
from tau.stores.memory import MemoryStore
from tau.values import decode, encode

GRID = xr.Dataset(
    {"t": (("time", "x"), np.arange(6.0).reshape(3, 2))},
    {"time": pd.date_range("2000", periods=3, freq="MS"), "x": [10, 20], "lat": ("x", [1.5, 2.5])},
)


@pytest.mark.parametrize("name", ["year", "x", None])
def test_a_coordinate_under_another_name_is_read(name: str | None) -> None:
    value = GRID["time"].rename(name)
    assert decode(encode(value)).identical(value)


def test_a_coordinate_without_its_index_or_with_other_coordinates_is_read() -> None:
    for value in (GRID["x"].drop_vars("x"), GRID["x"].drop_vars("lat"), GRID["x"].assign_coords(x=[1, 2])):
        assert decode(encode(value)).identical(value)


def test_indexes_that_xarray_would_not_make_by_itself_are_kept_and_no_other_is_made() -> None:
    shapes = (
        GRID.set_xindex("lat"), GRID.rename_vars(time="month"), GRID.drop_indexes("x"), GRID["t"].drop_indexes("x"),
        GRID.drop_indexes("x").reset_coords("x"),
    )  # fmt: skip
    for value in shapes:
        read = decode(encode(value))
        assert read.identical(value)
        assert list(read.xindexes) == list(value.xindexes)


def test_the_order_of_variables_is_kept_as_a_file_would_have_it() -> None:
    value = GRID.coords.to_dataset().assign(t=GRID["t"], n=5)
    assert list(decode(encode(value)).variables) == ["time", "x", "lat", "t", "n"]


def test_a_range_that_was_an_index_is_in_memory() -> None:
    value = pd.DataFrame({"a": [1.5, 2.5]}).to_xarray()
    for one in (value.drop_indexes("index"), value.assign(position=value["index"])):
        assert decode(encode(one)).identical(one)


def test_the_times_of_a_model_calendar_come_through_a_run_with_their_bounds() -> None:
    time = xr.date_range("2000-02-28", periods=3, calendar="360_day", use_cftime=True)
    bounds = np.array([[one, one.replace(hour=12)] for one in time])
    given = xr.Dataset({"bounds": (("time", "edge"), bounds)}, {"time": time})
    graph = tau.StateGraph("model", store=MemoryStore())
    seen = []

    @graph.node
    def shift(state: tau.State) -> dict[str, object]:
        seen.append(state["model"])
        return {"later": state["model"].isel(time=slice(1, None)), "last": state["model"].time.values[-1]}

    graph.sequence(shift)
    final = graph.execute({"model": given})
    assert same(seen[0], given)
    assert final["later"].identical(given.isel(time=slice(1, None)))
    assert same(final["last"], cftime.Datetime360Day(2000, 2, 30))
    assert isinstance(final["later"].indexes["time"], xr.CFTimeIndex)
