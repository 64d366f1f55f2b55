"""The journal: while a process owns a run, the one holder of its position."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from tau.errors import LeaseLostError, RunCancelledError
from tau.host import Host
from tau.log.encoding import pack_blob, seal
from tau.log.loading import Found, Watch, load
from tau.log.records import Admitted, CheckpointRecord, Claimed, Item, Manifest, Progress, Record, Scope
from tau.stores.contract import Batch, Owner, PositionConflict, Store, Summary
from tau.values.stored import Cell

_log = logging.getLogger("tau")

MANIFEST_EVERY: Final = 32
"""A full manifest follows after so many records, once these outweigh the last one."""


class Append(Struct):
    """Append these records; reply: the node of the newest checkpoint that is on disk by that, or nothing.

    ``expected`` is given with the first append of a run, ``flush`` with one that must not be held back. ``values`` are
    the cells as of the newest record.
    """

    records: tuple[Record, ...]
    progress: Progress
    values: Mapping[str, Cell]
    flush: bool = False
    expected: int | None = None


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
        self._nonce = owner.nonce.encode()
        self.claimed = False
        self.base = 0
        self.position = 0
        self._since_base = 0
        self._weight = 0
        self._base_weight = 0
        self._held: list[bytes] = []
        self._nodes = 0
        self._newest = ""
        self._blobs: dict[bytes, bytes] = {}
        self._cells: list[Cell] = []
        self._commits = 0
        self._token = b""
        self._time = 0.0
        self.progress: Progress | None = None
        self.items: dict[tuple[Scope, str], Cell] = {}
        self.lock = threading.RLock()

    def load(self, take: bool, wait: float = 0.0, wake: threading.Event | None = None) -> Found:
        """Read the run, to go on where it stands; with ``take``, once nobody owns it."""
        watch = self.watch(wait, wake) if take else None
        while (found := self.look(watch)) is None:
            assert watch is not None
            self.host.sleep(watch.pause, wake)
        return found

    def watch(self, wait: float, wake: threading.Event | None) -> Watch:
        """What waits until nobody owns the run, for so many seconds or until ``wake`` is set; see `look`."""
        return Watch(self.store, self.run_id, self.host, wait=wait, wake=wake)

    def look(self, watch: Watch | None) -> Found | None:
        """Read the run; ``None`` while somebody owns it: to be called again after ``watch.pause`` seconds. Raises
        `RunOwnedError` after the time of the watch."""
        free_at = watch.look() if watch is not None else None
        if watch is not None and free_at is None:
            return None
        found, fold = load(self.store, self.run_id)
        if watch is not None and found.status == "running" and found.position != free_at:
            watch.pause = 0.0  # somebody took it between the two looks, and is to be judged like any other owner
            return None
        if fold is not None:
            self.base, self._since_base = fold.base, fold.since_base
            self._weight = self._base_weight = fold.weight
            self.items = fold.items
            if found.rewind is not None:
                _log.warning("run %r goes on after position %d: %s", self.run_id, found.rewind, found.damaged)
                self._since_base, self._base_weight = MANIFEST_EVERY, 0
        return found

    def prepare(self, append: Append) -> Batch | None:
        """The batch to commit now, or ``None`` where the interval holds the records back."""
        with self.lock:
            if append.expected is not None:
                self.position = append.expected
                self._forget()
            if not self._held:
                self._commits += 1
                self._token = b"%b-%d" % (self._nonce, self._commits)
            for record in append.records:
                self._add(record, append.progress, append.values)
            self.progress = append.progress
            if not append.flush and self._nodes < self.interval:
                return None
            return self.held()

    def held(self) -> Batch | None:
        """Everything held back as one batch; ``None`` where there is nothing."""
        if not self._held or self.progress is None:
            return None
        summary = self._summarise(self.progress)
        return Batch(self.run_id, self.position, self._token, tuple(self._held), tuple(self._blobs.items()), summary)

    def settle(self, batch: Batch, result: int | Exception) -> str:
        """Note that a batch is stored, or raise why it is not; the node of the newest checkpoint in it, if any."""
        with self.lock:
            if isinstance(result, Exception):
                raise self._lost() if isinstance(result, PositionConflict) else result
            self.position = result
            for cell in self._cells:  # what was only needed to write them
                cell.change, cell.blobs = None, ()
            newest = self._newest
            self._forget()
            self.claimed = batch.summary.owner is not None
            return newest

    def release(self) -> None:
        """End the lease of a run that this journal still owns."""
        if self.claimed:
            self.claimed = False
            self.store.release(self.run_id, self.owner.nonce)

    def _add(self, record: Record, progress: Progress, values: Mapping[str, Cell]) -> None:
        record.position = self.position + len(self._held) + 1
        record.token = self._token
        full = False
        if isinstance(record, CheckpointRecord):
            record.time = progress.updated  # what the nodes after it were told
            self._nodes += 1
            self._newest = record.node
            self.items.clear()
            for key in record.changed:
                self._keep(values[key])
            full = self._since_base >= MANIFEST_EVERY and self._weight >= self._base_weight
            if full:
                record.manifest = Manifest(progress, {key: cell.whole for key, cell in values.items()})
        else:
            record.time = self.host.now()
            if isinstance(record, Admitted | Item):
                for cell in values.values():
                    self._keep(cell)
                full = isinstance(record, Admitted)
            elif isinstance(record, Claimed):
                record.owner = self.owner
                if record.on_change == "redo":
                    self.items.clear()
        self._time = record.time
        sealed = seal(self.run_id, record)
        self._held.append(sealed)
        self._since_base += 1
        self._weight += len(sealed)
        if full:
            self.base, self._since_base, self._weight, self._base_weight = record.position, 0, 0, len(sealed)

    def _forget(self) -> None:
        """Hold nothing back any more: it is stored, or was refused."""
        self._held.clear()
        if self._cells:
            self._blobs.clear()
            self._cells.clear()
        self._nodes = 0
        self._newest = ""

    def _keep(self, cell: Cell) -> None:
        self._cells.append(cell)
        for name, data in cell.blobs:
            self._blobs[name] = pack_blob(data)

    def _summarise(self, progress: Progress) -> Summary:
        running = progress.status == "running"
        return Summary(
            run_id=self.run_id,
            graph=progress.graph,
            status=progress.status,
            position=self.position + len(self._held),
            base=self.base,
            node=progress.node,
            iterations=progress.iteration,
            tags=progress.tags,
            owner=self.owner if running else None,
            created=progress.created,
            updated=self._time,
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
