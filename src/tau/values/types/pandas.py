"""pandas: tables as Arrow IPC with what Arrow cannot say beside it; indexes, arrays and scalars.

Every value read is a copy of its own, which a node may change; the change is noticed like any other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from tau.values import tags
from tau.values.plain import CROWDED, crowded
from tau.values.refusal import Refused, Step, refuse
from tau.values.registry import Kind, singleton
from tau.values.types import pandas_columns as columns

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
_FRAME_STATE = (
    vars(pd.DataFrame()).keys() | vars(pd.Series(dtype=object)).keys() | {"_item_cache", "_cacher", "_is_copy"}
)


# Tables


def _pack_frame(value: pd.DataFrame) -> list[Any]:
    labels = _labels(value.columns)
    numbered = value.set_axis(pd.RangeIndex(len(labels)), axis=1)  # shares the data
    packed = [_column(label, series) for label, (_, series) in zip(labels, numbered.items(), strict=True)]
    return [value.columns, value.index, *_table(value, packed, list(map(_reading, labels)))]


def _labels(index: pd.Index) -> list[Any]:
    """The labels as values; their numbers, where they are times that Python has no words for."""
    try:
        return list(index)
    except (OverflowError, NotImplementedError, ValueError):  # by version and zone
        return list(range(len(index)))


def _pack_series(value: pd.Series) -> list[Any]:
    packed = [columns.take(value, _values(value))]
    return [value.name, value.index, *_table(value, packed, [_reading(value.name)])]


def _reading(label: Any) -> str:
    """How a label reads, for Arrow's other readers; nothing where it cannot be shown."""
    try:
        return str(label).encode("utf-8", "backslashreplace").decode()
    except Exception:
        return ""


def _column(label: Any, series: pd.Series) -> tuple[list[Any], Any]:
    try:
        return columns.take(series, _values(series))
    except Refused as refused:
        raise refused.under(Step("item", label)) from None


def _values(series: Any) -> Any:
    return series.to_numpy() if isinstance(series.dtype, np.dtype) else series.array


def _table(value: Any, packed: list[tuple[list[Any], Any]], names: list[str]) -> list[Any]:
    """Descriptions, Arrow stream, attrs, whether labels may appear twice."""
    extra = [name for name in vars(value) if name not in _FRAME_STATE and name not in value._accessors]
    if extra:
        raise refuse(value, f"its attribute {extra[0]!r} would be lost; keep it in value.attrs")
    from tau.values.types import arrow_bytes

    arrays = [(_arrow(*data), name) for (_, data), name in zip(packed, names, strict=True) if data]
    stream = arrow_bytes.write([array for array, _ in arrays], [name for _, name in arrays])
    return [[kind for kind, _ in packed], stream, dict(value.attrs), value.flags.allows_duplicate_labels]


def _arrow(data: Any, *missing: Any) -> Any:
    """The Arrow array of a piece of data, over the memory of its numbers."""
    if not missing:
        return data
    import pyarrow as pa

    data = np.ascontiguousarray(data)
    if data.dtype.kind == "b":
        return pa.array(data, mask=missing[0])
    valid = None
    if missing[0] is not None:
        valid = pa.py_buffer(np.packbits(~missing[0], bitorder="little"))
    return pa.Array.from_buffers(pa.from_numpy_dtype(data.dtype), len(data), [valid, pa.py_buffer(data)])


def _unpack_frame(body: Any) -> pd.DataFrame:
    labels, index, *table = body
    if not isinstance(labels, pd.Index):
        raise ValueError("a table needs an index of its columns")
    index = _index(index)
    made = {number: _exactly(column, index) for number, column in enumerate(_columns(table[0], table[1]))}
    frame = pd.DataFrame(made, index=index, copy=True)
    if len(labels) != len(made) or any(len(column) != len(index) for column in made.values()):
        raise ValueError("a table with another number of columns or rows than labels")
    frame.columns = labels
    return _finished(frame, *table[2:])


