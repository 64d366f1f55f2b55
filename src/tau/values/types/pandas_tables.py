"""pandas' tables, as Arrow IPC with what Arrow cannot say beside it.

In a long list the labels, descriptions and schemas that many tables have are taken apart and put together once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from msgspec import Raw, msgpack
from pandas.api.internals import create_dataframe_from_blocks

from tau.late_imports import load_module
from tau.signals import pass_on
from tau.values import tags
from tau.values.encoding import encode
from tau.values.plain import LEAVES
from tau.values.refusal import Refused, Step, refuse
from tau.values.types import pandas_columns as columns

_SERIES = pd.Series(dtype=object)  # what a column is, to those who read why it is refused
_FRAME_STATE = vars(pd.DataFrame()).keys() | vars(_SERIES).keys() | {"_item_cache", "_cacher", "_is_copy"}


def pack_frame(value: pd.DataFrame) -> list[Any]:
    labels = _labels(value.columns)
    packed = [_column(*one) for one in zip(labels, value._iter_column_arrays(), strict=True)]
    return [value.columns, value.index, *_table(value, packed, list(map(_reading, labels)))]


def _labels(index: pd.Index) -> list[Any]:
    """The labels as values; their numbers, where they are times that Python has no words for."""
    try:
        return list(index)
    except (OverflowError, NotImplementedError, ValueError) as error:  # by version and zone
        pass_on(error)
        return list(range(len(index)))


def pack_series(value: pd.Series) -> list[Any]:
    packed = [columns.take(value, _values(value))]
    return [value.name, value.index, *_table(value, packed, [_reading(value.name)])]


def _reading(label: Any) -> str:
    """How a label reads, for Arrow's other readers; nothing where it cannot be shown."""
    try:
        return str(label).encode("utf-8", "backslashreplace").decode()
    except Exception as error:
        pass_on(error)
        return ""


def _column(label: Any, values: Any) -> tuple[list[Any], Any]:
    try:
        return columns.take(_SERIES, values)
    except Refused as refused:
        raise refused.under(Step("item", label)) from None


def _values(series: Any) -> Any:
    return series.to_numpy() if isinstance(series.dtype, np.dtype) else series.array


def _table(value: Any, packed: list[tuple[list[Any], Any]], names: list[str]) -> list[Any]:
    """Descriptions, Arrow stream, attrs, whether labels may appear twice."""
    extra = [name for name in vars(value) if name not in _FRAME_STATE and name not in value._accessors]
    if extra:
        raise refuse(value, f"its attribute {extra[0]!r} would be lost; keep it in value.attrs")
    load_module("tau.values.types.arrow_bytes")
    from tau.values.types import arrow_bytes

    arrays = [(_arrow(*data), name) for (_, data), name in zip(packed, names, strict=True) if data]
    stream = arrow_bytes.write([array for array, _ in arrays], [name for _, name in arrays])
    return [[kind for kind, _ in packed], stream, dict(value.attrs), value.flags.allows_duplicate_labels]


def _arrow(data: Any, *missing: Any) -> Any:
    """The Arrow array of a piece of data, over the memory of its numbers."""
    if not missing:
        return data
    load_module("pyarrow")
    import pyarrow as pa

    data = np.ascontiguousarray(data)
    if data.dtype.kind == "b":
        return pa.array(data, mask=missing[0])
    valid = None
    if missing[0] is not None:
        valid = pa.py_buffer(np.packbits(~missing[0], bitorder="little"))
    return pa.Array.from_buffers(pa.from_numpy_dtype(data.dtype), len(data), [valid, pa.py_buffer(data)])


def unpack_frame(body: Any) -> pd.DataFrame:
    labels, index, *table = body
    if not isinstance(labels, pd.Index):
        raise ValueError("a table needs an index of its columns")
    index = _index(index)
    made = list(_columns(table[0], table[1]))
    if len(labels) != len(made) or any(len(column) != len(index) for column in made):
        raise ValueError("a table with another number of columns or rows than labels")
    if all(description[0] in columns.WITH_DATA for description in table[0]):
        return _finished(_joined(made, index, labels), *table[2:])
    numbered = {number: _exactly(column, index) for number, column in enumerate(made)}
    frame = pd.DataFrame(numbered, index=index, copy=True)
    frame.columns = labels
    return _finished(frame, *table[2:])


def _joined(made: list[Any], index: pd.Index, labels: pd.Index) -> pd.DataFrame:
    """A table of copies of columns that need no looking through: those of one dtype together, as pandas has them."""
    blocks: list[Any] = []
    alike: dict[Any, list[int]] = {}
    for number, column in enumerate(made):
        if isinstance(column, np.ndarray):
            alike.setdefault(column.dtype, []).append(number)
        else:
            blocks.append((column.copy(), np.array([number])))
    for dtype, numbers in alike.items():
        block = np.empty((len(numbers), len(index)), dtype)
        for row, number in enumerate(numbers):
            block[row] = made[number]
        blocks.append((block, np.array(numbers)))
    return create_dataframe_from_blocks(blocks, index, labels)


def _exactly(column: Any, index: pd.Index) -> Any:
    """A column that is not looked through for what its objects might better be."""
    return pd.Series(column, index, dtype=object, copy=False) if column.dtype == object else column


