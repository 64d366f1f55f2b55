"""The bytes of records and blobs: magic, format, compression, checksum. ``docs/format.md`` describes them.

A record is sealed with its run id and position, so that bytes of another run, or of another place in the same run, are
damage and not data.
"""

from __future__ import annotations

import sys
from hashlib import sha256
from typing import Final

import msgspec

from tau.errors import CorruptCheckpointError, LimitExceededError, UnsupportedFormatError
from tau.log.records import Admitted, AnyRecord, CheckpointRecord, Claimed, Item, Pause, Progress, Record, Routed
from tau.signals import pass_on
from tau.values.encoding import MAX_BYTES
from tau.values.fresh_stack import with_fresh_stack

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

FORMAT: Final = 6
"""The newest format. Each record is of the oldest format that can hold what it says: 2 is for a manifest with a seed,
which a reader of format 1 would leave out of its next manifest, 3 for pauses and answers, after which it would take a
run for one that was killed, 4 for what a graph inside a node has finished, which it would take for the run's own, 5 for
a step of a chain that builds on the one before it, 6 for a manifest of a replay, which it would run with real calls."""

MAGIC: Final = b"tau"

_HEADER = len(MAGIC) + 2
_SEAL = 16
_RAW, _ZSTD = 0, 1
_SEEDED: Final = 2
_INSIDE: Final = 4
_CHAINED: Final = 5
_REPLAYS: Final = 6
_HEADS = tuple(tuple(bytes((form, kind)) for kind in (_RAW, _ZSTD)) for form in range(FORMAT + 1))
_WORTH_COMPRESSING = 4096  # below, setting up a compressor costs more than it gains
_SAMPLE = 1 << 16
_TIMES = (-62_135_596_800.0, 253_402_300_799.0)  # the years 1 to 9999

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[AnyRecord] = msgspec.msgpack.Decoder(AnyRecord)


def seal(run_id: str, record: Record) -> bytes:
    """The bytes of a record: magic, format, compression, checksum, body. Raises `LimitExceededError` for one that is
    longer than any that is read, `CorruptCheckpointError` for a count that goes on from a damaged one."""
    try:
        body = _encoder.encode(record)
    except OverflowError:
        raise CorruptCheckpointError(
            f"run {run_id!r} goes on from a record that holds a number too large to count on from; restore the store "
            "from a copy, or start a new run",
            run_id=run_id,
            position=record.position,
            what=f"a record before record {record.position}",
        ) from None
    kind = _RAW
    if len(body) > _WORTH_COMPRESSING:
        if len(body) > MAX_BYTES:
            raise LimitExceededError(
                f"a record of run {run_id!r} would take {len(body):,} bytes, at most {MAX_BYTES:,} are stored; keep "
                "fewer keys in the state",
                limit=MAX_BYTES,
                run_id=run_id,
            )
        kind, body = _squeeze(body)
    if record.__class__ is Item:  # most records of long runs
        form = _CHAINED if record.after or record.changed else record.form_at_least
    else:
        manifest = getattr(record, "manifest", None)
        form = record.form_inside if record.scope and record.form_inside > 1 else record.form_at_least
        if manifest is not None and manifest.progress.replays:
            form = _REPLAYS
        elif (
            manifest is not None and form < _INSIDE and (manifest.progress.seed is not None or manifest.progress.inside)
        ):
            form = _INSIDE if manifest.progress.inside else max(form, _SEEDED)
    head = _HEADS[form][kind]
    return b"".join((MAGIC, head, _checksum(run_id, record.position, head, body), body))


def _form_of(progress: Progress, form: int) -> int:
    """The oldest format that can hold a manifest, in a record that is of that one by itself."""
    if progress.replays:
        return _REPLAYS
    least = _INSIDE if progress.inside else _SEEDED if progress.seed is not None else 1
    return max(form, least)


def unseal(run_id: str, position: int, data: bytes) -> AnyRecord:
    """The record that those bytes hold.

    Raises `CorruptCheckpointError`, or `UnsupportedFormatError` for a newer format or an unknown kind.
    """
    if len(data) < _HEADER + _SEAL or not data.startswith(MAGIC):
        raise damaged(run_id, position, "it does not begin as a record does")
    head, body = data[len(MAGIC) : _HEADER], data[_HEADER + _SEAL :]
    if data[_HEADER : _HEADER + _SEAL] != _checksum(run_id, position, head, body):
        raise damaged(run_id, position, "its checksum does not match")
    form, kind = head
    if not 1 <= form <= FORMAT:
        raise UnsupportedFormatError(
            f"record {position} of run {run_id!r} has format {form}, this version of tau reads 1 to {FORMAT}; "
            "use the version that wrote it, or a newer one",
            found=form,
            supported=FORMAT,
        )
    if kind not in (_RAW, _ZSTD):
        raise _unknown(run_id, position, f"compression {kind}")
    try:
        record = _decoded(body if kind == _RAW else _expand(kind, body, limit=MAX_BYTES))
    except msgspec.ValidationError as error:
        raise _unknown(run_id, position, str(error)) from error
    except (RecursionError, MemoryError) as error:
        pass_on(error)
        raise damaged(run_id, position, "it asks for more than any record needs") from error
    except (ValueError, zstd.ZstdError) as error:
        pass_on(error)
        raise damaged(run_id, position, str(error)) from error
    if record.position != position:
        raise damaged(run_id, position, f"it says that it is record {record.position}")
    if not all(_TIMES[0] <= time <= _TIMES[1] for time in _times(record)):
        raise damaged(run_id, position, "it has a time that no calendar has")
    return record


