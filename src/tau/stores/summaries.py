"""Summaries as bytes: four bytes of CRC-32, little endian, then a msgpack map of the fields."""

from __future__ import annotations

from zlib import crc32

import msgspec

from tau.errors import CorruptCheckpointError
from tau.stores.contract import Query, Summary

_FIRST, _END = -62_135_596_800.0, 253_402_300_800.0  # seconds of the years that a datetime can tell

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Summary).decode


def pack(summary: Summary) -> bytes:
    body = _encode(summary)
    return crc32(body).to_bytes(4, "little") + body


def unpack(data: bytes, location: str, run_id: str | None = None) -> Summary:
    """The summary in ``data``. `CorruptCheckpointError` where it is damaged, or belongs to another run."""
    try:
        body = memoryview(data)[4:]
        if crc32(body) != int.from_bytes(data[:4], "little"):
            raise ValueError("the checksum does not match")
        summary = possible(_decode(body))
        if run_id is not None and summary.run_id != run_id:
            raise ValueError(f"it belongs to run {summary.run_id!r}")
    except (ValueError, TypeError, msgspec.DecodeError) as error:
        name = "a run" if run_id is None else f"run {run_id!r}"
        raise CorruptCheckpointError(
            f"the summary of {name} in {location} is damaged: {error}; restore the store from a backup",
            run_id=run_id or "",
            what="summary",
        ) from error
    return summary


def possible(summary: Summary) -> Summary:
    """The summary itself. `ValueError` where a time in it is none of the years 1 to 9999, or no number."""
    since = 0.0 if summary.owner is None else summary.owner.since
    for time in (summary.created, summary.updated, since, summary.deadline or 0.0):
        if not _FIRST <= time < _END:
            raise ValueError(f"it has an impossible time ({time})")
    return summary


def unreadable(run_id: str, graph: str = "") -> Summary:
    """What a listing shows of a run whose summary is damaged."""
    return Summary(run_id=run_id, graph=graph, status="damaged", position=0, base=0)


def matches(summary: Summary, query: Query) -> bool:
    """Whether `Store.select` lists this summary."""
    return (
        summary.status != "deleted"
        and query.graph in (None, summary.graph)
        and query.status in (None, summary.status)
        and (query.tag is None or query.tag in summary.tags)
    )
