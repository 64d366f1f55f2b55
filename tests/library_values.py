"""What the operations of pandas, NumPy, xarray, Polars and Arrow themselves leave behind, by what was done."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import xarray as xr

MANY = [f"q{number}" for number in range(300)]
DAYS = pd.date_range("2000-01-01", periods=60, freq="D", name="day")
FEW = pd.Series(["a", "b", "a", None], dtype="category")
WIDE = pd.Series(pd.Categorical(MANY))
STAFF = pd.DataFrame(
    {
        "team": ["x", "y", "x", "z", None],
        "grade": pd.Categorical(["lo", "hi", "lo", None, "hi"], ["lo", "hi"], ordered=True),
        "paid": [1.5, 2.5, np.nan, 4.0, 5.0],
        "years": pd.array([1, None, 3, 4, 5], "Int64"),
        "since": pd.to_datetime(["2000", "2001", None, "2003", "2004"]),
    },
    index=pd.Index(["p", "q", "r", "s", "t"], name="who"),
)
SERIES = pd.Series(np.arange(60.0), DAYS, name="t")
LONG = STAFF.reset_index().melt("who")
YEAR = pd.date_range("2000", periods=12, freq="MS")
GRID = xr.Dataset(
    {"t": (("time", "x"), np.arange(24.0).reshape(12, 2), {"units": "K"}), "n": ("x", [1, 2])},
    {"time": YEAR, "x": [10, 20], "height": 2.0, "name": ("x", np.array(["in", "out"]))},
    {"title": "grid"},
)
LETTERS = xr.DataArray([1.5, 2.5], {"site": ["a", "bb"]}, name="v")
TEXT = pd.Index(["r1", "r2"], name="member")
FRAME = pl.DataFrame(
    {"k": ["a", "b", "a", None], "v": [1, None, 3, 4], "c": pl.Series(["x", "y", None, "x"], dtype=pl.Categorical)}
)
TABLE = pa.table({"k": ["a", "b", "a", None], "v": [1, None, 3, 4]})


def item_set() -> Any:
    """Codes at the top of their width: a category set where there are many more now."""
    made = FEW.cat.set_categories(MANY, rename=True)
    made.iloc[0] = "q127"
    return made


CATEGORIES: dict[str, Callable[[], Any]] = {
    "renamed to more": lambda: FEW.cat.set_categories(MANY, rename=True),
    "renamed to fewer": lambda: WIDE.cat.set_categories(["a"], rename=True),
    "renamed to as many": lambda: WIDE.cat.rename_categories(str.upper),
    "set to more": lambda: FEW.cat.set_categories(["a", "b", *MANY]),
    "added to": lambda: FEW.cat.add_categories(MANY),
    "removed": lambda: WIDE.cat.remove_categories(MANY[5:]),
    "unused removed": WIDE.iloc[:3].cat.remove_unused_categories,
    "an item set": item_set,
    "as ordered": FEW.cat.as_ordered,
    "reordered": lambda: FEW.cat.reorder_categories(["b", "a"], ordered=True),
    "as an array": lambda: FEW.cat.set_categories(MANY, rename=True).array,
    "as an index": lambda: pd.Index(FEW.cat.set_categories(MANY, rename=True)),
    "as an index of fewer": lambda: pd.CategoricalIndex(WIDE.cat.set_categories(["a"], rename=True), name="c"),
    "in a frame": lambda: pd.DataFrame({"a": FEW.cat.set_categories(MANY, rename=True), "b": 1}),
    "as the labels of a frame": lambda: pd.DataFrame(
        {"a": range(4)}, pd.Index(FEW.cat.set_categories(MANY, rename=True))
    ),
    "none": lambda: pd.Series([None, None], dtype="category"),
    "of numbers cut": lambda: pd.cut(STAFF["paid"], 3),
    "of quantiles": lambda: pd.qcut(STAFF["paid"], 2, labels=["low", "high"]),
    "united": lambda: pd.Series(pd.api.types.union_categoricals([FEW.array, WIDE.array])),
    "concatenated": lambda: pd.concat([FEW, FEW]),
    "concatenated with others": lambda: pd.concat([FEW, WIDE]),
    "of dates": lambda: pd.Series(DAYS).astype("category"),
    "of periods": lambda: pd.Series(DAYS.to_period("M")).astype("category"),
    "of dates, renamed": lambda: pd.Series(DAYS[:3]).astype("category").cat.rename_categories(["a", "b", "c"]),
    "grouped by": STAFF.groupby("grade", observed=False)["paid"].mean,
    "their codes": lambda: FEW.cat.set_categories(MANY, rename=True).cat.codes,
    "their dummies": lambda: pd.get_dummies(FEW),
    "levels set to more": lambda: pd.MultiIndex.from_product([["a", "b"], [1, 2]]).set_levels(MANY, level=0),
    "levels set to fewer": lambda: pd.MultiIndex.from_arrays([MANY, MANY])[:2].set_levels(
        [["x", *MANY[:99]]] * 2, verify_integrity=False
    ),
    "levels said to be sorted": lambda: pd.MultiIndex.from_arrays([[1, 1, 2], [1, 2, 1]], sortorder=2),
    "levels unused": lambda: pd.MultiIndex.from_arrays([MANY, MANY])[5:7],
    "levels unused removed": pd.MultiIndex.from_arrays([MANY, MANY])[5:7].remove_unused_levels,
    "a level of categories": lambda: STAFF.set_index(["grade", "team"]),
}

TABLES: dict[str, Callable[[], Any]] = {
    "grouped": lambda: STAFF.groupby("team").mean(numeric_only=True),
    "grouped by two": lambda: STAFF.groupby(["team", "grade"], observed=True).size(),
    "grouped by two, kept": lambda: STAFF.groupby(["team", "grade"], observed=False, dropna=False).sum(
        numeric_only=True
    ),
    "aggregated": lambda: STAFF.groupby("team").agg({"paid": ["min", "max"], "since": "first"}),
    "described": lambda: STAFF.describe(include="all"),
    "counted": lambda: STAFF["team"].value_counts(dropna=False),
    "counted in bins": lambda: STAFF["paid"].value_counts(bins=2),
    "crossed": lambda: pd.crosstab(STAFF["team"], STAFF["grade"]),
    "pivoted": lambda: LONG.pivot(index="who", columns="variable", values="value"),
    "pivot table": lambda: STAFF.pivot_table(index="team", columns="grade", values="paid", observed=False),
    "molten": lambda: LONG,
    "stacked": STAFF[["paid", "years"]].stack,
    "unstacked": STAFF.set_index(["grade"], append=True)["paid"].unstack,
    "transposed": lambda: STAFF.T,
    "merged": lambda: STAFF.merge(LONG, on="who", how="outer", indicator=True),
    "joined": lambda: STAFF.join(STAFF[["paid"]].add_suffix("_again")),
    "concatenated with keys": lambda: pd.concat({"a": STAFF, "b": STAFF}, names=["part"]),
    "concatenated side by side": lambda: pd.concat([STAFF, STAFF["paid"].rename("again")], axis=1, keys=["l", "r"]),
    "concatenated with gaps": lambda: pd.concat([STAFF[["paid"]], STAFF[["team"]].iloc[:2]]),
    "reindexed": lambda: STAFF.reindex(["p", "zz"]),
    "sorted": lambda: STAFF.sort_values("paid", ascending=False),
    "without duplicates": lambda: STAFF.drop_duplicates("team"),
    "exploded": lambda: pd.DataFrame({"a": [[1, 2], [], None]}).explode("a"),
    "read of lines": lambda: STAFF["team"].str.split("", expand=True),
    "matched": lambda: STAFF["team"].str.extract("(?P<one>x)"),
    "converted": STAFF.convert_dtypes,
    "converted to arrow": lambda: STAFF.convert_dtypes(dtype_backend="pyarrow"),
    "with no name": lambda: STAFF.reset_index(drop=True),
    "of objects": lambda: STAFF.astype(object),
    "an attribute": lambda: STAFF.assign(a=1).pipe(lambda one: (one.attrs.update(u={"k": (1,)}), one)[1]),
    "queried": lambda: STAFF.query("paid > 2"),
    "sampled": lambda: STAFF.sample(3, random_state=1),
    "quantiles": lambda: STAFF[["paid"]].quantile([0.1, 0.9]),
    "correlated": STAFF[["paid", "years"]].corr,
    "a row": lambda: STAFF.loc["p"],
    "a selection of labels": lambda: STAFF.columns[STAFF.notna().all()],
    "from records": lambda: pd.DataFrame.from_records([{"a": 1, "b": {"c": [1]}}, {"a": None}]),
    "normalized": lambda: pd.json_normalize([{"a": {"b": 1}}, {"a": {"c": "x"}}]),
    "masked": lambda: STAFF.mask(STAFF["paid"] > 2),
    "an empty selection": lambda: STAFF.iloc[:0],
    "no columns": lambda: STAFF[[]],
    "text with a mark": pd.Series(["a", None]).str.upper,
    "bytes": lambda: pd.Series(["a", "b"]).str.encode("utf8"),
    "a union of labels": lambda: STAFF.index.union(["a"]),
    "a union of mixed labels": lambda: pd.Index([1, 2]).union(["a"], sort=False),
    "ranges joined": lambda: pd.RangeIndex(3).append(pd.RangeIndex(3, 6)),
    "range of none": lambda: pd.RangeIndex(5)[:0],
    "labels mapped": lambda: STAFF.index.map(lambda one: (one, 1)),
    "labels of two kinds": lambda: STAFF.set_index(["team", "since"]).index,
    "the levels of labels": lambda: STAFF.set_index(["team", "since"]).index.get_level_values(1),
    "styled": lambda: STAFF.rename_axis(columns="fields"),
    "factorized": lambda: pd.factorize(STAFF["team"]),
    "from arrow": lambda: TABLE.to_pandas(types_mapper=pd.ArrowDtype),
    "from arrow, plain": TABLE.to_pandas,
    "from polars": FRAME.to_pandas,
    "from polars, arrow": lambda: FRAME.to_pandas(use_pyarrow_extension_array=True),
    "in json": lambda: STAFF.to_dict("split"),
    "intervals": lambda: pd.IntervalIndex.from_breaks([0, 1, 2.5], closed="both").to_frame(),
    "intervals of times": lambda: pd.Series(pd.interval_range(DAYS[0], DAYS[5])),
    "grouped by intervals": STAFF.groupby(pd.cut(STAFF["paid"], [0, 2, 9]), observed=False)["paid"].sum,
    "a struct taken apart": lambda: pd.Series([{"a": 1}], dtype=pd.ArrowDtype(pa.struct({"a": pa.int64()}))),
}

TIMES: dict[str, Callable[[], Any]] = {
    "resampled": lambda: SERIES.resample("ME").mean(),
    "resampled to less": lambda: SERIES.resample("6h").ffill(),
    "resampled in weeks": lambda: SERIES.resample("W-WED").agg(["min", "max"]),
    "resampled in quarters": lambda: SERIES.resample("QS-FEB").sum(),
    "resampled in business days": lambda: SERIES.resample("B").last(),
    "rolled": lambda: SERIES.rolling("7D").mean(),
    "as periods": lambda: SERIES.to_period("W-SUN"),
    "as periods and back": lambda: SERIES.to_period("M").to_timestamp(),
    "of a frequency": lambda: SERIES.asfreq("3D"),
    "shifted": lambda: SERIES.shift(2, freq="D"),
    "in a zone": lambda: SERIES.tz_localize("Europe/Berlin").tz_convert("Asia/Kathmandu"),
    "in a fixed zone": lambda: pd.to_datetime(["2020-01-01T00:00+02:00"]),
    "over a change of the clock": lambda: pd.date_range("2020-10-25", periods=5, freq="h", tz="Europe/Berlin"),
    "grouped by month": lambda: SERIES.groupby(SERIES.index.month).mean(),
    "grouped by a grouper": lambda: SERIES.groupby(pd.Grouper(freq="MS")).sum(),
    "differences": lambda: SERIES.index.to_series().diff(),
    "from text": lambda: pd.to_datetime(pd.Series(["2020-01-01", "2021-05-05 01:02:03.000000004"]), format="ISO8601"),
    "in seconds": lambda: SERIES.index.as_unit("s"),
    "sliced": lambda: SERIES.index[::2],
    "sliced backwards": lambda: SERIES.index[::-1],
    "one left out": lambda: SERIES.index.delete(3),
    "united": lambda: SERIES.index.union(pd.DatetimeIndex(["2010-01-01"])),
    "cut": lambda: SERIES["2000-01":"2000-02"],
    "of business hours": lambda: pd.bdate_range("2020", periods=5),
    "infers": lambda: pd.DatetimeIndex(["2020-01-01", "2020-01-02", "2020-01-03"], freq="infer"),
    "durations": lambda: pd.timedelta_range("1h", periods=5, freq="37min").to_series().cumsum(),
    "durations resampled": lambda: pd.Series(range(5), pd.timedelta_range("0s", periods=5)).resample("2D").sum(),
    "of periods": lambda: pd.period_range("2000Q1", periods=4, freq="Q-NOV").asfreq("M"),
    "their clock": lambda: pd.Series(DAYS).dt.time,
    "their dates": lambda: pd.Series(DAYS).dt.date,
    "their weeks": pd.Series(DAYS).dt.isocalendar,
    "a moment": SERIES.idxmax,
    "a moment in a zone": lambda: SERIES.tz_localize("UTC").idxmax(),
    "a moment far off": lambda: pd.Timestamp("9999-12-31T23:59:59.999999"),
}

GRIDS: dict[str, Callable[[], Any]] = {
    "grouped by season": lambda: GRID.groupby("time.season").mean(),
    "grouped by month": lambda: GRID.groupby("time.month").mean(),
    "grouped by year, an anomaly": lambda: GRID.groupby("time.year") - GRID.groupby("time.year").mean(),
    "grouped by bins": lambda: GRID.groupby_bins("x", [0, 15, 30]).mean(),
    "resampled": lambda: GRID.resample(time="QS-DEC").mean(),
    "an ensemble": lambda: xr.concat([GRID, GRID], TEXT),
    "an ensemble of arrays": lambda: xr.concat([GRID["t"], GRID["t"]], TEXT),
    "an ensemble named by numbers": lambda: xr.concat([GRID, GRID], pd.Index([1, 2], name="member")),
    "an ensemble, one picked": lambda: xr.concat([GRID, GRID], TEXT).sel(member="r1"),
    "an ensemble, some picked": lambda: xr.concat([GRID, GRID], TEXT).isel(member=[1]),
    "an ensemble, the mean": lambda: xr.concat([GRID, GRID], TEXT).mean("member"),
    "an ensemble, the labels": lambda: xr.concat([GRID, GRID], TEXT)["member"],
    "an ensemble, longer": lambda: xr.concat(
        [xr.concat([GRID, GRID], TEXT), xr.concat([GRID], pd.Index(["longer"], name="member"))], "member"
    ),
    "text of pandas assigned": lambda: GRID.assign_coords(x=pd.Index(["a", "b"])),
    "text of NumPy assigned": lambda: GRID.assign_coords(x=np.array(["a", "b"])),
    "text in a list assigned": lambda: GRID.assign_coords(x=["a", "b"]),
    "text of objects assigned": lambda: GRID.assign_coords(x=np.array(["a", "b"], object)),
    "text of pandas beside": lambda: GRID.assign_coords(site=("x", pd.array(["a", "b"], "str"))),
    "text of pandas as data": lambda: GRID.assign(site=("x", pd.array(["a", None], "str"))),
    "text in Python's storage": lambda: GRID.assign_coords(x=pd.Index(["a", "b"], dtype=pd.StringDtype("python"))),
    "nullable text": lambda: GRID.assign_coords(x=pd.Index(["a", "b"], dtype="string")),
    "text with a mark": lambda: GRID.assign_coords(x=pd.Index(["a", None], dtype="str")),
    "text set as index": lambda: GRID.set_xindex("name"),
    "text swapped": lambda: GRID.swap_dims(x="name"),
    "text reindexed": lambda: LETTERS.reindex(site=["a", "zz"]),
    "text sorted": lambda: LETTERS.sortby("site", ascending=False),
    "text appended": lambda: xr.concat([LETTERS, LETTERS.assign_coords(site=["ccc", "dddd"])], "site"),
    "text renamed": lambda: LETTERS.rename(site="place"),
    "text dropped": lambda: xr.concat([LETTERS, LETTERS], TEXT).drop_indexes("member"),
    "text reset": lambda: xr.concat([LETTERS, LETTERS], TEXT).reset_index("member"),
    "text reset and copied": lambda: xr.concat([LETTERS, LETTERS], TEXT).drop_indexes("member").copy(deep=True),
    "text copied": lambda: xr.concat([LETTERS, LETTERS], TEXT).copy(deep=True),
    "text broadcast": lambda: xr.broadcast(xr.concat([LETTERS, LETTERS], TEXT)["member"], LETTERS)[0],
    "a copy of text as another variable": lambda: xr.concat([GRID, GRID], TEXT).assign(label=lambda one: one["member"]),
    "a copy of text as another coordinate": lambda: xr.concat([GRID, GRID], TEXT).assign_coords(
        label=lambda one: one["member"]
    ),
    "text upper": LETTERS["site"].str.upper,
    "from a frame": STAFF.to_xarray,
    "from a series": SERIES.to_xarray,
    "from a frame of two labels": STAFF.set_index("team", append=True)[["paid"]].iloc[:2].to_xarray,
    "from a frame by categories": lambda: pd.DataFrame(
        {"a": [1, 2]}, pd.CategoricalIndex(["x", "y"], name="c")
    ).to_xarray(),
    "from a frame of nullable": STAFF[["years"]].to_xarray,
    "from a frame of periods": lambda: SERIES.to_period("M").groupby(level=0).sum().to_xarray(),
    "from a frame of intervals": lambda: (
        STAFF.groupby(pd.cut(STAFF["paid"], [0, 2, 9]), observed=False)["paid"].sum().to_xarray()
    ),
    "to a frame": GRID.to_dataframe,
    "an ensemble to a frame": lambda: xr.concat([GRID, GRID], TEXT).to_dataframe(),
    "weighted": lambda: GRID.weighted(xr.DataArray([1.0, 2.0], {"x": [10, 20]})).mean("x"),
    "rolled": lambda: GRID["t"].rolling(time=3, center=True).construct("window"),
    "coarsened": lambda: GRID["t"].coarsen(time=4).mean(),
    "where": lambda: GRID.where(GRID["t"] > 3),
    "merged": lambda: xr.merge([GRID[["t"]], LETTERS.to_dataset()]),
    "aligned": lambda: xr.align(GRID["t"], GRID["t"].isel(x=[1]), join="outer")[1],
    "transposed": GRID["t"].transpose,
    "expanded": lambda: GRID.expand_dims(member=["r1"]),
    "expanded by text of pandas": lambda: GRID.expand_dims(member=TEXT),
    "squeezed": lambda: GRID.isel(time=0),
    "one by text": lambda: LETTERS.sel(site="bb"),
    "quantiles": lambda: GRID["t"].quantile([0.1, 0.9], "time"),
    "sel nearest": lambda: GRID.sel(time="2000-05", method=None),
    "differentiated": lambda: GRID["t"].differentiate("time", datetime_unit="D"),
    "to an array": GRID[["t"]].to_dataarray,
    "the labels of an array": lambda: GRID[["t"]].to_dataarray()["variable"],
    "in another calendar": lambda: GRID.convert_calendar("noleap"),
    "cftime of a season": lambda: GRID.convert_calendar("noleap").groupby("time.season").mean(),
    "the season": lambda: GRID["time"].dt.season,
    "the text of times": lambda: GRID["time"].dt.strftime("%Y-%m"),
    "times as periods": lambda: GRID.assign_coords(time=YEAR.to_period("M")),
    "times in a zone": lambda: GRID.assign_coords(time=YEAR.tz_localize("UTC")),
    "labels of categories": lambda: GRID.assign_coords(x=pd.CategoricalIndex(["a", "b"])),
    "labels of wide categories": lambda: GRID.assign_coords(
        x=pd.CategoricalIndex(FEW[:2].cat.set_categories(MANY, rename=True))
    ),
    "data of wide categories": lambda: GRID.assign(c=("x", FEW[:2].cat.set_categories(MANY, rename=True).array)),
    "labels of small numbers": lambda: GRID.assign_coords(x=np.array([1, 2], "i2")),
    "labels of float32": lambda: GRID.assign_coords(x=np.array([1, 2], "f4")),
    "labels of big-endian": lambda: GRID.assign_coords(x=np.array([1, 2], ">f8")),
    "labels of bytes": lambda: GRID.assign_coords(x=np.array([b"a", b"b"])),
    "labels of bools": lambda: GRID.assign_coords(x=[True, False]),
    "labels of dates of objects": lambda: GRID.assign_coords(x=np.array([YEAR[0].date(), YEAR[1].date()], object)),
    "a range index": lambda: GRID.assign_coords(x=pd.RangeIndex(2)),
    "the index of labels": lambda: xr.concat([GRID, GRID], TEXT).indexes["member"],
    "a variable of labels": lambda: xr.concat([GRID, GRID], TEXT)["member"].variable,
    "a base variable of labels": xr.concat([GRID, GRID], TEXT)["member"].variable.to_base_variable,
    "reversed": lambda: GRID.isel(time=slice(None, None, -1)),
    "every second": lambda: GRID.isel(time=slice(None, None, 2)),
    "dropped": lambda: GRID.drop_vars("x"),
    "empty": lambda: GRID.isel(x=slice(0)),
    "text of none": lambda: xr.concat([GRID, GRID], TEXT).isel(member=slice(0)),
    "an attribute": lambda: GRID.assign_attrs(a=np.float32(1), b=np.array([1, 2]), c=["x"]),
    "computed with units": lambda: (GRID["t"] * 2).assign_attrs(GRID["t"].attrs),
    "apply_ufunc": lambda: xr.apply_ufunc(np.sqrt, GRID["t"], keep_attrs=True),
    "polyfit": lambda: GRID["t"].polyfit("time", 1),
    "stacked and reset": lambda: GRID.stack(z=("time", "x")).reset_index("z"),
    "ordered coords": lambda: GRID.set_coords("n").drop_vars("t"),
    "multi-valued reset": lambda: GRID.to_dataframe().to_xarray(),
}

ARRAYS: dict[str, Callable[[], Any]] = {
    "unique": lambda: np.unique([3, 1, 3], return_counts=True),
    "of text cut": lambda: np.array(["abc", "d"]).astype("U2"),
    "of char": lambda: np.strings.upper(np.array(["a", "bc"])),
    "histogram": lambda: np.histogram([1.0, 2, 2, 5], bins=3),
    "a mean": lambda: np.mean(np.arange(5, dtype="f4")),
    "an argmax": lambda: np.argmax([1, 5, 2]),
    "a bool": lambda: np.any([True]),
    "records sorted": lambda: np.sort(np.array([(2, "b"), (1, "a")], [("n", "i4"), ("s", "U1")]), order="n"),
    "a field": lambda: np.array([(2, "b")], [("n", "i4"), ("s", "U1")])["s"],
    "two fields": lambda: np.array([(2, "b", 1.5)], [("n", "i4"), ("s", "U1"), ("x", "f8")])[["n", "x"]],
    "masked invalid": lambda: np.ma.masked_invalid([1.0, np.nan]),
    "masked mean": lambda: np.ma.masked_equal([1, 2], 2).mean(),
    "masked text": lambda: np.ma.array(["a", "b"], mask=[0, 1]),
    "masked dates": lambda: np.ma.array(np.array(["2020"], "M8[D]"), mask=[True]),
    "transposed": lambda: np.arange(6).reshape(2, 3).T,
    "swapped": lambda: np.moveaxis(np.zeros((2, 3, 4)), 0, -1),
    "a diagonal": lambda: np.arange(9).reshape(3, 3).diagonal(),
    "real of complex": lambda: np.array([1 + 2j]).real,
    "of a broadcast": lambda: np.broadcast_to(np.arange(3), (2, 3)),
    "lists of scalars": lambda: list(np.linspace(0, 1, 50)),
    "lists of mixed scalars": lambda: [np.float64(1), np.int32(2), np.str_("x"), np.bool_(True), 1.5, None] * 10,
    "a dict of scalars": lambda: dict(zip("abc", np.arange(3), strict=True)),
    "keys of scalars": lambda: dict.fromkeys(np.arange(3), 1),
    "a tuple of scalars": lambda: tuple(np.arange(40, dtype="i2")),
    "a set of scalars": lambda: set(np.arange(40, dtype="u1")),
    "times": lambda: list(np.arange("2020", "2021", dtype="M8[M]")),
    "chars": lambda: list(np.array(["a", "\u20ac", ""] * 20)),
    "long longs": lambda: list(np.array([1, 2] * 20, "q")),
}

ARROWS: dict[str, Callable[[], Any]] = {
    "grouped": lambda: TABLE.group_by("k").aggregate([("v", "sum")]),
    "encoded": TABLE["k"].dictionary_encode,
    "joined": lambda: TABLE.join(TABLE, "k", right_suffix="_r"),
    "filtered": lambda: TABLE.filter(pc.field("v") > 1),
    "a sum": lambda: pc.sum(TABLE["v"]),
    "a struct": TABLE.to_struct_array,
    "from pandas": lambda: pa.Table.from_pandas(STAFF),
    "polars grouped": lambda: FRAME.group_by("k", maintain_order=True).agg(pl.col("v").sum(), pl.col("c")),
    "polars pivoted": lambda: FRAME.pivot("c", index="k", values="v", aggregate_function="first"),
    "polars joined": lambda: FRAME.join(FRAME, on="k", how="full"),
    "polars described": FRAME.describe,
    "polars lists": lambda: FRAME.select(pl.concat_list("v", "v")),
    "polars struct": lambda: FRAME.to_struct("s"),
    "polars dates": lambda: pl.date_range(pl.date(2020, 1, 1), pl.date(2020, 1, 5), eager=True),
    "polars concatenated": lambda: pl.concat([FRAME, FRAME]),
    "polars of pandas": lambda: pl.from_pandas(STAFF.reset_index()),
    "polars arrays": lambda: pl.Series([[1, 2], [3, 4]], dtype=pl.Array(pl.Int8, 2)),
    "polars counted": lambda: FRAME["k"].value_counts(sort=True),
    "polars cut": lambda: pl.Series([1.0, 2.0]).cut([1.5]),
}

GROUPS = {
    "categories": CATEGORIES,
    "tables": TABLES,
    "times": TIMES,
    "grids": GRIDS,
    "arrays": ARRAYS,
    "arrows": ARROWS,
}


def made() -> dict[str, Any]:
    """Every value, by its group and what was done."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {f"{group}: {name}": make() for group, found in GROUPS.items() for name, make in found.items()}
