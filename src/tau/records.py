"""The records of a run's log: what they hold, their bytes, and what a sequence of them adds up to.

The bytes are described in ``docs/format.md``. A record is sealed with its run id and position, so that bytes of another
run, or of another place in the same run, are damage and not data.
"""

from __future__ import annotations

import hashlib
import sys
from typing import Any, Final

import msgspec
from msgspec import Struct, field

from tau.cells import Cell, Fetch, Stored, apply
from tau.errors import CorruptCheckpointError, UnsupportedFormatError
from tau.fingerprint import GraphFingerprint
from tau.stores.contract import Owner

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

FORMAT: Final = 1
MAGIC: Final = b"tau"
PATH_LIMIT: Final = 1000
"""How many of the newest visits a run's path keeps."""

_HEADER = len(MAGIC) + 2
_SEAL = 16
_RAW, _ZSTD = 0, 1
_WORTH_COMPRESSING = 1024
_SAMPLE = 1 << 16

Scope = tuple[tuple[str, int, str], ...]


class Progress(Struct):
    """How far a run is: everything that resume needs but the values."""

    graph: str
    fingerprint: GraphFingerprint | None = None
    input_digest: bytes = b""
    parent: str | None = None
    tags: tuple[str, ...] = ()
    created: float = 0.0
    iteration: int = 0
    node: str | None = None
    next: str | None = None
    updated: float = 0.0
    visits: dict[str, int] = field(default_factory=dict)
    path: list[str] = field(default_factory=list)
    taken: set[tuple[str, str]] = field(default_factory=set)
    status: str = "running"
    crashes: int = 0
    items: int = 0
    keep: bool = True


class Manifest(Struct, array_like=True):
    """Everything at once: the progress and where each value lies. Resume needs no record before it."""

    progress: Progress
    values: dict[str, Stored]


class Failure(Struct, frozen=True):
    """An error as it is kept: its type, text and frames, never the object."""

    type: str
    text: str
    frames: tuple[tuple[str, int, str], ...] = ()


class Record(Struct, array_like=True):
    """What all records begin with; the journal fills these in."""

    position: int = 0
    token: bytes = b""
    time: float = 0.0
    scope: Scope = ()


class Admitted(Record, tag="admitted"):
    """A run begins, with this input, under this graph; or, later in a log, its state was replaced by hand."""

    manifest: Manifest | None = None
    provenance: dict[str, str] = field(default_factory=dict)


class Claimed(Record, tag="claimed"):
    """An owner takes the run. ``fingerprint`` is given where it differs from the one before; ``rewind`` where it goes
    on after that position because something later was damaged."""

    owner: Owner | None = None
    fingerprint: GraphFingerprint | None = None
    on_change: str = "error"
    changes: tuple[str, ...] = ()
    rewind: int | None = None


class CheckpointRecord(Record, tag="checkpoint"):
    """A visit of a node is finished: what changed, and which node comes next (``None`` after an exit point)."""

    node: str = ""
    visit: int = 1
    iteration: int = 1
    attempt: int = 1
    next: str | None = None
    changed: dict[str, Stored] = field(default_factory=dict)
    removed: tuple[str, ...] = ()
    seconds: float = 0.0
    manifest: Manifest | None = None


class Planned(Record, tag="planned"):
    """The items that a node is going to work through."""

    name: str = ""
    keys: tuple[str, ...] = ()
    body: dict[str, Any] = field(default_factory=dict)


class Item(Record, tag="item"):
    """An item of the node in flight is finished, with this result."""

    name: str = ""
    key: str = ""
    value: Stored | None = None
    seconds: float = 0.0
    body: dict[str, Any] = field(default_factory=dict)


class Pause(Record, tag="pause"):
    """The run waits for an answer to this question."""

    name: str = ""
    value: Stored | None = None
    body: dict[str, Any] = field(default_factory=dict)


class Answer(Record, tag="answer"):
    """The answer to a pause."""

    name: str = ""
    value: Stored | None = None
    body: dict[str, Any] = field(default_factory=dict)


class Failed(Record, tag="failed"):
    """The run failed at this node."""

    node: str = ""
    failure: Failure | None = None
    attempt: int = 1


class Interrupted(Record, tag="interrupted"):
    """The run was stopped before this node."""

    node: str = ""
    reason: str = ""


class Cancelled(Record, tag="cancelled"):
    """The run was ended for good."""

    reason: str = ""


class Finished(Record, tag="finished"):
    """The run reached this exit point."""

    node: str = ""


class Intent(Record, tag="intent"):
    """Reserved: an outside effect is about to happen."""

    name: str = ""
    body: dict[str, Any] = field(default_factory=dict)


class EffectDone(Record, tag="effect"):
    """Reserved: an outside effect happened."""

    name: str = ""
    body: dict[str, Any] = field(default_factory=dict)


class Message(Record, tag="message"):
    """Reserved: a message between runs."""

    name: str = ""
    body: dict[str, Any] = field(default_factory=dict)


AnyRecord = (
    Admitted | Claimed | CheckpointRecord | Planned | Item | Pause | Answer | Failed | Interrupted | Cancelled
    | Finished | Intent | EffectDone | Message
)  # fmt: skip

_STATUS: Final[dict[type[Record], str]] = {
    Pause: "waiting",
    Failed: "failed",
    Interrupted: "interrupted",
    Cancelled: "cancelled",
    Finished: "finished",
}

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[AnyRecord] = msgspec.msgpack.Decoder(AnyRecord)


