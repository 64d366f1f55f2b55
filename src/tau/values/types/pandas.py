"""pandas: tables, indexes, arrays and scalars.

Every value read is a copy of its own, which a node may change; the change is noticed like any other.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd

from tau.late_imports import load_module
from tau.signals import pass_on
from tau.values import tags
from tau.values.crowding import CROWDED, crowded
from tau.values.refusal import refuse
from tau.values.registry import Kind, singleton
from tau.values.types import pandas_columns as columns
from tau.values.types import pandas_tables as tables

# The numbers are stored; they stay.
_INDEXES: tuple[type, ...] = (
    pd.Index,
    pd.RangeIndex,
    pd.MultiIndex,
    pd.DatetimeIndex,
    pd.TimedeltaIndex,
    pd.PeriodIndex,
    pd.CategoricalIndex,
    pd.IntervalIndex,
)
_FREQUENCY = re.compile(r"-?\d*(h|min|s|ms|us|ns|bh|cbh|(?!(NS|US|MIN)$)[A-Z]+(-[A-Z0-9]+)*)")

# Indexes and arrays


def _pack_index(value: Any) -> list[Any]:
    number = _INDEXES.index(type(value))
    if type(value) is pd.RangeIndex:
        return [number, value.name, value.start, value.stop, value.step]
    if type(value) is pd.MultiIndex:
        order = [] if value.sortorder is None else [value.sortorder]
        return [number, list(value.names), list(value.levels), [np.asarray(codes) for codes in value.codes], *order]
    values = value.to_numpy() if isinstance(value.dtype, np.dtype) else value.array
    if _crowded(values):
        raise refuse(value, CROWDED, len(values))
    return [number, value.name, *_plain(value, values), _frequency(value)]


def _plain(owner: Any, values: Any) -> list[Any]:
    """Description and data of an array, data as NumPy arrays and lists, without Arrow where that is not its own."""
    description, data = columns.take(owner, values)
    if not data:
        return [description, None, None]
    if description[0] == "w":
        load_module("tau.values.types.arrow_bytes")
        from tau.values.types import arrow_bytes

        return [description, arrow_bytes.write(data, ["values"]), None]
    if description[0] in columns.ARROW:
        return [description, data[0].to_pylist(), None]
    return [description, *data]


def _frequency(value: Any) -> str | None:
    if type(value) not in (pd.DatetimeIndex, pd.TimedeltaIndex) or value.freq is None:
        return None
    text: str = value.freq.freqstr
    try:
        known = _offset(text) == value.freq
    except ValueError as error:
        pass_on(error)
        known = False
    if not known:
        raise refuse(value, f"its freq {value.freq!r} cannot be told from its name; set value.freq = None")
    return text


def _offset(text: str) -> Any:
    """The frequency of a name in its present form; of older ones pandas would warn."""
    if not _FREQUENCY.fullmatch(text):
        raise ValueError(f"no frequency: {text!r:.80}")
    return pd.tseries.frequencies.to_offset(text)


def _unpack_index(body: Any) -> Any:
    number, name, *rest = body
    cls: Any = _INDEXES[number] if type(number) is int and 0 <= number < len(_INDEXES) else None
    if cls is pd.RangeIndex:
        start, stop, step = rest
        return pd.RangeIndex(start, stop, step, name=name)
    if cls is pd.MultiIndex:
        return _levels(name, *rest)
    *data, frequency = rest
    values = _array(*data)
    if _crowded(values):
        raise ValueError(CROWDED)
    made = pd.Index(values, dtype=values.dtype, name=name, copy=False)
    if type(made) is not cls:
        raise ValueError(f"the values of an index make it {type(made).__name__}")
    if frequency is not None:
        made.freq = _offset(frequency)
    return made


def _crowded(labels: Any) -> bool:
    """Whether telling if labels appear twice, as pandas does of categories, would take for ever."""
    try:
        return labels.dtype == object and crowded(labels)
    except TypeError as error:  # there are lists among them, which pandas does not look up
        pass_on(error)
        return False


def _levels(names: Any, levels: Any, codes: list[Any], sorted_by: Any = None) -> pd.MultiIndex:
    made = pd.MultiIndex(levels=levels, codes=codes, names=names)
    if sorted_by is not None and not isinstance(sorted_by, int | np.integer):
        raise ValueError("the sortorder of an index is a number")
    made.sortorder = sorted_by
    found: Any = made.codes
    if [one.dtype for one in found] != [one.dtype for one in codes]:
        # Levels were set to more or fewer labels, and the codes are of another width than pandas would choose.
        if not all(one.dtype.kind == "i" for one in codes):
            raise ValueError("codes are integers")
        made._codes = type(found)(codes)
    return made


def _array(description: list[Any], data: Any, missing: Any) -> Any:
    kind = description[0]
    if kind == "w":
        load_module("tau.values.types.arrow_bytes")
        from tau.values.types import arrow_bytes

        (data,) = arrow_bytes.read(data)
    elif kind in columns.ARROW:
        load_module("pyarrow")
        import pyarrow as pa

        data = pa.array(data, pa.large_string())
    elif kind in columns.WITH_DATA and (type(data) is not np.ndarray or data.ndim != 1):
        raise ValueError("values need an array of one dimension")
    return columns.make(description, lambda: data, lambda: np.zeros(len(data), "?") if missing is None else missing)


def _pack_array(value: Any) -> list[Any]:
    if type(value) is pd.arrays.NumpyExtensionArray:
        raise refuse(value, "an array of NumPy's own dtype; store value.to_numpy()")
    return _plain(value, value)


def _unpack_array(body: Any) -> Any:
    description, data, missing = body
    values = _array(description, data, missing)
    if isinstance(values, np.ndarray):
        return pd.array(np.array(values), dtype=values.dtype, copy=False)
    return values.copy()


# Scalars


def _pack_timestamp(value: pd.Timestamp) -> list[Any]:
    body = [value.unit, int(value.asm8.view("i8")), value.tzinfo, value.fold]
    try:
        made = _unpack_timestamp(body)
    except (ValueError, TypeError) as error:
        pass_on(error)
        made = None
    if made is None or (made.fold, made.tzinfo) != (value.fold, value.tzinfo) or made != value:
        raise refuse(value, "its time zone and fold do not lead back to it; store it in UTC")
    return body


def _unpack_timestamp(body: Any) -> pd.Timestamp:
    unit, number, zone, fold = body
    value = pd.Timestamp(np.array(number, f"M8[{columns.known_unit(unit)}]")[()])
    if zone is None:
        return value.replace(fold=fold) if fold else value
    return value.tz_localize("UTC").tz_convert(columns.known_zone(zone))


def _pack_timedelta(value: pd.Timedelta) -> list[Any]:
    return [value.unit, int(value.asm8.view("i8"))]


def _unpack_timedelta(body: Any) -> pd.Timedelta:
    unit, number = body
    return pd.Timedelta(np.array(number, f"m8[{columns.known_unit(unit)}]")[()])


def _pack_period(value: pd.Period) -> list[Any]:
    if pd.Period(ordinal=value.ordinal, freq=value.freqstr).freq != value.freq:
        raise refuse(value, f"its frequency {value.freq!r} cannot be told from its name; use one of pandas' own")
    return [value.freqstr, int(value.ordinal)]


def _unpack_period(body: Any) -> pd.Period:
    frequency, ordinal = body
    if type(frequency) is not str or type(ordinal) is not int:
        raise ValueError("a period needs a frequency and a number")
    return pd.Period(ordinal=ordinal, freq=frequency)


def _unpack_interval(body: Any) -> Any:
    left, right, closed = body
    return pd.Interval(left, right, closed)


_ARRAYS: tuple[type, ...] = (
    pd.Categorical,
    pd.arrays.DatetimeArray,
    pd.arrays.TimedeltaArray,
    pd.arrays.PeriodArray,
    pd.arrays.IntervalArray,
    pd.arrays.IntegerArray,
    pd.arrays.FloatingArray,
    pd.arrays.BooleanArray,
    pd.arrays.StringArray,
    pd.arrays.ArrowStringArray,
    pd.arrays.ArrowExtensionArray,
    pd.arrays.NumpyExtensionArray,
)

KINDS = (
    Kind(
        tag=tags.FRAME,
        types=(pd.DataFrame,),
        pack=tables.pack_frame,
        unpack=tables.unpack_frame,
        trail=tables.frame_trail,
        pack_many=tables.pack_many,
        unpack_many=tables.unpack_many,
    ),
    Kind(
        tag=tags.SERIES,
        types=(pd.Series,),
        pack=tables.pack_series,
        unpack=tables.unpack_series,
        trail=tables.frame_trail,
    ),
    Kind(tag=tags.INDEX, types=_INDEXES, pack=_pack_index, unpack=_unpack_index),
    Kind(tag=tags.COLUMN, types=_ARRAYS, pack=_pack_array, unpack=_unpack_array),
    Kind(tag=tags.TIMESTAMP, types=(pd.Timestamp,), pack=_pack_timestamp, unpack=_unpack_timestamp, atom=True),
    Kind(tag=tags.TIMEDELTA, types=(pd.Timedelta,), pack=_pack_timedelta, unpack=_unpack_timedelta, atom=True),
    Kind(tag=tags.PERIOD, types=(pd.Period,), pack=_pack_period, unpack=_unpack_period, atom=True),
    Kind(
        tag=tags.INTERVAL,
        types=(pd.Interval,),
        pack=lambda value: [value.left, value.right, value.closed],
        unpack=_unpack_interval,
        atom=True,
    ),
    singleton(tags.NAT, pd.NaT),
    singleton(tags.NA, pd.NA),
)