def _exactly(column: Any, index: pd.Index) -> Any:
    """A column that is not looked through for what its objects might better be."""
    return pd.Series(column, index, dtype=object, copy=False) if column.dtype == object else column


def _unpack_series(body: Any) -> pd.Series:
    name, index, *table = body
    (column,) = _columns(table[0], table[1])
    if len(column) != len(index):
        raise ValueError("a series with another number of rows than labels")
    return _finished(pd.Series(column, index=_index(index), name=name, dtype=column.dtype, copy=True), *table[2:])


def _columns(descriptions: list[list[Any]], stream: bytes) -> Iterator[Any]:
    from tau.values.types import arrow_bytes

    arrays = iter(arrow_bytes.read(stream))
    for description in descriptions:
        array = next(arrays) if description[0] in columns.WITH_DATA else None
        yield columns.make(description, _numbers(array, description[0]), _missing(array))


def _numbers(array: Any, kind: str) -> Callable[[], Any]:
    def numbers() -> Any:
        if kind in columns.ARROW:
            return array
        dtype = array.type.to_pandas_dtype()
        if dtype is np.bool_:
            return array.fill_null(False).to_numpy(zero_copy_only=False)
        return np.frombuffer(array.buffers()[1] or b"", dtype, len(array))

    return numbers


def _missing(array: Any) -> Callable[[], Any]:
    return lambda: array.is_null().to_numpy(zero_copy_only=False)


def _finished(value: Any, attrs: Any, duplicates: Any) -> Any:
    if type(attrs) is not dict or type(duplicates) is not bool:
        raise ValueError("a table needs attrs and flags")
    value.attrs = attrs
    return value if duplicates else value.set_flags(allows_duplicate_labels=False)


def _index(value: Any) -> pd.Index:
    if not isinstance(value, pd.Index):
        raise ValueError("a table needs an index")
    return value


def _frame_trail(value: Any, steps: list[Step]) -> list[Step]:
    place, *inside = steps
    if place.value == 2 and inside:
        if type(value) is pd.Series:
            return [Step("item", inside[2].value)] if len(inside) > 2 else inside
        return [Step("item", _labels(value.columns)[inside[0].value]), *inside[2:]]
    first = "name" if type(value) is pd.Series else "columns"
    return [Step("attr", {0: first, 1: "index", 4: "attrs"}.get(place.value, "flags")), *inside]


# Indexes and arrays


def _pack_index(value: Any) -> list[Any]:
    number = _INDEXES.index(type(value))
    if type(value) is pd.RangeIndex:
        return [number, value.name, value.start, value.stop, value.step]
    if type(value) is pd.MultiIndex:
        return [number, list(value.names), list(value.levels), [np.asarray(codes) for codes in value.codes]]
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
    except ValueError:
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
        raise ValueError(f"the values of an index make it a {type(made).__name__}")
    if frequency is not None:
        made.freq = _offset(frequency)
    return made


def _crowded(labels: Any) -> bool:
    """Whether telling if labels appear twice, as pandas does of categories, would take for ever."""
    try:
        return labels.dtype == object and crowded(labels)
    except TypeError:  # there are lists among them, which pandas does not look up
        return False


def _levels(names: Any, levels: Any, codes: list[Any]) -> pd.MultiIndex:
    made = pd.MultiIndex(levels=levels, codes=codes, names=names)
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
        from tau.values.types import arrow_bytes

        (data,) = arrow_bytes.read(data)
    elif kind in columns.ARROW:
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
    except (ValueError, TypeError):
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
    Kind(tag=tags.FRAME, types=(pd.DataFrame,), pack=_pack_frame, unpack=_unpack_frame, trail=_frame_trail),
    Kind(tag=tags.SERIES, types=(pd.Series,), pack=_pack_series, unpack=_unpack_series, trail=_frame_trail),
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
