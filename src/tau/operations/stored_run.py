"""A run in a store, read from its first record to one position, for a copy of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple, Protocol

from tau.errors import CorruptCheckpointError
from tau.log.blobs import Blob, read_blobs
from tau.log.contained import NamedBlobs
from tau.log.encoding import unseal
from tau.log.loading import BlobLoader, emptied, not_found, was_deleted
from tau.log.records import AnyRecord
from tau.log.replay import Replay
from tau.stores.artifact_content import check, is_artifact, wrong_with
from tau.stores.artifact_copies import Piece, pieces_of
from tau.stores.contract import Store, Summary
from tau.values.types.artifact import Artifact

ENDED: Final = ("finished", "cancelled")


class Entry(NamedTuple):
    """A record, as it is sealed in its run and opened, and the blobs that it is the first to name."""

    position: int
    data: bytes
    record: AnyRecord
    blobs: Iterable[Blob]


class RunSource(Protocol):
    """What a copy of a run is made from. ``not_before`` is that of its summary."""

    run_id: str
    not_before: float | None

    def entries(self) -> Iterator[Entry]:
        """Its records in their order; the blobs of one are to be read before the next one. What was passed over is
        left out. Raises `CorruptCheckpointError` where it is damaged."""

    def pieces(self, artifact: Artifact) -> Iterable[Piece] | None:
        """What an artifact consists of; ``None`` where it is not there."""


class StoredRun:
    """See `RunSource`. It is read as it was when this was made, or at the position ``until``, while its owner goes on.

    Raises `CheckpointNotFoundError`. A file is ``missing`` that is not what its reference says.
    """

    def __init__(self, store: Store, run_id: str, until: int | None = None) -> None:
        summary = store.summary(run_id)
        if summary is None or summary.status == "deleted":
            raise not_found(run_id, store)
        if summary.base == 0:
            raise emptied(run_id, summary.status, summary.updated)
        self.store = store
        self.run_id = run_id
        self.summary: Summary = summary
        self.until = summary.position if until is None else until
        self.not_before = summary.not_before
        self.missing: dict[str, Artifact] = {}

    def entries(self) -> Iterator[Entry]:
        """See `RunSource.entries`."""
        replay, named = Replay(self.run_id, BlobLoader(self.store, self.run_id)), NamedBlobs()
        for position, data in self.store.scan(self.run_id):
            if position > self.until:
                break
            if replay.add(position, data) is not None:
                record = unseal(self.run_id, position, data)
                parts = [part for _, part in named.new_in(record)]
                yield Entry(position, data, record, read_blobs(self.store, self.run_id, parts))
        if replay.damage or replay.position != self.until or replay.progress is None:
            raise was_deleted(self.store, self.run_id) or CorruptCheckpointError(
                f"run {self.run_id!r} is damaged at its end: {replay.damage or 'records are missing'}; tau verify "
                "shows all that is, and a resume goes on from before it",
                run_id=self.run_id,
                position=replay.position,
            )
        if replay.progress.status not in ENDED:
            for cell in replay.values.values():
                if is_artifact(cell) and str((artifact := cell.open()[0]).path) in self.missing:
                    check(artifact)

    def pieces(self, artifact: Artifact) -> Iterable[Piece] | None:
        """See `RunSource.pieces`."""
        if wrong_with(artifact):
            self.missing[str(artifact.path)] = artifact
            return None
        return pieces_of(artifact)
