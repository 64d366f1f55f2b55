"""The journal: while a process owns a run, the one holder of its position."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Final

from msgspec.structs import replace

from tau.cells import Cell, Part
from tau.effects import Append, Found
from tau.errors import CorruptCheckpointError, LeaseLostError, RunCancelledError, RunOwnedError
from tau.host import Host
from tau.records import Admitted, Cancelled, CheckpointRecord, Claimed, Fold, Manifest, Progress, Record, pack_blob, seal, unpack_blob
from tau.stores.contract import Batch, Lease, Owner, PositionConflict, Store, Summary

MANIFEST_EVERY: Final = 64
"""A full manifest follows after so many records, once these outweigh the last one."""

_WATCH_STEP = 0.05


class Journal:
    """Appends to one run's log: seals records, holds checkpoints back for an interval, writes manifests.

    Thread-safe. `prepare` makes the batch that is to be committed, `settle` takes the answer; a driver commits between.
    """

    def __init__(self, store: Store, run_id: str, host: Host, owner: Owner, interval: int) -> None:
        self.store = store
        self.run_id = run_id
        self.host = host
        self.owner = owner
        self.interval = interval
        self.claimed = False
        self.base = 0
        self._position = 0
        self._since_base = 0
        self._weight = 0
        self._base_weight = 0
        self._held: list[bytes] = []
        self._nodes = 0
        self._blobs: dict[bytes, bytes] = {}
        self._cells: list[Cell] = []
        self._commits = 0
        self._token = b""
        self._summary: Summary | None = None
        self.lock = threading.RLock()

    def load(self, take: bool, wait: float = 0.0, wake: threading.Event | None = None) -> Found:
        """Read the run, to go on where it stands; with ``take``, once nobody owns it."""
        if take:
            await_free(self.store, self.run_id, self.host, wait, wake)
        found, fold = load(self.store, self.run_id)
        if fold is not None:
            self.base, self._since_base = fold.base, fold.since_base
            self._weight = self._base_weight = fold.weight
            if found.rewind is not None:
                self._since_base, self._base_weight = MANIFEST_EVERY, 0
        return found

    def prepare(self, append: Append) -> Batch | None:
        """The batch to commit now, or ``None`` where the interval holds the records back."""
        with self.lock:
            if append.expected is not None:
                self._position = append.expected
            if not self._held:
                self._commits += 1
                self._token = b"%b-%d" % (self.owner.nonce.encode(), self._commits)
            for record in append.records:
                self._add(record, append.progress, append.values)
            self._summary = self._summarise(append.progress)
            if not append.flush and self._nodes < self.interval:
                return None
            return self.held()

    def held(self) -> Batch | None:
        """Everything held back as one batch; ``None`` where there is nothing."""
        if not self._held or self._summary is None:
            return None
        summary = replace(self._summary, position=self._position + len(self._held), base=self.base)
        return Batch(
            self.run_id, self._position, self._token, tuple(self._held), tuple(self._blobs.items()), summary
        )

    def settle(self, batch: Batch, result: int | Exception) -> None:
        """Note that a batch is stored, or raise why it is not."""
        with self.lock:
            if isinstance(result, PositionConflict):
                raise self._lost()
            if isinstance(result, Exception):
                raise result
            self._position = result
            self._held.clear()
            self._blobs.clear()
            self._nodes = 0
            for cell in self._cells:
                cell.written()
            self._cells.clear()
            self.claimed = batch.summary.owner is not None

    def flush(self) -> None:
        """Commit what is held back, in the caller's thread."""
        with self.lock:
            batch = self.held()
            if batch is not None:
                self.settle(batch, self.store.committer.commit(batch))

    def release(self) -> None:
        """End the lease of a run that this journal still owns."""
        if self.claimed:
            self.claimed = False
            self.store.release(self.run_id, self.owner.nonce)

    def _add(self, record: Record, progress: Progress, values: Mapping[str, Cell]) -> None:
        record.position = self._position + len(self._held) + 1
        record.token = self._token
        record.time = self.host.now()
        if isinstance(record, Claimed):
            record.owner = self.owner
        full = False
        if isinstance(record, CheckpointRecord):
            self._nodes += 1
            self._keep([values[key] for key in record.changed])
            full = self._since_base >= MANIFEST_EVERY and self._weight >= self._base_weight
            if full:
                record.manifest = Manifest(progress, {key: cell.whole for key, cell in values.items()})
        elif isinstance(record, Admitted):
            self._keep(values.values())
            full = True
        sealed = seal(self.run_id, record)
        self._held.append(sealed)
        self._since_base += 1
        self._weight += len(sealed)
        if full:
            self.base, self._since_base, self._weight, self._base_weight = record.position, 0, 0, len(sealed)

    def _keep(self, cells: Iterable[Cell]) -> None:
        for cell in cells:
            self._cells.append(cell)
            for name, data in cell.blobs:
                self._blobs[name] = pack_blob(data)

    def _summarise(self, progress: Progress) -> Summary:
        running = progress.status == "running"
        return Summary(
            run_id=self.run_id,
            graph=progress.graph,
            status=progress.status,
            position=0,
            base=self.base,
            node=progress.node,
            iterations=progress.iteration,
            tags=progress.tags,
            owner=self.owner if running else None,
            created=progress.created,
            updated=self.host.now(),
        )

    def _lost(self) -> LeaseLostError | RunCancelledError:
        self.claimed = False
        summary = self.store.summary(self.run_id)
        if summary is not None and summary.status == "cancelled":
            return RunCancelledError(f"run {self.run_id!r} was cancelled while it ran", run_id=self.run_id)
        return LeaseLostError(
            f"run {self.run_id!r} was taken over or changed by somebody else; what this process had not saved is "
            "dropped, and the run goes on elsewhere",
            run_id=self.run_id,
        )


