"""Polars: data frames and series as Arrow IPC streams, where that leads back to the same dtypes."""

from __future__ import annotations

from typing import Any

import polars as pl
import pyarrow as pa

from tau.signals import pass_on
from tau.values import tags
from tau.values.refusal import refuse
from tau.values.registry import Kind
from tau.values.types import arrow_bytes

_FAILURES = (pl.exceptions.PolarsError, pl.exceptions.PanicException)  # the second is not an Exception


def _pack(owner: Any, frame: pl.DataFrame) -> bytes:
    try:
        table = frame.to_arrow()
        same = _frame(table).schema == frame.schema
    except (pa.ArrowException, *_FAILURES, ValueError, TypeError) as error:
        pass_on(error)
        same = False
    if not same:
        remedy = "value.to_dicts()" if isinstance(owner, pl.DataFrame) else "value.to_list()"
        raise refuse(owner, f"one of its dtypes does not pass through Arrow unchanged; cast it, or store {remedy}")
    return arrow_bytes.write_batches(table.schema, table.combine_chunks().to_batches())


def _frame(table: pa.Table) -> pl.DataFrame:
    try:
        made = pl.from_arrow(table)
    except pl.exceptions.PanicException as error:
        raise ValueError(f"Polars does not take it: {error}") from error
    if not isinstance(made, pl.DataFrame):
        raise ValueError("no table")
    made.columns = table.column_names  # an empty name was replaced
    return made


def _unpack_frame(data: bytes) -> pl.DataFrame:
    schema, batches = arrow_bytes.read_batches(data)
    return _frame(pa.Table.from_batches(batches, schema))


def _unpack_series(data: bytes) -> pl.Series:
    (series,) = _unpack_frame(data).get_columns()
    return series


KINDS = (
    Kind(
        tag=tags.POLARS_FRAME,
        types=(pl.DataFrame,),
        pack=lambda value: _pack(value, value),
        unpack=_unpack_frame,
        raw=True,
    ),
    Kind(
        tag=tags.POLARS_SERIES,
        types=(pl.Series,),
        pack=lambda value: _pack(value, value.to_frame()),
        unpack=_unpack_series,
        raw=True,
    ),
)
