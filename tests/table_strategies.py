"""Strategies for pandas and pyarrow values of every kind that is stored, in every odd form they take."""

from __future__ import annotations

from datetime import UTC, timedelta, timezone
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

MAX_ROWS = 5
UNITS = ("s", "ms", "us", "ns")
ZONES = (UTC, ZoneInfo("Europe/Berlin"), ZoneInfo("UTC"), timezone(timedelta(hours=-3)), timezone(timedelta(0), "Z"))
FREQUENCIES = ("D", "h", "MS", "QS-NOV", "W-TUE", "2D", "7min", "B")
PERIODS = ("M", "D", "h", "2M", "Q-NOV", "Y")

texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=4)
any_texts = st.text(st.characters(exclude_categories=()), max_size=4)
ticks = st.integers(-(2**62), 2**62) | st.integers(-5, 5)

leaves = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), any_texts, st.binary(max_size=3), st.dates(),
    st.sampled_from([pd.NaT, pd.NA, np.nan, np.float32(1.5), np.int8(3), np.datetime64("2020"), Decimal("1.50"), 1j]),
    st.sampled_from([pd.Timestamp("2020"), pd.Timedelta("1s"), pd.Period("2020-01", "M"), pd.Interval(0, 1)]),
)  # fmt: skip
objects = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.lists(inner, max_size=3).map(tuple) | st.dictionaries(texts, inner),
    max_leaves=4,
)
names = st.one_of(
    st.none(), any_texts, st.integers(-3, 3), st.booleans(), st.tuples(texts, st.integers(0, 3)),
    st.sampled_from([1.5, np.nan, pd.NaT, pd.Timestamp("2020", tz="UTC"), b"x", np.int64(2), Decimal("1.50")]),
)  # fmt: skip
attrs = st.dictionaries(texts | st.integers(), objects, max_size=2)


def as_objects(items: list[Any]) -> Any:
    made = np.empty(len(items), object)
    for number, item in enumerate(items):
        made[number] = item
    return made


def listed(values: Any, count: int) -> Any:
    return st.lists(values, min_size=count, max_size=count)


# Columns: one-dimensional NumPy or pandas arrays of a length.

