"""xarray data that is not in memory is refused, with the remedy, and is stored once it is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from exactness import same
from tau.values import Refused, decode, encode


class Lazy:
    """What dask and its like look like to xarray: an array whose numbers are made when they are asked for."""

    def __init__(self, numbers: Any) -> None:
        self.numbers = numbers
        self.asked = 0

    shape = property(lambda self: self.numbers.shape)
    dtype = property(lambda self: self.numbers.dtype)
    ndim = property(lambda self: self.numbers.ndim)
    chunks = property(lambda self: ((len(self.numbers),),))  # as dask has them

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        self.asked += 1
        return self.numbers

    def __array_function__(self, *arguments: Any) -> Any:
        raise NotImplementedError

    def __array_ufunc__(self, *arguments: Any) -> Any:
        raise NotImplementedError


def test_a_lazy_array_is_refused_and_not_computed() -> None:
    lazy = Lazy(np.arange(3.0))
    variable = xr.Variable("x", lazy)
    for value, path in (
        (variable, "['k']"),
        (xr.DataArray(variable), "['k'].variable"),
        (xr.Dataset({"t": variable}), "['k'].data_vars['t']"),
        (xr.Dataset(coords={"lat": variable}), "['k'].coords['lat']"),
    ):
        with pytest.raises(Refused, match=r"not in memory.*call value\.load\(\)") as caught:
            encode({"k": value})
        assert caught.value.path == path
    assert lazy.asked == 0


def test_a_file_that_is_opened_is_refused_until_it_is_loaded(tmp_path: Path) -> None:
    grid = xr.Dataset({"t": (("time", "x"), np.arange(6.0).reshape(3, 2))}, {"time": [0, 1, 2], "x": ["a", "b"]})
    grid.to_netcdf(tmp_path / "grid.nc")
    with xr.open_dataset(tmp_path / "grid.nc") as opened:
        for value in (opened, opened["t"], opened["t"][1:], opened["t"].variable):
            with pytest.raises(Refused, match=r"not in memory.*call value\.load\(\)"):
                encode(value)
        loaded = opened.load()
        data = encode(loaded)
    (tmp_path / "grid.nc").unlink()
    assert same(decode(data), loaded)
    assert decode(data)["t"].equals(grid["t"])
