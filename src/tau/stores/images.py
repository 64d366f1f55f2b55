"""Images: one run's log as one piece of bytes, which is what a state carries into a store of a user's own."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from tau.engine.saved_state import saving
from tau.errors import CorruptCheckpointError, UnsupportedFormatError
from tau.host import Host
from tau.late_imports import load_module
from tau.log.chained import all_cells
from tau.log.encoding import unpack_blob
from tau.log.journal import Journal
from tau.log.loading import LoadedRun
from tau.log.replay import Replay
from tau.node.kept_state import shown
from tau.state import State, view
from tau.state_changes import changed_in_place
from tau.stores.contract import Batch, PositionConflict, Store, Summary
from tau.values.stored import Blobs, Part

MAGIC: Final = b"tau-state"
FORMAT: Final = 1


class Image(Struct, frozen=True):
    """A run from its newest manifest on: the summary, the records with their positions, the blobs they need."""

    summary: Summary
    records: tuple[tuple[int, bytes], ...] = ()
    blobs: dict[bytes, bytes] = {}


def appended(image: Image | None, batch: Batch) -> Image:
    """The image after a commit; raises `PositionConflict`. What only older manifests need is left out."""
    position = image.summary.position if image is not None else 0
    # A run that was deleted and begun anew may be at a position that its earlier owner expects, but not of his time.
    anew = image is not None and image.summary.created != batch.summary.created
    if batch.expected != position or anew:
        raise PositionConflict(batch.run_id, batch.expected, position)
    old = image.records if image is not None else ()
    new = tuple((position + 1 + index, record) for index, record in enumerate(batch.records))
    records = tuple(row for row in (*old, *new) if row[0] >= batch.summary.base)
    blobs = {**(image.blobs if image is not None else {}), **dict(batch.blobs)}
    return Image(batch.summary, records, blobs)


def to_state(image: Image) -> State:
    """The newest state of the run, carrying the image."""
    run_id = image.summary.run_id

    def fetch(parts: Iterable[Part]) -> Mapping[bytes, bytes]:
        return {
            part.digest: unpack_blob(run_id, part.digest, part.size, image.blobs[part.digest])
            for part in parts
            if part.digest in image.blobs
        }

    replay = Replay(run_id, fetch)
    for position, data in image.records:
        replay.add(position, data)
    if replay.progress is None or replay.damage:
        raise CorruptCheckpointError(
            f"the state of run {run_id!r} is damaged: {replay.damage or 'it has no records'}; restore it from a copy, "
            "or start a new run",
            run_id=run_id,
        )
    cells = [*replay.values.values(), *(one for item in replay.items.cells() for one in all_cells(item))]
    needed = {part.digest for cell in cells if isinstance(cell.whole, Blobs) for part in cell.whole.parts}
    kept = {name: data for name, data in image.blobs.items() if name in needed}
    state = view(
        shown(replay.values, replay.items.single),
        run_id,
        replay.progress.node,
        replay.progress.updated or replay.progress.created,
    )
    state._image = Image(image.summary, image.records, kept)
    return state


def image_of(state: State) -> Image:
    """The image that a state carries; for one made or changed by hand, that of a run which starts with it."""
    if isinstance(state._image, Image) and not changed_in_place(state):
        return state._image
    host = Host()
    journal = Journal(_NOWHERE, state.run_id, host, host.owner(0.0), interval=1)
    return appended(None, saving(journal, state, LoadedRun("deleted", 0)))


def save_in(store: Any, state: State) -> None:
    """See `State.checkpoint`."""
    load_module("tau.stores.registry")
    from tau.stores.registry import resolve_store

    resolve_store(store).save(state)


def state_to_bytes(state: State) -> bytes:
    """See `State.to_bytes`."""
    body = msgspec.msgpack.encode(image_of(state))
    return b"%b%c%b%b" % (MAGIC, FORMAT, hashlib.sha256(body).digest(), body)


def state_from_bytes(data: bytes) -> State:
    """See `State.from_bytes`."""
    if not isinstance(data, bytes | bytearray | memoryview):
        raise CorruptCheckpointError(
            f"a state is read from bytes, found {type(data).__name__}: give the bytes that State.to_bytes() made"
        )
    data = bytes(data)
    start = len(MAGIC) + 1
    body = data[start + 32 :]
    if not data.startswith(MAGIC) or len(data) < start + 32:
        raise CorruptCheckpointError(
            "these bytes are not a state: they do not begin as State.to_bytes() does; give back all that it made"
        )
    if data[start - 1] != FORMAT:
        raise UnsupportedFormatError(
            f"this state has format {data[start - 1]}, this version of tau reads {FORMAT}; use a newer version",
            found=data[start - 1],
            supported=FORMAT,
        )
    if hashlib.sha256(body).digest() != data[start : start + 32]:
        raise CorruptCheckpointError(
            "these bytes are a damaged state: their checksum does not match; restore them from a copy, or start a "
            "new run"
        )
    try:
        image = msgspec.msgpack.decode(body, type=Image)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise UnsupportedFormatError(
            f"these bytes are undamaged, but not a state that this version of tau knows ({error}); use the version "
            "that made them, or a newer one",
            supported=FORMAT,
        ) from error
    return to_state(image)


_NOWHERE: Store = None  # type: ignore[assignment]