def _decoded(body: bytes) -> AnyRecord:
    try:
        return _decoder.decode(body)
    except RecursionError:  # perhaps only because the caller's stack is deep
        return with_fresh_stack(_decoder.decode, body)


def _times(record: AnyRecord) -> list[float]:
    """Every time and duration in a record."""
    found = [record.time]
    if isinstance(record, CheckpointRecord | Item | Routed):
        found.append(record.seconds)
    elif isinstance(record, Claimed) and record.owner is not None:
        found += (record.owner.since, record.owner.lease)
    elif isinstance(record, Pause):
        found += (record.asked, record.deadline or 0.0)
    manifest = record.manifest if isinstance(record, CheckpointRecord | Admitted) else None
    return found if manifest is None else [*found, manifest.progress.created, manifest.progress.updated]


def pack_blob(data: bytes) -> bytes:
    """A blob as it is stored: one byte that tells the compression, then the bytes."""
    if len(data) > _WORTH_COMPRESSING:
        kind, squeezed = _squeeze(data)
        return b"%c%b" % (kind, squeezed)
    return b"%c%b" % (_RAW, data)


def unpack_blob(run_id: str, name: bytes, size: int, data: bytes) -> bytes:
    """What a stored blob holds, checked against its name and size. Raises `CorruptCheckpointError`."""
    try:
        content = _expand(data[0], data[1:], limit=size) if data else b""
    except (ValueError, MemoryError, zstd.ZstdError) as error:
        pass_on(error)
        raise _damaged_blob(run_id, name, str(error)) from error
    if len(content) != size or sha256(content).digest()[: len(name)] != name:
        raise _damaged_blob(run_id, name, "its content does not match its digest")
    return content


def _checksum(run_id: str, position: int, head: bytes, body: bytes) -> bytes:
    return sha256(b"%b\0%d\0%b%b" % (run_id.encode(), position, head, body)).digest()[:_SEAL]


def _squeeze(data: bytes) -> tuple[int, bytes]:
    """Compress what gets at least a tenth smaller, judged by its beginning where it is long."""
    if len(data) > 4 * _SAMPLE:
        sample = data[_SAMPLE : 2 * _SAMPLE]
        if len(zstd.compress(sample, 1)) > len(sample) * 0.9:
            return _RAW, data
    squeezed = zstd.compress(data, 1)
    return (_ZSTD, squeezed) if len(squeezed) < len(data) * 0.9 else (_RAW, data)


def _expand(kind: int, data: bytes, limit: int) -> bytes:
    if kind == _RAW:
        return data
    if kind != _ZSTD:
        raise ValueError(f"unknown compression {kind}")
    promised = zstd.get_frame_info(data).decompressed_size
    if promised is not None and promised > limit:
        raise ValueError(f"it expands to more than {limit} bytes")
    content = zstd.ZstdDecompressor().decompress(data, max_length=limit + 1)
    if len(content) > limit:
        raise ValueError(f"it expands to more than {limit} bytes")
    return content


def _unknown(run_id: str, position: int, why: str) -> UnsupportedFormatError:
    return UnsupportedFormatError(
        f"record {position} of run {run_id!r} is undamaged but of a kind that this version of tau does not know "
        f"({why}); use the version that wrote it, or a newer one",
        supported=FORMAT,
    )


def damaged(run_id: str, position: int, why: str) -> CorruptCheckpointError:
    return CorruptCheckpointError(
        f"record {position} of run {run_id!r} is damaged: {why}; restore the store from a copy, or start a new run",
        run_id=run_id,
        position=position,
        what=f"record {position}",
    )


def _damaged_blob(run_id: str, name: bytes, why: str) -> CorruptCheckpointError:
    return CorruptCheckpointError(
        f"blob {name.hex()} of run {run_id!r} is damaged: {why}; restore the store from a copy, or start a new run",
        run_id=run_id,
        what=f"blob {name.hex()}",
    )
