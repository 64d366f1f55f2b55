"""xarray: variables, arrays and datasets that are in memory, with coordinates, indexes, attributes and encoding."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import prod
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import xarray as xr
from msgspec import Struct
from xarray.core.extension_array import PandasExtensionArray
from xarray.core.indexes import safe_cast_to_index
from xarray.core.indexing import ExplicitlyIndexed, PandasIndexingAdapter
from xarray.indexes import PandasIndex, PandasMultiIndex

from tau.values import tags
from tau.values.encoding import encode
from tau.values.plain import LEAVES
from tau.values.refusal import Refused, Step, refuse
from tau.values.registry import Kind
from tau.values.types.pandas_columns import as_objects

Grid = TypeVar("Grid", xr.DataArray, xr.Dataset)


def _pack_variable(value: Any) -> list[Any]:
    data = _taken(value)
    if type(data) is np.ndarray and data.dtype.kind in "OT":
        if data.dtype.metadata:
            raise refuse(value, "its dtype carries metadata, which would be lost; store value.astype(object)")
        items = [list(data.shape), data.ravel().tolist()]
        data = items if data.dtype.kind == "O" else _Text(_described(value, data.dtype), items)
    is_index = isinstance(value, xr.IndexVariable)
    return [list(value.dims), data, dict(value.attrs), _encoding(value), is_index]


def _taken(value: Any) -> Any:
    """The data of a variable: an array, or what pandas or xarray lay over one."""
    data = value._data
    if isinstance(data, PandasIndexingAdapter):
        return _labels(value)
    if isinstance(data, PandasExtensionArray):
        data = data.array
    elif isinstance(data, ExplicitlyIndexed) or value.chunks is not None:
        if not value._in_memory:
            raise refuse(value, "its data is not in memory (a file, or dask); call value.load() or value.compute()")
        data = value.data
    if not _is_data(data):
        what = "; its units go into attrs" if hasattr(data, "units") else ""
        kind = type(data).__name__
        raise refuse(value, f"its data is of type {kind}; store value.copy(data=value.to_numpy()){what}")
    return data


def _encoding(value: Any) -> dict[Any, Any]:
    """How a file was or will be written, as far as that is data."""
    encoding = dict(value.encoding)
    if not LEAVES.issuperset(map(type, encoding.values())):
        try:
            encode(encoding)
        except Refused as refused:
            refused.reason = "it says how a file is written, and is not data; store value.drop_encoding()"
            raise refused.under(Step("attr", "encoding")) from None
    return encoding


def _labels(value: Any) -> Any:
    """What leads back to both the index of a variable and its dtype: text of an index, say, is of many dtypes."""
    index, dtype = value.to_index_variable().to_index(), value.dtype
    index = index.rename(value.dims[0])  # which a level of a stacked index is not
    if PandasIndexingAdapter(index).dtype == dtype:
        return index
    if not isinstance(dtype, np.dtype):
        raise refuse(value, f"its dtype {dtype} is not its index's; store value.astype({index.dtype.name!r})")
    if dtype.kind != "T":
        plain = value.to_numpy()
        again = safe_cast_to_index(plain)
        if plain.dtype == dtype and again.dtype == index.dtype and again.equals(index):
            return plain
    return PandasIndexingAdapter(index, dtype)


def _unpack_variable(body: Any) -> Any:
    dims, data, attrs, encoding, indexed = body
    if type(data) is list:
        data = _objects(*data)
    if not _is_data(data) and type(data) is not PandasIndexingAdapter:
        raise ValueError("a variable needs an array")
    cls = xr.IndexVariable if indexed else xr.Variable
    exactly = type(data) in (np.ndarray, PandasIndexingAdapter)  # else xarray looks what it might better be
    return cls(dims, data, attrs, encoding, fastpath=exactly)


def _is_data(data: Any) -> bool:
    return type(data) is np.ndarray or isinstance(data, pd.Index | pd.api.extensions.ExtensionArray)


class _Text(Struct):
    """An array of text of variable length, taken apart: it is stored where xarray keeps labels in one only."""

    dtype: list[Any]
    items: list[Any]


def _described(owner: Any, dtype: Any) -> Any:
    """A dtype as a value; that of text of variable length as a list, of what stands in it for a missing text."""
    if dtype.kind != "T":
        return dtype
    missing = [dtype.na_object] if hasattr(dtype, "na_object") else []
    if not dtype.coerce or not all(one is None or one is pd.NA or type(one) is float for one in missing):
        raise refuse(owner, f"its dtype {dtype} is not one that comes back exactly; store value.astype(object)")
    return missing


def _dtype(described: Any) -> Any:
    if isinstance(described, np.dtype):
        return described
    if described and not (described[0] is None or described[0] is pd.NA or type(described[0]) is float):
        raise ValueError("no dtype of text")
    return np.dtypes.StringDType(na_object=described[0]) if described else np.dtypes.StringDType()


def _pack_typed(value: Any) -> list[Any]:
    if isinstance(value, _Text):
        return [value.dtype, value.items]
    return [_described(value, value.dtype), value.array]


def _unpack_typed(body: Any) -> Any:
    described, data = body
    if isinstance(data, pd.Index):
        return PandasIndexingAdapter(data, _dtype(described))
    if type(described) is not list:
        raise ValueError("an array of text needs its dtype")
    return _objects(*data).astype(_dtype(described))


def _objects(shape: Any, items: Any) -> Any:
    if type(items) is not list or prod(shape) != len(items):
        raise ValueError("an array whose size does not match its shape")
    return as_objects(items).reshape(shape)


def _indexed(owner: Any, value: Any) -> Any:
    """The names of the coordinates with an index; where that has not the dtype of its variable, as the keys of a dict
    that tells so."""
    odd = {}
    for name, index in value.xindexes.items():
        if type(index) is not PandasIndex or isinstance(index.index, pd.MultiIndex):
            stacked = isinstance(index, PandasMultiIndex)
            remedy = f"value.reset_index({name!r})" if stacked else f"value.drop_indexes({name!r}).load()"
            raise refuse(owner, f"its index {name!r} is of type {type(index).__name__}; store {remedy}")
        odd[name] = index.coord_dtype == index.index.dtype and index.coord_dtype != value.coords[name].variable.dtype
    return odd if any(odd.values()) else list(odd)


def _coordinates(variables: Any, indexed: Iterable[Any] | None) -> xr.Coordinates:
    """Coordinates of which these names have an index; by default those of a dimension's own name."""
    if type(variables) is not dict or not all(isinstance(one, xr.Variable) for one in variables.values()):
        raise ValueError("variables need names")
    if indexed is None:
        indexed = [name for name, one in variables.items() if one.dims == (name,)]
    made, indexes = dict(variables), {}
    for name in indexed:
        alone = {name: variables[name]}
        index = indexes[name] = PandasIndex.from_variables(alone, options={})
        made.update(index.create_variables(alone))
        if isinstance(indexed, dict) and indexed[name]:
            index.coord_dtype = index.index.dtype
    return xr.Coordinates(made, indexes)