def seal(run_id: str, record: Record) -> bytes:
    """The bytes of a record: magic, format, compression, checksum, body."""
    body = _encoder.encode(record)
    kind = _RAW
    if len(body) > _WORTH_COMPRESSING:
        kind, body = _squeeze(body)
    return b"%b%c%c%b%b" % (MAGIC, FORMAT, kind, _checksum(run_id, record.position, FORMAT, kind, body), body)


def unseal(run_id: str, position: int, data: bytes) -> AnyRecord:
    """The record that those bytes hold.

    Raises `CorruptCheckpointError`, or `UnsupportedFormatError` for a newer format or an unknown kind.
    """
    if len(data) < _HEADER + _SEAL or not data.startswith(MAGIC):
        raise _damaged(run_id, position, "it does not begin as a record does")
    form, kind, body = data[len(MAGIC)], data[len(MAGIC) + 1], data[_HEADER + _SEAL :]
    if data[_HEADER : _HEADER + _SEAL] != _checksum(run_id, position, form, kind, body):
        raise _damaged(run_id, position, "its checksum does not match")
    if form != FORMAT:
        raise UnsupportedFormatError(
            f"record {position} of run {run_id!r} has format {form}, this version of tau reads {FORMAT}; "
            "use the version that wrote it, or a newer one",
            found=form,
            supported=FORMAT,
        )
    try:
        return _decoder.decode(_expand(kind, body, limit=1 << 31))
    except (msgspec.MsgspecError, ValueError, zstd.ZstdError) as error:
        raise UnsupportedFormatError(
            f"record {position} of run {run_id!r} is sound but of a kind that this version of tau does not know "
            f"({error}); use the version that wrote it, or a newer one",
            supported=FORMAT,
        ) from error


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
    except (ValueError, zstd.ZstdError) as error:
        raise _damaged_blob(run_id, name, str(error)) from error
    if len(content) != size or hashlib.sha256(content).digest()[: len(name)] != name:
        raise _damaged_blob(run_id, name, "its content does not match its digest")
    return content


class Fold:
    """What a log adds up to, record by record from a manifest on.

    Records after a damaged one are passed over until a claim that goes on from ``applied``, the last sound position;
    while they are, ``damage`` says what is wrong. ``since_base`` and ``weight`` count records and bytes after ``base``.
    """

    def __init__(self, run_id: str, fetch: Fetch) -> None:
        self.run_id = run_id
        self.fetch = fetch
        self.progress: Progress | None = None
        self.values: dict[str, Cell] = {}
        self.position = self.applied = self.base = self.since_base = self.weight = 0
        self.damage = ""

    def add(self, position: int, data: bytes) -> AnyRecord | None:
        """Apply one record; ``None`` where it is passed over. Raises where the very first one is damaged."""
        self.position = position
        try:
            record = unseal(self.run_id, position, data)
        except CorruptCheckpointError as error:
            if self.progress is None:
                raise
            self.damage = self.damage or str(error)
            return None
        if self.damage:
            if not (isinstance(record, Claimed) and record.rewind == self.applied):
                return None
            self.damage = ""
        manifest = record.manifest if isinstance(record, Admitted | CheckpointRecord) else None
        if self.progress is None or isinstance(record, Admitted):
            if manifest is None:
                raise _damaged(self.run_id, position, "it should hold a manifest and does not")
            self.progress = manifest.progress
            self.values = {key: apply(stored, None, self.fetch) for key, stored in manifest.values.items()}
            if isinstance(record, Admitted):
                self.progress.status = "admitted"
        else:
            _apply(record, self.progress, self.values, self.fetch)
        self.applied = position
        self.since_base, self.weight = self.since_base + 1, self.weight + len(data)
        if manifest is not None:
            self.base, self.since_base, self.weight = position, 0, 0
        return record


def _apply(record: AnyRecord, progress: Progress, values: dict[str, Cell], fetch: Fetch) -> None:
    if isinstance(record, CheckpointRecord):
        values.update({key: apply(stored, values.get(key), fetch) for key, stored in record.changed.items()})
        for key in record.removed:
            values.pop(key, None)
        advance(progress, record.node, record.visit, record.next)
        progress.updated = record.time
        progress.crashes = 0
        progress.items = 0
    elif isinstance(record, Claimed):
        progress.crashes = progress.crashes + 1 if progress.status == "running" else 0
        progress.status = "running"
        if record.fingerprint is not None:
            progress.fingerprint = record.fingerprint
        if record.on_change == "redo":
            progress.items = 0
    elif isinstance(record, Item):
        progress.items += 1
    progress.status = _STATUS.get(type(record), "running")


def advance(progress: Progress, node: str, visit: int, following: str | None) -> None:
    """Note that a visit of ``node`` is finished and which node comes next."""
    progress.iteration += 1
    progress.node = node
    progress.next = following
    progress.visits[node] = visit
    progress.path.append(node)
    if len(progress.path) > 2 * PATH_LIMIT:
        del progress.path[:-PATH_LIMIT]
    if following is not None:
        progress.taken.add((node, following))


def _checksum(run_id: str, position: int, form: int, kind: int, body: bytes) -> bytes:
    return hashlib.sha256(b"%b\0%d\0%c%c%b" % (run_id.encode(), position, form, kind, body)).digest()[:_SEAL]


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
    content = zstd.ZstdDecompressor().decompress(data, max_length=limit + 1)
    if len(content) > limit:
        raise ValueError(f"it expands to more than {limit} bytes")
    return content


def _damaged(run_id: str, position: int, why: str) -> CorruptCheckpointError:
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
