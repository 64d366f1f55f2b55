"""xarray: variables, arrays and datasets, with coordinates, attributes and encoding, of data that is in memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from tau.values import tags
from tau.values.kinds import Kind
from tau.values.refusal import Step, refuse


def _pack_variable(value: Any) -> list[Any]:
    indexed = isinstance(value, xr.IndexVariable)
    if indexed:
        # The index keeps its frequency, but not every dtype: text of fixed width becomes objects.
        index = value.to_index()
        data: Any = index if index.dtype == value.dtype else value.to_numpy()
    elif not value._in_memory:
        raise refuse(value, "its data is not in memory (a file, or dask); call value.load() or value.compute() first")
    else:
        data = value.data
    if type(data) is not np.ndarray and not isinstance(data, pd.Index):
        raise refuse(value, f"its data is a {type(data).__name__}; store value.copy(data=value.to_numpy())")
    return [list(value.dims), data, dict(value.attrs), dict(value.encoding), indexed]


def _unpack_variable(body: Any) -> Any:
    dims, data, attrs, encoding, indexed = body
    if type(data) is not np.ndarray and not isinstance(data, pd.Index):
        raise ValueError("a variable needs an array")
    cls = xr.IndexVariable if indexed else xr.Variable
    return cls(dims, data, attrs, encoding)


def _coordinates(owner: Any, value: Any) -> dict[Any, Any]:
    for name, index in value.xindexes.items():
        if type(index) is not xr.indexes.PandasIndex or isinstance(index.index, pd.MultiIndex):
            raise refuse(owner, f"its index {name!r} is a {type(index).__name__}; store value.reset_index({name!r})")
    missing = [name for name in value.coords if name in value.dims and name not in value.xindexes]
    if missing:
        raise refuse(owner, f"its coordinate {missing[0]!r} has no index; store value.set_xindex({missing[0]!r})")
    return {name: coordinate.variable for name, coordinate in value.coords.items()}


def _checked(variables: Any) -> dict[Any, Any]:
    if type(variables) is not dict or not all(isinstance(one, xr.Variable) for one in variables.values()):
        raise ValueError("variables need names")
    return variables


def _pack_array(value: xr.DataArray) -> list[Any]:
    return [value.name, value.variable, _coordinates(value, value)]


def _unpack_array(body: Any) -> xr.DataArray:
    name, variable, coordinates = body
    if not isinstance(variable, xr.Variable):
        raise ValueError("an array needs a variable")
    if isinstance(variable, xr.IndexVariable):
        coordinate: xr.DataArray = xr.Dataset(coords=_checked(coordinates))[name]
        return coordinate
    made = xr.DataArray(variable, coords=_checked(coordinates), name=name)
    made.encoding = dict(variable.encoding)
    return made


def _pack_dataset(value: xr.Dataset) -> list[Any]:
    variables = {name: value.variables[name] for name in value.data_vars}
    return [variables, _coordinates(value, value), dict(value.attrs), dict(value.encoding)]


def _unpack_dataset(body: Any) -> xr.Dataset:
    variables, coordinates, attrs, encoding = body
    made = xr.Dataset(_checked(variables), _checked(coordinates), attrs)
    made.encoding = encoding
    return made


def _trail(parts: tuple[str, ...]) -> Any:
    def trail(value: Mapping[Any, Any], steps: list[Step]) -> list[Step]:
        return [Step("attr", parts[steps[0].value]), *steps[1:]]

    return trail


KINDS = (
    Kind(
        tag=tags.XARRAY_VARIABLE,
        types=(xr.Variable, xr.IndexVariable),
        pack=_pack_variable,
        unpack=_unpack_variable,
        trail=_trail(("dims", "data", "attrs", "encoding", "index")),
    ),
    Kind(
        tag=tags.XARRAY_ARRAY,
        types=(xr.DataArray,),
        pack=_pack_array,
        unpack=_unpack_array,
        trail=_trail(("name", "variable", "coords")),
    ),
    Kind(
        tag=tags.XARRAY_DATASET,
        types=(xr.Dataset,),
        pack=_pack_dataset,
        unpack=_unpack_dataset,
        trail=_trail(("data_vars", "coords", "attrs", "encoding")),
    ),
)
