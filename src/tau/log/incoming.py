"""A run that is put into a store record by record, a copy, an import or a fork, and is seen once it is complete."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from tau.errors import CorruptCheckpointError, RunExistsError, StoreError, StoreUnavailableError
from tau.host import Host
from tau.log.encoding import seal
from tau.log.loading import BlobLoader
from tau.log.pauses import at_a_glance
from tau.log.records import AnyRecord, Claimed, Progress
from tau.log.replay import Replay
from tau.stores.artifact_copies import ArtifactCopies
from tau.stores.contract import Batch, PositionConflict, Store, Summary

PART: Final = 8 << 20
"""About so many bytes are committed at a time."""


class Incoming:
    """Seals records for a run of that id, and commits them, in parts if there is much.

    All parts but the last say that the run is deleted, so nobody sees it before it is complete. What an import leaves
    that was killed is removed when the id is used again. ``at_once``: the first record is committed before another is
    added, so that a store that takes none is known. Raises `RunExistsError` for an id that is in use.
    """

    def __init__(self, store: Store, run_id: str, host: Host, *, at_once: bool = False) -> None:
        self.store = store
        self.run_id = run_id
        self.host = host
        self._at_once = at_once
        self.start = self._end = self._free()
        self.nonce = host.token().hex()
        self._parts = 0
        self._records: list[bytes] = []
        self._blobs: list[tuple[bytes, bytes]] = []
        self._weight = 0
        self._updated = 0.0
        self._replay = Replay(run_id, BlobLoader(store, run_id))

    @property
    def progress(self) -> Progress:
        """How far the run is by what was added."""
        assert self._replay.progress is not None
        return self._replay.progress

    @property
    def replay(self) -> Replay:
        """What the records add up to that were added."""
        return self._replay

    def add(self, record: AnyRecord, blobs: Iterable[tuple[bytes, bytes]] = ()) -> None:
        """Append a record, with the blobs that it is the first to name, as they are stored."""
        if self._is_due():
            self._commit(self._hidden())
        record.position, record.token = self._end + len(self._records) + 1, self._token()
        if isinstance(record, Claimed) and record.rewind is not None:
            record.rewind = record.position - 1  # nothing that was passed over is among these
        sealed = seal(self.run_id, record)
        self._replay.add(record.position, sealed)
        if self._replay.damage:
            raise CorruptCheckpointError(
                f"the records of run {self.run_id!r} do not fit together: {self._replay.damage}", run_id=self.run_id
            )
        self._updated = record.time
        self._records.append(sealed)
        self._weight += len(sealed)
        for name, data in blobs:
            self._blobs.append((name, data))
            self._weight += len(data)

    def finish(self, not_before: float | None = None, last: Callable[[], None] | None = None) -> Summary:
        """Commit the rest: from now on the run is there. ``last`` is called just before; what it raises is raised, and
        the run is not there."""
        if last is not None:
            last()
        summary = self._summary(not_before)
        self._commit(summary)
        return summary

    def abandon(self) -> None:
        """Remove what was committed, as far as that is possible. Raises nothing but what no `StoreError` is."""
        if self._parts:
            with suppress(StoreError, PositionConflict):  # else the next to use the id does it
                self.store.delete_at(self.run_id, self._end)

    def is_there(self) -> bool:
        """Whether the run is complete; also where that cannot be known, as the store is away."""
        try:
            summary = self.store.summary(self.run_id)
        except (StoreError, CorruptCheckpointError):
            return True
        return (
            summary is not None
            and summary.status != "deleted"
            and self._replay.progress is not None
            and (summary.created == self.progress.created)
        )

    def _free(self) -> int:
        """The position from which the id may be used."""
        summary = self.store.summary(self.run_id)
        if summary is None:
            return 0
        if summary.status != "deleted":
            raise self._taken(summary.status)
        if summary.base == 0:
            return summary.position
        try:
            self.store.delete_at(self.run_id, summary.position)  # what was left by one that was killed
        except PositionConflict:
            raise self._taken("running") from None
        return self._free()

    def _taken(self, status: str) -> RunExistsError:
        return RunExistsError(
            f"run {self.run_id!r} already exists in {self.store.location} with status {status}",
            hint="choose another run id (new_run_id=...), or delete that run first",
            run_id=self.run_id,
            status=status,
            resumable=False,
        )

    def _token(self) -> bytes:
        return f"{self.nonce}-{self._parts + 1}".encode()

    def _is_due(self) -> bool:
        """Whether what there is has to be committed before more is added. Where a run was deleted only one may begin in
        which nothing is finished, which the first part is."""
        if not self.store.keeps_history or not self._records:
            return False
        return self._weight >= PART or ((self.start > 0 or self._at_once) and not self._parts)

    def _hidden(self) -> Summary:
        end = self._end + len(self._records)
        created = self.progress.created
        return Summary(
            run_id=self.run_id, graph="", status="deleted", position=end, base=self.start + 1, created=created,
            updated=created,
        )  # fmt: skip

    def _summary(self, not_before: float | None) -> Summary:
        progress, replay = self.progress, self._replay
        pauses, deadline = at_a_glance(replay.pauses, progress.status)
        return Summary(
            run_id=self.run_id, graph=progress.graph, status=progress.status, position=replay.position,
            base=replay.base, node=progress.node, iterations=progress.iteration, tags=progress.tags,
            created=progress.created, updated=self._updated, pauses=pauses, deadline=deadline,
            not_before=not_before, next=progress.next, items=progress.items,
        )  # fmt: skip

    def _commit(self, summary: Summary) -> None:
        batch = Batch(self.run_id, self._end, self._token(), tuple(self._records), tuple(self._blobs), summary)
        result = self.store.committer.commit(batch)
        if isinstance(result, StoreUnavailableError) and self._is_there(batch):
            result = summary.position  # only its reply was lost
        if isinstance(result, PositionConflict):
            raise self._taken("running")
        if isinstance(result, Exception):
            raise result
        self._end, self._parts = summary.position, self._parts + 1
        self._records, self._blobs, self._weight = [], [], 0

    def _is_there(self, batch: Batch) -> bool:
        try:
            rows = self.store.read(self.run_id, batch.expected)
        except StoreError:
            return False
        return bool(rows) and rows[0][1] == batch.records[0]


@contextmanager
def receiving(incoming: Incoming, copies: ArtifactCopies) -> Iterator[None]:
    """In the block a run is put into the store, and its artifacts into their place: both are there after it, or, as
    far as that is possible, neither."""
    try:
        yield
    except BaseException:
        incoming.abandon()
        if not incoming.is_there():
            copies.discard()
        raise
    finally:
        copies.close()
    copies.keep()
