"""Arrays, tables and models as format 1 first wrote them are read, exactly; the file is added to, never made again.

``python tests/golden/test_science.py`` prints what it would hold now.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
import cftime
import msgspec
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pydantic
import pytest
import xarray as xr

import tau
from exactness import same
from tau.values import decode, encode


@tau.register_type(name="golden.Site")
@attrs.frozen
class Site:
    name: str
    height: float = 0.0


@tau.register_type(name="golden.Sample", version=3)
class Sample(msgspec.Struct):
    site: Site
    values: list[float]


@tau.register_type(name="golden.Setup")
class Setup(pydantic.BaseModel, extra="allow"):
    steps: int = 4
    rate: float = 0.5


DTYPE = np.dtype([("id", "<i4"), ("at", "<M8[s]"), ("y", ">f4", (2,))])
ARROW = pa.table(
    {
        "n": [1, None],
        "d": pa.array(["a", "b"]).dictionary_encode(),
        "at": pa.array([0, None], pa.timestamp("ns", "UTC")),
    },
    metadata={"units": "K"},
)
GRID = xr.Dataset(
    {"t": (("time", "x"), np.arange(4.0).reshape(2, 2), {"units": "K"})},
    {"time": pd.date_range("2024-01-01", periods=2, freq="D", unit="s"), "x": [10, 20], "lon": ("x", [1.0, 2.0])},
    {"title": "grid"},
)
GRID["t"].encoding = {"dtype": "f4"}
VALUES: dict[str, Any] = {
    "numbers": np.arange(6.0).reshape(2, 3),
    "fortran": np.asfortranarray(np.arange(6, dtype=">i2").reshape(2, 3)),
    "structured": np.array([(1, "2024-01-01", (0.5, 1.5))], DTYPE),
    "text": np.array(["a", "\u20ac"]),
    "scalars": [np.float32(1.5), np.datetime64("2024-02-29", "D"), np.bool_(True), np.longlong(3), np.str_("x")],
    "masked": np.ma.array([1, 2], mask=[True, False]),
    "dtype": DTYPE,
    "frame": pd.DataFrame(
        {
            "x": [1.5, np.nan],
            "n": pd.array([1, None], "Int64"),
            "s": pd.array(["a", None], "string"),
            "t": pd.to_datetime(["2024-01-01", None]).as_unit("s"),
            "c": pd.Categorical(["b", None], categories=["a", "b"]),
        },
        index=pd.date_range("2024-01-01", periods=2, freq="D", tz="Europe/Berlin", unit="s", name="day"),
    ),
    "series": pd.Series([True, False], index=pd.MultiIndex.from_tuples([("a", 1), ("b", 2)]), name=("n", 1)),
    "indexes": [pd.RangeIndex(3, 9, 2), pd.period_range("2024", periods=2, freq="M"), pd.interval_range(0, 2)],
    "instants": [pd.Timestamp("2024-01-01", tz="Europe/Berlin"), pd.Timedelta("1s"), pd.Period("2024-03", "M"), pd.NaT],
    "pandas arrays": [
        pd.array([1, None], "Int8"),
        pd.array([True, None], "boolean"),
        pd.Categorical(["x", None], ordered=True),
        pd.array(["a", None], pd.StringDtype("python", na_value=np.nan)),
        pd.array([[1], None], pd.ArrowDtype(pa.list_(pa.int8()))),
        pd.array(pd.to_datetime(["2024-01-01", None]).tz_localize("UTC").as_unit("ms")),
    ],
    "odd columns": pd.DataFrame(
        [[1, "a", (2,)], [2, None, [3]]], columns=pd.Index([("t", 1), None, 5], dtype=object, tupleize_cols=False)
    ),
    "interval and NA": [pd.Interval(0, 1.5, "both"), pd.NA, pd.IntervalIndex.from_breaks([0, 1, 2], name="i")],
    "arrow table": ARROW,
    "arrow parts": [ARROW.to_batches()[0], ARROW.schema, ARROW["n"], pa.array(["a", None]), pa.scalar(1.5)],
    "polars frame": pl.DataFrame(
        {
            "n": [1, None],
            "s": ["a", None],
            "l": [[1], []],
            "kind": pl.Series(["a", "b"], dtype=pl.Enum(["b", "a"])),
            "at": pl.Series([0, None], dtype=pl.Datetime("ms", "UTC")),
        }
    ),
    "polars series": pl.Series("x", [1.5, None]),
    "dataset": GRID,
    "data arrays": [GRID["t"], GRID["time"], GRID["t"].variable],
    "grids with other indexes": [
        GRID.set_xindex("lon"),
        GRID.drop_indexes("x")["t"],
        GRID["x"].rename("y"),
        GRID.coords.to_dataset().assign(name=("x", np.array(["a", None], object))),
        xr.Variable("x", pd.Categorical(["a", None])),
    ],
    "model times": [
        cftime.DatetimeNoLeap(2000, 2, 28, 12),
        cftime.datetime(1, 2, 30, microsecond=5, calendar="360_day"),
        xr.date_range("2000-02-29", periods=2, calendar="all_leap", use_cftime=True).rename("time"),
    ],
    "attrs class": Site("s1", 12.5),
    "struct": Sample(Site("s2"), [1.5, -0.0]),
    "pydantic model": Setup(rate=0.25, note=("extra", 1)),
}
STORED = Path(__file__).parent / "v1" / "science.json"


@pytest.mark.parametrize("name", VALUES)
def test_what_was_written_is_read_exactly(name: str) -> None:
    stored = bytes.fromhex(json.loads(STORED.read_text())[name])
    assert same(decode(stored), VALUES[name])


if __name__ == "__main__":
    print(json.dumps({name: encode(value).hex() for name, value in VALUES.items()}, indent=1))
