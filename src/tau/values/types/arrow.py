"""pyarrow: tables, record batches, arrays, schemas and scalars, each as an Arrow IPC stream."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from tau.values import tags
from tau.values.refusal import refuse
from tau.values.registry import Kind
from tau.values.types import arrow_bytes


def _check(value: Any, types: Any) -> None:
    for one in types:
        if isinstance(one, pa.BaseExtensionType):
            raise refuse(value, f"its type {one} is an extension that a reader may not know; store its storage")
        _check(value, [one.field(number).type for number in range(one.num_fields)])


def _pack_table(value: pa.Table) -> bytes:
    _check(value, value.schema.types)
    return arrow_bytes.write_batches(value.schema, value.to_batches())


def _unpack_table(data: bytes) -> pa.Table:
    schema, batches = arrow_bytes.read_batches(data)
    return pa.Table.from_batches(batches, schema)


def _pack_batch(value: pa.RecordBatch) -> bytes:
    _check(value, value.schema.types)
    return arrow_bytes.write_batches(value.schema, [value])


def _unpack_batch(data: bytes) -> pa.RecordBatch:
    _, (batch,) = arrow_bytes.read_batches(data)
    return batch


def _pack_array(value: pa.Array) -> bytes:
    _check(value, [value.type])
    return arrow_bytes.write([value], ["values"])


def _unpack_array(data: bytes) -> pa.Array:
    (array,) = arrow_bytes.read(data)
    return array


def _pack_chunked(value: pa.ChunkedArray) -> bytes:
    _check(value, [value.type])
    schema = pa.schema([pa.field("values", value.type)])
    batches = [pa.RecordBatch.from_arrays([chunk], schema=schema) for chunk in value.chunks]
    return arrow_bytes.write_batches(schema, batches)


def _unpack_chunked(data: bytes) -> pa.ChunkedArray:
    (column,) = _unpack_table(data).columns
    return column


def _pack_schema(value: pa.Schema) -> bytes:
    _check(value, value.types)
    return arrow_bytes.write_batches(value, [])


def _unpack_schema(data: bytes) -> pa.Schema:
    schema, batches = arrow_bytes.read_batches(data)
    if batches:
        raise ValueError("a schema has no rows")
    return schema


def _pack_scalar(value: pa.Scalar) -> bytes:
    _check(value, [value.type])
    return arrow_bytes.write([pa.repeat(value, 1)], ["value"])


def _unpack_scalar(data: bytes) -> pa.Scalar:
    (array,) = arrow_bytes.read(data)
    if len(array) != 1:
        raise ValueError("a scalar is one value")
    return array[0]


def _below(cls: Any, without: Any) -> list[Any]:
    below: list[Any] = [
        one for one in cls.__subclasses__() if not issubclass(one, without) and one.__module__ == "pyarrow.lib"
    ]
    return [*below, *(deeper for one in below for deeper in _below(one, without))]


def _kind(tag: int, types: tuple[type, ...], pack: Any, unpack: Any) -> Kind:
    return Kind(tag=tag, types=types, pack=pack, unpack=unpack, raw=True)


KINDS = (
    _kind(tags.ARROW_TABLE, (pa.Table,), _pack_table, _unpack_table),
    _kind(tags.ARROW_BATCH, (pa.RecordBatch,), _pack_batch, _unpack_batch),
    _kind(tags.ARROW_ARRAY, tuple(_below(pa.Array, pa.ExtensionArray)), _pack_array, _unpack_array),
    _kind(tags.ARROW_CHUNKED, (pa.ChunkedArray,), _pack_chunked, _unpack_chunked),
    _kind(tags.ARROW_SCHEMA, (pa.Schema,), _pack_schema, _unpack_schema),
    _kind(tags.ARROW_SCALAR, tuple(_below(pa.Scalar, pa.ExtensionScalar)), _pack_scalar, _unpack_scalar),
)
