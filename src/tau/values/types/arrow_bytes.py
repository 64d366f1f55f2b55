"""Arrow IPC streams of one record batch: written plainly, and read with everything checked."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from functools import lru_cache

import pyarrow as pa

_CONTINUES = b"\xff\xff\xff\xff"
_END = _CONTINUES + bytes(4)
_SHORT = 4096  # bytes of a schema that is remembered
_COMPRESSION = 3  # the number of that field in the flatbuffer table RecordBatch
_HEADER = 2  # and of the header in the table Message


def write(arrays: Sequence[pa.Array], names: Sequence[str]) -> bytes:
    """The stream of a record batch with these columns; names may appear twice."""
    batch = pa.RecordBatch.from_arrays(list(arrays), names=list(names))
    if any(map(_has_dictionary, batch.schema.types)):
        return write_batches(batch.schema, [batch])
    # The same bytes, and a writer takes ten times as long over a few rows.
    return b"".join((batch.schema.serialize(), batch.serialize(), _END))


def write_batches(schema: pa.Schema, batches: Sequence[pa.RecordBatch]) -> bytes:
    """The stream of some record batches."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def _has_dictionary(kind: pa.DataType) -> bool:
    fields = range(kind.num_fields)
    return pa.types.is_dictionary(kind) or any(_has_dictionary(kind.field(number).type) for number in fields)


def read(data: bytes) -> list[pa.Array]:
    """The columns of the one record batch in a stream. Raises ``pa.ArrowException`` or ``ValueError``."""
    batch = _read_short(data)
    if batch is None:
        _, (batch,) = read_batches(data)
    columns: list[pa.Array] = batch.columns
    return columns


def _read_short(data: bytes) -> pa.RecordBatch | None:
    """The record batch behind a short schema, which many streams have; ``None`` where the stream is of another kind."""
    if type(data) is not bytes or data[:4] != _CONTINUES:
        return None
    end = 8 + _number("<i", data, 4)
    schema = _schema(data[:end]) if 8 < end <= _SHORT else None
    if schema is None or _refuse_compressed(data, end) != 1:
        return None
    batch = pa.ipc.read_record_batch(pa.py_buffer(data).slice(end), schema)
    batch.validate(full=True)
    return batch


@lru_cache(256)
def _schema(message: bytes) -> pa.Schema | None:
    """The schema of a message; ``None`` where dictionaries come before the record batches."""
    _refuse_compressed(message)
    schema = pa.ipc.read_schema(pa.py_buffer(message))
    _check_names(schema)
    return None if any(map(_has_dictionary, schema.types)) else schema


def read_batches(data: bytes) -> tuple[pa.Schema, list[pa.RecordBatch]]:
    """The schema and the record batches of a stream, checked in full: offsets, text, dictionaries."""
    if type(data) is not bytes:
        raise ValueError("an Arrow stream is bytes")
    _refuse_compressed(data)
    with pa.ipc.open_stream(pa.py_buffer(data)) as reader:
        _check_names(reader.schema)
        batches = list(reader)
        for batch in batches:
            batch.validate(full=True)
        return reader.schema, batches


def _check_names(fields: Iterable[pa.Field]) -> None:
    """Names that are no text, which Arrow lets pass, raise `UnicodeDecodeError`."""
    for field in fields:
        if field.name is not None and field.type.num_fields:
            _check_names(field.type.field(number) for number in range(field.type.num_fields))


def _refuse_compressed(data: bytes, at: int = 0) -> int:
    """How many messages there are from here on, none of which may be compressed.

    A compressed buffer says how long it gets and would be believed; tau compresses around the stream, bounded.
    """
    messages = 0
    while data[at : at + 4] == _CONTINUES:
        size, start = _number("<i", data, at + 4), at + 8
        if size <= 0:
            break
        messages += 1
        message = start + _number("<I", data, start)
        kind = _field(data, message, 1)
        header = _field(data, message, _HEADER)
        if kind is not None and header is not None and data[kind] in (2, 3):
            table = header + _number("<I", data, header)
            if data[kind] == 2:  # a dictionary batch holds its record batch
                inner = _field(data, table, 1)
                if inner is None:
                    raise ValueError("a dictionary without values")
                table = inner + _number("<I", data, inner)
            if _field(data, table, _COMPRESSION) is not None:
                raise ValueError("an Arrow stream that is compressed inside")
        body = _field(data, message, 3)
        at = start + size + (_number("<q", data, body) if body is not None else 0)
        if not start <= at <= len(data):
            raise ValueError("an Arrow stream with a message longer than itself")
    return messages


def _field(data: bytes, table: int, number: int) -> int | None:
    """Where a field of a flatbuffer table lies, ``None`` where it is left out."""
    vtable = table - _number("<i", data, table)
    if _number("<H", data, vtable) <= 4 + 2 * number:
        return None
    offset = _number("<H", data, vtable + 4 + 2 * number)
    return table + offset if offset else None


def _number(form: str, data: bytes, at: int) -> int:
    if at < 0:
        raise ValueError("an Arrow stream that points before its beginning")
    (number,) = struct.unpack_from(form, data, at)
    return int(number)