def load(store: Store, run_id: str) -> tuple[Found, Fold | None]:
    """A run as it lies in the store, from its newest manifest on, or from its beginning where that is damaged."""
    summary = store.summary(run_id)
    if summary is None or summary.status == "deleted":
        return Found("deleted", summary.position if summary is not None else 0), None
    if summary.base == 0:
        return Found(summary.status, summary.position, updated=summary.updated), None
    try:
        fold = _fold(store, run_id, summary.base - 1)
    except CorruptCheckpointError as error:
        if summary.base == 1:
            raise
        fold = _fold(store, run_id, 0)
        fold.damage = fold.damage or str(error)
    assert fold.progress is not None
    found = Found(fold.progress.status, fold.position, fold.progress, fold.values, summary.updated)
    if fold.damage:
        found.damaged, found.rewind, found.status = fold.damage, fold.applied, "interrupted"
    return found, fold


def _fold(store: Store, run_id: str, after: int) -> Fold:
    fold = Fold(run_id, Loader(store, run_id))
    for position, data in store.read(run_id, after):
        fold.add(position, data)
    if fold.progress is None:
        raise CorruptCheckpointError(
            f"run {run_id!r} has no record after position {after}; restore the store from a copy, or start a new run",
            run_id=run_id,
            position=after,
        )
    return fold


def await_free(store: Store, run_id: str, host: Host, wait: float, wake: threading.Event | None = None) -> None:
    """Return once nobody owns the run. Raises `RunOwnedError` when somebody still does after ``wait`` seconds."""
    start = host.monotonic()
    watch: tuple[object, float] | None = None
    while True:
        summary = store.summary(run_id)
        owner = summary.owner if summary is not None else None
        if summary is None or owner is None or host.is_dead(owner):
            return
        lease = store.lease(run_id)
        if lease is None or (lease.expires_in is not None and lease.expires_in <= 0):
            return
        now = host.monotonic()
        sign = (lease.nonce, lease.counter, summary.position)
        if watch is None or watch[0] != sign:
            watch = (sign, now)
        elif lease.expires_in is None and now - watch[1] >= owner.lease:
            return
        if now - start >= wait:
            raise _owned(run_id, owner, lease)
        host.sleep(min(_WATCH_STEP, wait - (now - start)), wake)


def cancel_run(store: Store, run_id: str, host: Host) -> bool:
    """End a run for good; ``False`` where there is none. A finished or cancelled run stays as it is."""
    while True:
        found, _ = load(store, run_id)
        if found.status == "deleted":
            return False
        if found.status in ("finished", "cancelled") or found.progress is None:
            return True
        journal = Journal(store, run_id, host, host.owner(0.0), interval=1)
        journal.load(take=False)
        found.progress.status = "cancelled"
        batch = journal.prepare(
            Append((Cancelled(reason="cancelled"),), found.progress, found.values, flush=True, expected=found.position)
        )
        assert batch is not None
        result = store.committer.commit(batch)
        if not isinstance(result, PositionConflict):
            journal.settle(batch, result)
            return True


def is_ownerless(store: Store, summary: Summary, host: Host) -> bool:
    """Whether a running run certainly has lost its owner; never certain where a lease can only be watched."""
    if summary.owner is None or host.is_dead(summary.owner):
        return True
    lease = store.lease(summary.run_id)
    return lease is None or (lease.expires_in is not None and lease.expires_in <= 0)


def _owned(run_id: str, owner: Owner, lease: Lease) -> RunOwnedError:
    since = datetime.fromtimestamp(owner.since, UTC)
    hint = f"wait at least {owner.lease:g} s (wait=...)" if lease.expires_in is None else "wait for it (wait=...)"
    return RunOwnedError(
        f"run {run_id!r} is owned by {owner} since {since:%Y-%m-%d %H:%M:%S} UTC; {hint}, or cancel the run",
        run_id=run_id,
        owner=str(owner),
        since=since,
    )


class Loader:
    """Fetches the blobs of one run, checked and unpacked."""

    def __init__(self, store: Store, run_id: str) -> None:
        self.store = store
        self.run_id = run_id

    def __call__(self, parts: Iterable[Part]) -> Mapping[bytes, bytes]:
        sizes = {part.digest: part.size for part in parts}
        stored = self.store.blobs(self.run_id, sizes)
        return {name: unpack_blob(self.run_id, name, sizes[name], data) for name, data in stored.items()}