number_types = st.sampled_from(
    [np.dtype(f"{order}{kind}") for order in "<>" for kind in ("i2", "i4", "i8", "u2", "u4", "u8", "f2", "f4", "f8")]
    + [np.dtype(text) for text in ("i1", "u1", "?", "<c8", "<c16", ">c16", "q", "Q")]
)
MASKED = (
    *(f"{sign}Int{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)), "Float32", "Float64", "boolean",
)  # fmt: skip


def numbers(count: int, dtypes: Any = number_types) -> Any:
    return dtypes.flatmap(lambda dtype: arrays.arrays(dtype, count, fill=st.nothing()))


@st.composite
def masked(draw: Any, count: int) -> Any:
    cls = pd.array([], dtype=draw(st.sampled_from(MASKED))).dtype
    values = draw(arrays.arrays(cls.numpy_dtype, count, fill=st.nothing()))
    return cls.construct_array_type()(values, draw(arrays.arrays("?", count)))


@st.composite
def instants(draw: Any, count: int) -> Any:
    kind, unit = draw(st.sampled_from("mM")), draw(st.sampled_from(UNITS))
    made = np.array(draw(listed(ticks | st.just(-(2**63)), count)), "i8").view(f"{kind}8[{unit}]")
    if kind == "m":
        return draw(st.sampled_from([made, pd.array(made, dtype=made.dtype)]))
    zone = draw(st.none() | st.sampled_from(ZONES))
    return made if zone is None else pd.array(made, dtype=made.dtype).tz_localize("UTC").tz_convert(zone)


@st.composite
def periods(draw: Any, count: int) -> Any:
    dtype = pd.PeriodDtype(draw(st.sampled_from(PERIODS)))
    ordinals = draw(listed(st.integers(-100, 1000) | st.just(-(2**63)), count))
    return pd.arrays.PeriodArray(np.array(ordinals, "i8"), dtype=dtype)


@st.composite
def intervals(draw: Any, count: int) -> Any:
    closed = draw(st.sampled_from(["left", "right", "both", "neither"]))
    left = draw(numbers(count, st.sampled_from([np.dtype("i8"), np.dtype("f8"), np.dtype("M8[s]")])))
    if left.dtype.kind == "M":
        left = left.view("i8") % 1000
        left, right = left.view("M8[s]"), (left + 5).view("M8[s]")
    else:
        with np.errstate(invalid="ignore"):  # of infinity
            left = np.nan_to_num(left % 1000)
        right = left + 1
    if left.dtype.kind == "f" and count:
        left[0] = right[0] = draw(st.sampled_from([0.0, np.nan]))
    return pd.arrays.IntervalArray.from_arrays(left, right, closed)


@st.composite
def categories(draw: Any, count: int) -> Any:
    pool = draw(
        st.sampled_from(
            [
                pd.Index(["b", "a", "z"], name="kinds"), pd.Index([1.5, -0.0]), pd.Index([True, False]),
                pd.date_range("2020", periods=3, tz="Europe/Berlin"), pd.interval_range(0, 2), pd.RangeIndex(1, 7, 2),
                pd.Index([1, "a", (2,)], tupleize_cols=False), pd.RangeIndex(200), pd.Index([], dtype=object),
                pd.Index(["a", "b"], dtype=object), pd.array([1, 2], "Int64"), pd.Index([2, 1], dtype="u1"),
            ]
        )
    )  # fmt: skip
    codes = draw(listed(st.integers(-1, len(pool) - 1), count))
    return pd.Categorical.from_codes(codes, dtype=pd.CategoricalDtype(pool, draw(st.booleans())))


@st.composite
def strings(draw: Any, count: int) -> Any:
    storage, na_value = draw(st.sampled_from(["python", "pyarrow"])), draw(st.sampled_from([pd.NA, np.nan]))
    return pd.array(draw(listed(st.none() | texts, count)), pd.StringDtype(storage, na_value=na_value))


def fits_a_column(kind: Any) -> bool:
    """Of views pandas cannot take rows; what Arrow keeps under a missing map changes whenever rows are taken."""
    return not any(word in str(kind) for word in ("view", "map", "\0"))


@st.composite
def arrow_columns(draw: Any, count: int) -> Any:
    made = draw(arrow_arrays(count, nested_types.filter(fits_a_column)))
    cut = draw(st.integers(0, count))
    return pd.arrays.ArrowExtensionArray(pa.chunked_array([made[:cut], made[cut:]], made.type))


def object_columns(count: int) -> Any:
    return listed(objects, count).map(as_objects) | listed(st.none() | any_texts, count).map(as_objects)


def columns(count: int) -> Any:
    return st.one_of(
        numbers(count), masked(count), instants(count), periods(count), intervals(count), categories(count),
        strings(count), arrow_columns(count), object_columns(count),
    )  # fmt: skip


# Indexes, series and frames.


@st.composite
def simple_indexes(draw: Any, count: int) -> Any:
    values = draw(columns(count).filter(fits_an_index))
    made = pd.Index(values, dtype=values.dtype, name=draw(names), copy=False, tupleize_cols=False)
    return made


def fits_an_index(values: Any) -> bool:
    dtype = values.dtype
    if isinstance(dtype, np.dtype):
        return dtype != np.dtype("f2") and dtype.newbyteorder("<") != np.dtype("<f2")
    return not isinstance(dtype, pd.ArrowDtype) or not pa.types.is_nested(dtype.pyarrow_dtype)


@st.composite
def regular_indexes(draw: Any, count: int) -> Any:
    if draw(st.booleans()):
        step = draw(st.integers(1, 3) | st.integers(-3, -1))
        start = draw(st.integers(-9, 9))
        return pd.RangeIndex(start, start + count * step, step, name=draw(names))
    unit, zone = draw(st.sampled_from(UNITS)), draw(st.none() | st.sampled_from(ZONES))
    frequency = draw(st.sampled_from(FREQUENCIES))
    return pd.date_range("2020-03-28", periods=count, freq=frequency, unit=unit, tz=zone, name=draw(names))


def is_unique(index: Any) -> bool:
    try:
        return bool(index.is_unique)
    except (TypeError, ValueError, NotImplementedError):  # what cannot be hashed; big-endian numbers; Arrow intervals
        return False


@st.composite
def multi_indexes(draw: Any, count: int) -> Any:
    depth = draw(st.integers(1, 3))
    pools = [draw(regular_indexes(3) | simple_indexes(3).filter(is_unique)) for _ in range(depth)]
    codes = [draw(listed(st.integers(-1, 2), count)) for _ in pools]
    return pd.MultiIndex(pools, codes, names=draw(listed(names, depth)))


def indexes(count: int) -> Any:
    return simple_indexes(count) | regular_indexes(count) | multi_indexes(count)


@st.composite
def labels(draw: Any, count: int) -> Any:
    if draw(st.booleans()):
        return draw(indexes(count))
    return pd.Index(draw(listed(names, count)), dtype=object, name=draw(names), tupleize_cols=False)


def finished(draw: Any, value: Any) -> Any:
    value.attrs = draw(attrs)
    if draw(st.booleans()):
        axes = (value.index,) if isinstance(value, pd.Series) else value.axes
        return value.set_flags(allows_duplicate_labels=not all(map(is_unique, axes)))
    return value


@st.composite
def series(draw: Any) -> Any:
    count = draw(st.integers(0, MAX_ROWS))
    values = draw(columns(count))
    return finished(draw, pd.Series(values, draw(indexes(count)), dtype=values.dtype, name=draw(names)))


@st.composite
def frames(draw: Any, last: Any = None) -> Any:
    """Frames; the last column can be given, as a function of the number of rows to a strategy."""
    count, width = draw(st.integers(0, MAX_ROWS)), draw(st.integers(0, 4))
    index = draw(indexes(count))
    made = {}
    for number in range(width + (last is not None)):
        values = draw(columns(count) if last is None or number < width else last(count))
        made[number] = pd.Series(values, index, dtype=values.dtype)
    frame = pd.DataFrame(made, index)
    frame.columns = draw(labels(len(made)))
    if last is not None:
        return frame
    shapes = [lambda one: one, lambda one: one.iloc[::-1], lambda one: one.iloc[1:], lambda one: one.iloc[:, ::-1]]
    return finished(draw, draw(st.sampled_from(shapes))(frame))


@st.composite
def pandas_arrays(draw: Any) -> Any:
    return draw(columns(draw(st.integers(0, MAX_ROWS))).filter(lambda one: not isinstance(one, np.ndarray)))


pandas_values = st.one_of(frames(), series(), st.integers(0, MAX_ROWS).flatmap(indexes), pandas_arrays())


# Arrow.

instants_between = st.integers(-(2**40), 2**40)
ARROW: dict[Any, Any] = {
    pa.null(): st.none(), pa.bool_(): st.booleans(),
    **{getattr(pa, f"int{b}")(): st.integers(-(2 ** (b - 1)), 2 ** (b - 1) - 1) for b in (8, 16, 32, 64)},
    **{getattr(pa, f"uint{b}")(): st.integers(0, 2**b - 1) for b in (8, 16, 32, 64)},
    pa.float16(): st.floats(width=16).map(np.float16), pa.float32(): st.floats(width=32), pa.float64(): st.floats(),
    pa.string(): texts, pa.large_string(): texts, pa.string_view(): texts,
    pa.binary(): st.binary(max_size=3), pa.large_binary(): st.binary(max_size=20),
    pa.binary(2): st.binary(min_size=2, max_size=2),
    pa.date32(): st.dates(), pa.date64(): st.dates(),
    pa.time32("s"): st.times().map(lambda one: one.replace(microsecond=0)), pa.time64("us"): st.times(),
    pa.timestamp("s"): instants_between, pa.timestamp("us", "UTC"): instants_between,
    pa.timestamp("ns", "Europe/Berlin"): instants_between, pa.duration("ms"): instants_between,
    pa.duration("ns"): instants_between,
    pa.month_day_nano_interval(): st.tuples(st.integers(-9, 9), st.integers(-9, 9), st.integers(-9, 9)),
    pa.decimal128(5, 2): st.decimals(-999, 999, places=2), pa.decimal256(50, 0): st.integers(-9, 9).map(Decimal),
}  # fmt: skip
plain_types = st.sampled_from(list(ARROW))


def _grown(inner: Any) -> Any:
    fields = st.lists(st.tuples(texts, inner, st.booleans()), max_size=3, unique_by=lambda one: one[0])
    return st.one_of(
        inner.map(pa.list_), inner.map(pa.large_list), inner.map(lambda one: pa.list_(one, 2)), inner.map(pa.list_view),
        fields.map(lambda found: pa.struct([pa.field(name, kind) for name, kind, _ in found])),
        st.tuples(st.sampled_from([pa.string(), pa.int64()]), inner).map(lambda pair: pa.map_(*pair)),
    )  # fmt: skip


nested_types = st.recursive(plain_types, _grown, max_leaves=3)
dictionary_types = st.builds(
    pa.dictionary, st.sampled_from([pa.int8(), pa.int32(), pa.uint16()]),
    st.sampled_from([pa.string(), pa.int64(), pa.large_string(), pa.float64()]), st.booleans(),
)  # fmt: skip
arrow_types = nested_types | dictionary_types


def arrow_items(kind: Any) -> Any:
    """Python values that an Arrow array of this type is made from."""
    types = pa.types
    if kind in ARROW:
        found = ARROW[kind]
    elif types.is_dictionary(kind):
        found = ARROW[kind.value_type]
    elif types.is_fixed_size_list(kind):
        found = st.lists(arrow_items(kind.value_type), min_size=kind.list_size, max_size=kind.list_size)
    elif types.is_map(kind):
        found = st.lists(st.tuples(ARROW[kind.key_type], arrow_items(kind.item_type)), max_size=2)
    elif types.is_struct(kind):
        found = st.fixed_dictionaries({field.name: arrow_items(field.type) for field in kind.fields})
    else:
        found = st.lists(arrow_items(kind.value_type), max_size=3)
    return st.none() | found


@st.composite
def arrow_arrays(draw: Any, count: int, types: Any = arrow_types) -> Any:
    kind = draw(types)
    before, after = draw(st.integers(0, 3)), draw(st.integers(0, 2))
    made = pa.array(draw(listed(arrow_items(kind), before + count + after)), kind)
    return made[before : before + count]


counts = st.integers(0, MAX_ROWS)
metadata = st.none() | st.dictionaries(st.binary(min_size=1, max_size=3), st.binary(max_size=3), max_size=2)


@st.composite
def arrow_batches(draw: Any) -> Any:
    made = draw(listed(arrow_arrays(draw(counts)), draw(st.integers(0, 3))))
    named = [draw(texts) for _ in made]
    fields = [pa.field(name, one.type, metadata=draw(metadata)) for name, one in zip(named, made, strict=True)]
    return pa.RecordBatch.from_arrays(made, schema=pa.schema(fields, metadata=draw(metadata)))


@st.composite
def arrow_tables(draw: Any) -> Any:
    batch = draw(arrow_batches())
    pieces = [batch.slice(*draw(st.tuples(st.integers(0, batch.num_rows), counts))) for _ in range(draw(counts))]
    return pa.Table.from_batches(pieces, batch.schema)


@st.composite
def arrow_chunks(draw: Any) -> Any:
    one = draw(counts.flatmap(arrow_arrays))
    return pa.chunked_array([one[draw(counts) :] for _ in range(draw(counts))], one.type)


arrow_scalars = st.integers(1, 3).flatmap(arrow_arrays).map(lambda one: one[0])
arrow_values = st.one_of(
    counts.flatmap(arrow_arrays), arrow_chunks(), arrow_batches(), arrow_tables(), arrow_scalars,
    arrow_batches().map(lambda one: one.schema),
)  # fmt: skip
