"""How the values of one pandas column (or index, or array) are taken apart and put together.

A column becomes a description, a list that is stored as it is, and its data: an array of numbers, or an Arrow array of
text. Missing values in them are null for Arrow's other readers; what they are exactly is in the description.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from tau.late_imports import load_module
from tau.values.refusal import refuse
from tau.values.types.npy_header import same_dtype

_UNITS = ("s", "ms", "us", "ns")
_NUMBERS = re.compile(r"[|<](b1|[iu][1248]|f[248])")
_NAT = np.iinfo("i8").min
_MASKED = {
    str(dtype): dtype
    for dtype in (
        *(getattr(pd, f"{sign}Int{bits}Dtype")() for sign in ("", "U") for bits in (8, 16, 32, 64)),
        pd.Float32Dtype(), pd.Float64Dtype(), pd.BooleanDtype(),
    )
}  # fmt: skip

Parts = tuple[Any, ...]


def take(owner: Any, values: Any) -> tuple[list[Any], Parts]:
    """The description and the data of a pandas array or a one-dimensional NumPy array.

    Data is ``(numbers, missing or None)`` of NumPy arrays, or one Arrow array, or nothing.
    """
    dtype = values.dtype
    if isinstance(dtype, pd.api.extensions.ExtensionDtype):
        for cls, taken in _EXTENSIONS:
            if isinstance(dtype, cls):
                found: tuple[list[Any], Parts] = taken(owner, values, dtype)
                return found
        if isinstance(dtype, _numpy_dtype()):
            return take(owner, values.to_numpy())
        raise refuse(owner, f"its dtype {dtype} is not one that is stored; convert it with astype")
    values = np.asarray(values)
    if dtype.kind == "O":
        return _take_objects(values)
    if dtype.kind in "mM":
        ticks = np.ascontiguousarray(values).view("i8")
        return ["t" if dtype.kind == "M" else "d", np.datetime_data(dtype)[0]], (ticks, _missing(ticks == _NAT))
    if _NUMBERS.fullmatch(dtype.str) and same_dtype(dtype, np.dtype(dtype.str)):
        return ["n", dtype.str], (np.ascontiguousarray(values), None)
    return ["a", values], ()


def _missing(mask: Any) -> Any:
    return mask if mask.any() else None


def _take_objects(values: Any) -> tuple[list[Any], Parts]:
    items = values.tolist() if values.ndim == 1 else list(values)
    if set(map(type, items)) <= {str, type(None)}:
        load_module("pyarrow")
        import pyarrow as pa

        try:
            return ["o"], (pa.array(items, pa.large_string()),)
        except UnicodeEncodeError:  # a lone surrogate
            pass
    return ["l", list(values)], ()


def _take_tz(owner: Any, values: Any, dtype: Any) -> tuple[list[Any], Parts]:
    if type(dtype.tz) not in (timezone, ZoneInfo):
        kind = type(dtype.tz).__name__
        raise refuse(
            owner, f"its time zone is of type {kind}; convert it to one of datetime.timezone or zoneinfo.ZoneInfo"
        )
    ticks = values.asi8 if hasattr(values, "asi8") else np.asarray(values.view("i8"))
    return ["z", dtype.unit, dtype.tz], (np.ascontiguousarray(ticks), _missing(ticks == _NAT))


def _take_period(owner: Any, values: Any, dtype: Any) -> tuple[list[Any], Parts]:
    text = str(dtype)[len("period[") : -1]
    if pd.PeriodDtype(text) != dtype:
        raise refuse(owner, f"its frequency {dtype.freq!r} cannot be told from its name; use one of pandas' own")
    ticks = np.asarray(values.asi8)
    return ["p", text], (ticks, _missing(ticks == _NAT))


def _take_categories(owner: Any, values: Any, dtype: Any) -> tuple[list[Any], Parts]:
    codes = np.ascontiguousarray(values.codes)
    return ["c", dtype.categories, bool(dtype.ordered)], (codes, _missing(codes == -1))


def _take_interval(owner: Any, values: Any, dtype: Any) -> tuple[list[Any], Parts]:
    return ["v", values.closed, values.left, values.right], ()


def _take_masked(owner: Any, values: Any, dtype: Any) -> tuple[list[Any], Parts]:
    mask = np.array(values.isna())
    # What lies under the mask is no part of the value, and chance.
    numbers = np.where(mask, values._data.dtype.type(0), values._data)
    return ["m", str(dtype)], (numbers, _missing(mask))


def _take_string(owner: Any, values: Any, dtype: Any) -> tuple[list[Any], Parts]:
    load_module("pyarrow")
    import pyarrow as pa

    try:
        array = values._pa_array if dtype.storage == "pyarrow" else pa.array(values.to_numpy(), from_pandas=True)
        if array.type != pa.large_string():
            array = array.cast(pa.large_string())
    except UnicodeEncodeError:
        raise refuse(owner, "its text has lone surrogates; store it as a column of dtype object") from None
    return ["s", dtype.storage, dtype.na_value is pd.NA], (_one(array),)


def _take_arrow(owner: Any, values: Any, dtype: Any) -> tuple[list[Any], Parts]:
    load_module("pyarrow")
    import pyarrow as pa

    if "\0" in str(dtype.pyarrow_dtype):
        raise refuse(owner, "a name inside its Arrow type has a NUL, which pandas cuts off; rename the field")
    return ["w"], (_one(pa.chunked_array(values._pa_array)),)


def _one(array: Any) -> Any:
    load_module("pyarrow")
    import pyarrow as pa

    if not isinstance(array, pa.ChunkedArray):
        return array
    # Empty chunks may begin behind the end of their memory, and Arrow then fails to join them.
    chunks = [chunk for chunk in array.chunks if len(chunk)]
    if len(chunks) < 2:
        return chunks[0] if chunks else pa.array([], array.type)
    joined = pa.chunked_array(chunks).combine_chunks()
    return joined if not isinstance(joined, pa.ChunkedArray) else pa.concat_arrays(joined.chunks)


def _numpy_dtype() -> type:
    return type(pd.arrays.NumpyExtensionArray(np.zeros(0)).dtype)


_EXTENSIONS: tuple[tuple[Any, Any], ...] = (
    (pd.StringDtype, _take_string),
    (pd.DatetimeTZDtype, _take_tz),
    (pd.CategoricalDtype, _take_categories),
    (tuple(map(type, _MASKED.values())), _take_masked),
    (pd.PeriodDtype, _take_period),
    (pd.IntervalDtype, _take_interval),
    (pd.ArrowDtype, _take_arrow),
)


def make(description: list[Any], data: Callable[[], Any], missing: Callable[[], Any]) -> Any:
    """The pandas or NumPy array of a description.

    ``data()`` gives its numbers, which may be read-only, or for the kinds of `ARROW` its Arrow array; ``missing()`` the
    mask of what is missing. Raises `ValueError` or `TypeError` where they do not fit.
    """
    kind, *rest = description
    arguments = (data(),) if kind in WITH_DATA else ()
    return _MAKERS[kind](*rest, *arguments, *((missing(),) if kind == "m" else ()))


def _make_numbers(text: str, numbers: Any) -> Any:
    # numpy.dtype runs a parser of Python over some other texts.
    if not _NUMBERS.fullmatch(text) or numbers.dtype != np.dtype(text):
        raise ValueError("numbers of another type than they are said to be")
    return numbers


def _make_times(kind: str) -> Any:
    def make_times(unit: str, numbers: Any) -> Any:
        return _ticks(numbers).view(f"{kind}8[{known_unit(unit)}]")

    return make_times


def known_unit(unit: str) -> str:
    if unit not in _UNITS:
        raise ValueError("no unit of time")
    return unit


def _ticks(numbers: Any) -> Any:
    if numbers.dtype != np.dtype("i8"):
        raise ValueError("points in time are integers of 8 bytes")
    return numbers


def _make_tz(unit: str, tz: Any, numbers: Any) -> Any:
    naive = pd.array(_ticks(numbers).view(f"M8[{known_unit(unit)}]").copy(), dtype=f"M8[{unit}]")
    return naive.tz_localize("UTC").tz_convert(known_zone(tz))


def known_zone(tz: Any) -> tzinfo:
    if not isinstance(tz, tzinfo):  # of a text pandas would make one, looking for a package of that name
        raise ValueError("no time zone")
    return tz


def _make_period(text: str, numbers: Any) -> Any:
    return pd.arrays.PeriodArray(_ticks(numbers).copy(), dtype=pd.PeriodDtype(text))


def _make_categories(categories: Any, ordered: bool, numbers: Any) -> Any:
    if not isinstance(categories, pd.Index) or type(ordered) is not bool or numbers.dtype.kind != "i":
        raise ValueError("categories need an index and codes")
    made = pd.Categorical.from_codes(numbers, dtype=pd.CategoricalDtype(categories, ordered))
    # Where categories were renamed to more or fewer, the codes are of another width than pandas would choose.
    return made if made.codes.dtype == numbers.dtype else made._from_backing_data(np.array(numbers))


def _make_interval(closed: str, left: Any, right: Any) -> Any:
    if not isinstance(left, pd.Index) or not isinstance(right, pd.Index):
        raise ValueError("intervals need two indexes")
    return pd.arrays.IntervalArray.from_arrays(left, right, closed)


def _make_masked(text: str, numbers: Any, missing: Any) -> Any:
    cls = _MASKED[text].construct_array_type()
    return cls(np.array(numbers), np.array(missing))


def _make_string(storage: str, uses_na: bool, array: Any) -> Any:
    if storage not in ("python", "pyarrow") or type(uses_na) is not bool:
        raise ValueError("no dtype of text")
    return pd.StringDtype(storage, na_value=pd.NA if uses_na else np.nan).__from_arrow__(array)


def _make_objects(array: Any) -> Any:
    return array.to_numpy(zero_copy_only=False)


def as_objects(items: list[Any]) -> Any:
    """An array of these objects as they are: NumPy would make an array of more dimensions of some."""
    made = np.empty(len(items), object)
    for number, item in enumerate(items):
        made[number] = item
    return made


def _make_array(values: Any) -> Any:
    if type(values) is not np.ndarray or values.ndim != 1:
        raise ValueError("a column needs an array of one dimension")
    return values


def _make_arrow(array: Any) -> Any:
    return pd.arrays.ArrowExtensionArray(array)


ARROW = frozenset("osw")
"""The kinds of description whose data is an Arrow array."""

WITH_DATA = ARROW | frozenset("nmtdzpc")
"""The kinds of description that have data."""

_MAKERS: dict[str, Any] = {
    "n": _make_numbers,
    "m": _make_masked,
    "t": _make_times("M"),
    "d": _make_times("m"),
    "z": _make_tz,
    "p": _make_period,
    "c": _make_categories,
    "v": _make_interval,
    "s": _make_string,
    "o": _make_objects,
    "l": as_objects,
    "a": _make_array,
    "w": _make_arrow,
}