def unpack_series(body: Any) -> pd.Series:
    name, index, *table = body
    (column,) = _columns(table[0], table[1])
    if len(column) != len(index):
        raise ValueError("a series with another number of rows than labels")
    return _finished(pd.Series(column, index=_index(index), name=name, dtype=column.dtype, copy=True), *table[2:])


def _columns(descriptions: list[list[Any]], stream: bytes) -> Iterator[Any]:
    load_module("tau.values.types.arrow_bytes")
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


def frame_trail(value: Any, steps: list[Step]) -> list[Step]:
    place, *inside = steps
    if place.value == 2 and inside:
        if type(value) is pd.Series:
            return [Step("item", inside[2].value)] if len(inside) > 2 else inside
        return [Step("item", _labels(value.columns)[inside[0].value]), *inside[2:]]
    first = "name" if type(value) is pd.Series else "columns"
    return [Step("attr", {0: first, 1: "index", 4: "attrs"}.get(place.value, "flags")), *inside]


# Many tables, whose encodings lie one after the other in a list


def pack_many(frames: Sequence[pd.DataFrame], ordinary: Callable[[int], bytes]) -> bytes | None:
    """Their encodings; ``ordinary(number)`` gives that of one that has more than numbers and text."""
    if any(frame.size > _SMALL for frame in frames):  # there is little to gain, and memory to lose
        return None
    before: dict[str, Any] = {}
    return b"".join([_pack_next(frame, before) or ordinary(number) for number, frame in enumerate(frames)])


def _pack_next(frame: pd.DataFrame, before: dict[str, Any]) -> bytes | None:
    """The encoding of the next table, of what was found ``before`` where it is the same; ``None`` for an odd one."""
    labels, index = frame.columns, frame.index
    arrays = list(frame._iter_column_arrays())
    if frame.attrs or not (_is_usual(labels) and _is_usual(index) and all(map(_is_plain, arrays))):
        return None
    try:
        if not before or not _alike(labels, before["labels"]):
            found = _labels(labels)
            before |= {"labels": labels, "found": found, "read": list(map(_reading, found)), "columns": encode(labels)}
        if "index" not in before or not _alike(index, before["index"]):
            before |= {"index": index, "rows": encode(index)}
        packed = list(map(_column, before["found"], arrays))
        described, stream, _, duplicates = _table(frame, packed, before["read"])
    except Exception as error:  # in the ordinary way it is told where in the table the trouble lies
        pass_on(error)
        return None
    if not all(LEAVES.issuperset(map(type, one)) for one in described):
        return None
    rest = msgpack.encode(described), msgpack.encode(stream), msgpack.encode({}), msgpack.encode(duplicates)
    return msgpack.encode(msgpack.Ext(tags.FRAME, b"".join((_SIX, before["columns"], before["rows"], *rest))))


def _is_usual(index: pd.Index) -> bool:
    if index.name is not None and type(index.name) is not str:
        return False
    return type(index) in (pd.RangeIndex, pd.DatetimeIndex) or (type(index) is pd.Index and _is_plain(index))


def _is_plain(values: Any) -> bool:
    dtype = values.dtype
    return type(dtype) is pd.StringDtype if dtype.kind == "O" else isinstance(dtype, np.dtype)


def _alike(one: Any, two: Any) -> bool:
    """Whether two usual indexes are sure to be stored as the same bytes."""
    if type(one) is not type(two) or one.name != two.name:
        return False
    if type(one) is pd.RangeIndex:
        return (one.start, one.stop, one.step) == (two.start, two.stop, two.step)
    if type(one.dtype) is not pd.StringDtype or one.dtype != two.dtype or one.dtype.storage != "pyarrow":
        return False
    return bool(one.array._pa_array.equals(two.array._pa_array))


def unpack_many(data: memoryview, count: int, decode: Callable[[Any], Any]) -> list[pd.DataFrame] | None:
    """So many tables, if they are small and nothing else is among them; ``decode`` reads what is in them."""
    if len(data) > 8 * _SMALL * count:
        return None
    bodies = []
    for part in _parts(b"".join((b"\xdd", count.to_bytes(4, "big"), data))):
        whole = bytes(part)
        head = _HEADS.get(whole[:1])
        if head is None or whole[head - 1] != tags.FRAME:
            return None
        bodies.append(memoryview(whole)[head:])
    known: dict[bytes, Any] = {}
    frames = []
    for body in bodies:
        labels, index, described, *rest = _parts(body)
        again = [_again(one, known, decode) for one in (labels, index, described)]
        frames.append(unpack_frame([*again, *map(decode, rest)]))
    return frames


def _again(part: Any, known: dict[bytes, Any], decode: Callable[[Any], Any]) -> Any:
    """What a part of a table holds; as it was read before, where it cannot be changed."""
    data = bytes(part)
    found = known.get(data)
    if found is None:
        found = decode(data)
        if isinstance(found, pd.Index):
            shared = found.dtype != object and _is_usual(found)
        else:
            shared = type(found) is list and all(
                type(one) is list and LEAVES.issuperset(map(type, one)) for one in found
            )
        if not shared:
            return found
        known[data] = found
    return found.view() if isinstance(found, pd.Index) else found


_parts = msgpack.Decoder(list[Raw]).decode
_SMALL = 8192  # cells
_SIX = b"\x96"  # the header of a list of six
_HEADS = {b"\xc7": 3, b"\xc8": 4, b"\xc9": 6}  # of an extension, by its first byte: the tag comes last