def _pack_array(value: xr.DataArray) -> list[Any]:
    coordinates = {name: one.variable for name, one in value.coords.items()}
    return [value.name, value.variable, coordinates, _indexed(value, value)]


def _unpack_array(body: Any) -> xr.DataArray:
    name, variable, coordinates, *rest = body
    made = _bare(variable).assign_coords(_coordinates(coordinates, *rest or (None,))).rename(name)
    made.encoding = dict(variable.encoding)
    return _in_order(made, *rest)


def _in_order(value: Grid, indexed: Iterable[Any] | None = None) -> Grid:
    """The array or dataset with its indexes in this order; xarray puts them in that of the variables."""
    if indexed is not None and list(value.xindexes) != list(indexed):
        inside: Any = value
        inside._indexes = {name: inside._indexes[name] for name in indexed}
    return value


def _bare(variable: Any) -> xr.DataArray:
    """An array without coordinates. Of an index's own variable xarray makes none, but leaves one."""
    if not isinstance(variable, xr.IndexVariable):
        return xr.DataArray(variable, {})
    (dim,) = variable.dims
    alone: xr.DataArray = xr.Dataset(coords=_coordinates({dim: variable}, [dim]))[dim]
    return alone.drop_vars([dim])


def _pack_dataset(value: xr.Dataset) -> list[Any]:
    variables = dict(value.variables)
    return [variables, list(value.coords), dict(value.attrs), _encoding(value), _indexed(value, value)]


def _unpack_dataset(body: Any) -> xr.Dataset:
    variables, names, attrs, encoding, *indexed = body
    if not indexed:  # as it was first written: without an order, and no index but those of dimensions
        variables, names, indexed = {**variables, **names}, list(names), [None]
    made = xr.Dataset(coords=_coordinates(variables, *indexed), attrs=attrs)
    made = made.reset_coords([name for name in variables if name not in names])
    made.encoding = encoding
    return _in_order(made, *indexed)


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
    Kind(tag=tags.XARRAY_TYPED, types=(PandasIndexingAdapter, _Text), pack=_pack_typed, unpack=_unpack_typed),
)
