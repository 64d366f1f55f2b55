"""What a refusal tells to do is possible, and what it gives is stored."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import xarray as xr
from numpy.lib import recfunctions

import tau
from tau.stores.memory import MemoryStore
from tau.values import Refused, decode, encode


class Codec:
    """As a library for files leaves it in what it read."""


Codec.__module__ = "zarr.codecs"


class Duck:
    """An array of another library, with units."""

    shape, ndim, dtype, units = (2,), 1, np.dtype("f8"), "K"

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return np.zeros(2)

    def __array_function__(self, *_: Any) -> Any:
        return NotImplemented

    __array_ufunc__ = __array_function__

    def __getitem__(self, key: Any) -> Any:
        return self


ENUM = np.dtype("u1", metadata={"enum": {"land": 1}})
OVERLAP = {"names": ["a", "b"], "formats": ["i4", "i4"], "offsets": [4, 0]}
GRID = xr.Dataset({"k": ("x", np.zeros(2, "u1"))}, {"x": [1, 2]})


def written(encoding: dict[str, Any], whole: bool = False) -> xr.Dataset:
    made = GRID.copy()
    (made if whole else made["k"]).encoding = encoding
    return made


def ranged() -> xr.Dataset:
    index = xr.indexes.RangeIndex.arange(0, 1, 0.1, dim="x")
    return xr.Dataset(coords=xr.Coordinates.from_xindex(index))


REMEDIES: dict[str, tuple[Any, str, Callable[[Any], Any]]] = {
    "encoding of zarr": (
        written({"compressors": (Codec(),)}), "value.drop_encoding()", lambda value: value.drop_encoding(),
    ),
    "encoding of a whole dataset": (
        written({"filters": [Codec()]}, True), "value.drop_encoding()", lambda value: value.drop_encoding(),
    ),
    "encoding of an array": (
        written({"filters": [Codec()]})["k"], "value.drop_encoding()", lambda value: value.drop_encoding(),
    ),
    "encoding with an enum of netCDF": (
        written({"dtype": ENUM}), "value.drop_encoding()", lambda value: value.drop_encoding(),
    ),
    "an enum of netCDF": (
        xr.Variable("x", np.zeros(2, ENUM)), "value.astype(value.dtype.str)",
        lambda value: value.astype(value.dtype.str),
    ),
    "an array with metadata": (
        np.zeros(2, ENUM), "value.astype(value.dtype.str)", lambda value: value.astype(value.dtype.str),
    ),
    "a dtype with metadata": (ENUM, "numpy.dtype(value.str)", lambda value: np.dtype(value.str)),
    "overlapping fields": (
        np.zeros(2, OVERLAP), "repack_fields(value)", recfunctions.repack_fields,
    ),
    "text of variable length": (
        np.array(["a", "b"], np.dtypes.StringDType(na_object=np.nan)), "value.tolist()", lambda value: value.tolist(),
    ),
    "objects": (np.array([1, None], object), "value.tolist()", lambda value: value.tolist()),
    "an array of another library": (
        xr.Variable("x", Duck()), "value.copy(data=value.to_numpy())", lambda value: value.copy(data=value.to_numpy()),
    ),
    "an index of another kind": (
        ranged(), "value.drop_indexes('x').load()", lambda value: value.drop_indexes("x").load(),
    ),
    "a stacked index": (
        GRID.stack(z=("x",)), "value.reset_index('z')", lambda value: value.reset_index("z"),
    ),
    "a tree": (xr.DataTree(GRID), "value.to_dict()", lambda value: value.to_dict()),
    "a series of Polars": (pl.Series([object, 1], dtype=pl.Object).slice(1), "value.to_list()", pl.Series.to_list),
    "a frame of Polars": (
        pl.DataFrame({"a": pl.Series([{1: 2}], dtype=pl.Object)}), "value.to_dicts()", lambda value: value.to_dicts(),
    ),
    "sparse": (pd.Series(pd.arrays.SparseArray([0, 1])), "astype", lambda value: value.astype("int64")),
    "a frequency": (pd.offsets.MonthEnd(), "value.freqstr", lambda value: value.freqstr),
    "a generator": (
        np.random.default_rng(1), "value.bit_generator.state", lambda value: value.bit_generator.state,
    ),
    "a polynomial": (np.polynomial.Polynomial([1.0, 2.0]), "value.coef", lambda value: value.coef),
    "extended precision": (np.zeros(2, "g"), "float64", lambda value: value.astype("float64")),
    "a view of memory": (memoryview(b"a"), "bytes(value)", bytes),
    "an iterator": (iter([1]), "list(value)", list),
}  # fmt: skip


@pytest.mark.parametrize("name", list(REMEDIES))
def test_the_remedy_of_a_refusal_works(name: str) -> None:
    value, words, remedy = REMEDIES[name]
    with pytest.raises(Refused) as refused:
        encode(value)
    assert words in refused.value.reason
    decode(encode(remedy(value)))


def test_a_refused_encoding_is_found_by_its_path() -> None:
    with pytest.raises(Refused) as refused:
        encode({"grid": written({"compressors": (Codec(),)})})
    assert refused.value.path == "['grid'].data_vars['k'].encoding['compressors'][0]"


class Name(StrEnum):
    RAW = "raw"
    CLEAN = "clean"


@pytest.mark.parametrize("make", [np.str_, Name], ids=["NumPy", "an enum"])
def test_keys_that_are_text_are_names_of_the_state(make: Callable[[str], Any]) -> None:
    raw, clean = make("raw"), make("clean")
    graph = tau.StateGraph("keys", store=MemoryStore())
    seen = []

    @graph.node
    def set_new(state: tau.State) -> dict[str, Any]:
        return {clean: state[raw] + 1, raw: 5}

    @graph.node
    def read(state: tau.State) -> tau.State:
        seen.append(list(map(type, state)))
        return state.set(make("late"), 1) if make is np.str_ else state.merge({"late": 1})

    graph.sequence(set_new, read)
    final = graph.execute({raw: 1})
    assert dict(final) == {"raw": 5, "clean": 2, "late": 1}
    assert {*map(type, final), *seen[0]} == {str}
    assert list(map(type, tau.State({clean: 1}))) == [str]
