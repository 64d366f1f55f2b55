"""xarray: variables, arrays and datasets that are in memory, with coordinates, indexes, attributes and encoding."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import prod
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from xarray.core.extension_array import PandasExtensionArray
from xarray.core.indexing import PandasIndexingAdapter
from xarray.indexes import PandasIndex

from tau.values import tags
from tau.values.refusal import Step, refuse
from tau.values.registry import Kind
from tau.values.types.pandas_columns import as_objects


def _pack_variable(value: Any) -> list[Any]:
    data = value._data
    if isinstance(data, PandasIndexingAdapter):
        # The index keeps its frequency, but not every dtype: text of fixed width becomes objects.
        index = value.to_index_variable().to_index()
        if index.dtype != value.dtype and not isinstance(value.dtype, np.dtype):
            raise refuse(value, f"its dtype {value.dtype} is not its index's; store value.astype({index.dtype.name!r})")
        data = index if index.dtype == value.dtype else value.to_numpy()
    elif isinstance(data, PandasExtensionArray):
        data = data.array
    elif not isinstance(data, pd.api.extensions.ExtensionArray):
        if not value._in_memory:
            raise refuse(value, "its data is not in memory (a file, or dask); call value.load() or value.compute()")
        data = value.data
    if not _is_data(data):
        raise refuse(value, f"its data is a {type(data).__name__}; store value.copy(data=value.to_numpy())")
    if type(data) is np.ndarray and data.dtype.kind == "O":
        if data.dtype.metadata:
            raise refuse(value, "its dtype carries metadata, which would be lost; store value.astype(object)")
        data = [list(data.shape), data.ravel().tolist()]
    is_index = isinstance(value, xr.IndexVariable)
    return [list(value.dims), data, dict(value.attrs), dict(value.encoding), is_index]


def _unpack_variable(body: Any) -> Any:
    dims, data, attrs, encoding, indexed = body
    if type(data) is list:
        data = _objects(*data)
    if not _is_data(data):
        raise ValueError("a variable needs an array")
    cls = xr.IndexVariable if indexed else xr.Variable
    exactly = type(data) is np.ndarray  # else xarray would look through it for what it might better be
    return cls(dims, data, attrs, encoding, fastpath=exactly)


def _is_data(data: Any) -> bool:
    return type(data) is np.ndarray or isinstance(data, pd.Index | pd.api.extensions.ExtensionArray)


def _objects(shape: Any, items: Any) -> Any:
    if type(items) is not list or prod(shape) != len(items):
        raise ValueError("an array whose size does not match its shape")
    return as_objects(items).reshape(shape)


def _indexed(owner: Any, value: Any) -> list[Any]:
    """The names of the coordinates with an index."""
    for name, index in value.xindexes.items():
        if type(index) is not PandasIndex or isinstance(index.index, pd.MultiIndex):
            raise refuse(owner, f"its index {name!r} is a {type(index).__name__}; store value.reset_index({name!r})")
    return list(value.xindexes)


def _coordinates(variables: Any, indexed: Iterable[Any] | None) -> xr.Coordinates:
    """Coordinates of which these names have an index; by default those of a dimension's own name."""
    if type(variables) is not dict or not all(isinstance(one, xr.Variable) for one in variables.values()):
        raise ValueError("variables need names")
    if indexed is None:
        indexed = [name for name, one in variables.items() if one.dims == (name,)]
    made, indexes = dict(variables), {}
    for name in indexed:
        alone = {name: variables[name]}
        indexes[name] = PandasIndex.from_variables(alone, options={})
        made.update(indexes[name].create_variables(alone))
    return xr.Coordinates(made, indexes)


def _pack_array(value: xr.DataArray) -> list[Any]:
    coordinates = {name: one.variable for name, one in value.coords.items()}
    return [value.name, value.variable, coordinates, _indexed(value, value)]


def _unpack_array(body: Any) -> xr.DataArray:
    name, variable, coordinates, *rest = body
    made = _bare(variable).assign_coords(_coordinates(coordinates, *rest or (None,))).rename(name)
    made.encoding = dict(variable.encoding)
    return made


def _bare(variable: Any) -> xr.DataArray:
    """An array without coordinates. Of an index's own variable xarray makes none, but leaves one."""
    if not isinstance(variable, xr.IndexVariable):
        return xr.DataArray(variable, {})
    (dim,) = variable.dims
    alone: xr.DataArray = xr.Dataset(coords=_coordinates({dim: variable}, [dim]))[dim]
    return alone.drop_vars([dim])


def _pack_dataset(value: xr.Dataset) -> list[Any]:
    variables = dict(value.variables)
    return [variables, list(value.coords), dict(value.attrs), dict(value.encoding), _indexed(value, value)]


def _unpack_dataset(body: Any) -> xr.Dataset:
    variables, names, attrs, encoding, *indexed = body
    if not indexed:  # as it was first written: without an order, and no index but those of dimensions
        variables, names, indexed = {**variables, **names}, list(names), [None]
    made = xr.Dataset(coords=_coordinates(variables, *indexed), attrs=attrs)
    made = made.reset_coords([name for name in variables if name not in names])
    made.encoding = encoding
    return made


def _trail(parts: tuple[str, ...]) -> Any:
    def trail(value: Mapping[Any, Any], steps: list[Step]) -> list[Step]:
        return [Step("attr", parts[steps[0].value]), *steps[1:]]

    return trail


def _dataset_trail(value: xr.Dataset, steps: list[Step]) -> list[Step]:
    place, *inside = steps
    variables = "coords" if inside and inside[0].value in value.coords else "data_vars"
    return [Step("attr", (variables, "coords", "attrs", "encoding", "xindexes")[place.value]), *inside]


def _unpack_index(body: Any) -> Any:
    items, name = body
    cls: Any = xr.CFTimeIndex
    return cls(_objects([len(items)], items), name=name)


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
        trail=_trail(("name", "variable", "coords", "xindexes")),
    ),
    Kind(
        tag=tags.XARRAY_DATASET,
        types=(xr.Dataset,),
        pack=_pack_dataset,
        unpack=_unpack_dataset,
        trail=_dataset_trail,
    ),
    Kind(
        tag=tags.CFTIME_INDEX,
        types=(xr.CFTimeIndex,),
        pack=lambda value: [value.tolist(), value.name],
        unpack=_unpack_index,
    ),
)
