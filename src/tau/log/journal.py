"""The journal: while a process owns a run, the one holder of its position."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from typing import Final

from msgspec import Struct, field

from tau import forks
from tau.errors import LeaseLostError, RunCancelledError
from tau.host import Host
from tau.log.encoding import pack_blob, seal
from tau.log.loading import LoadedRun, Watch, load
from tau.log.records import Admitted, CheckpointRecord, Claimed, Item, Manifest, Progress, Record, Scope
from tau.stores.contract import Batch, Owner, PositionConflict, Store, Summary
from tau.values.stored import StoredValue
from tau.waiting import Flag

_log = logging.getLogger("tau")

MANIFEST_EVERY: Final = 32
"""A full manifest follows after so many records, once these outweigh the last one."""


class Append(Struct):
    """Append these records; reply: the node of the newest checkpoint that is on disk by that, or nothing.

    ``expected`` is given with the first append of a run, ``flush`` with one that must not be held back. ``values`` are
    the cells as of the newest record. ``ending`` marks the last append of an attempt: its records are added only where
    the run is owned and has not ended yet, and what is held back is committed in any case. ``packed`` are blobs of
    these that are compressed already, by name.
    """

    records: tuple[Record, ...]
    progress: Progress
    values: Mapping[str, StoredValue]
    flush: bool = False
    expected: int | None = None
    ending: bool = False
    packed: Mapping[bytes, bytes] | None = None


class _Held(Struct, gc=False):
    """A sealed record: the cells it sets, its node where it is a checkpoint, and what the summary says as of it.

    ``base`` is the position of the newest manifest by then.
    """

    data: bytes
    cells: tuple[StoredValue, ...]
    checkpoint: str
    base: int
    status: str
    node: str | None
    iterations: int
    time: float


class _Standing(Struct, gc=False):
    """Where a journal stands: what is stored, up to ``position``, and what is held back beyond that.

    It changes by what is appended to ``held``; otherwise a new one takes its place, whole. So an interrupt leaves what
    was before or what comes after. ``newest`` is the newest record that was stored; a blob too many does no harm.
    """

    position: int
    owned: bool
    newest: _Held
    held: list[_Held] = field(default_factory=list)
    blobs: dict[bytes, bytes] = field(default_factory=dict)


class Journal:
    """Appends to one run's log: seals records, holds checkpoints back for an interval, writes manifests.

    Thread-safe. `prepare` makes the batch that is to be committed, `settle` takes the answer; a driver commits between.
    """

    def __init__(self, store: Store, run_id: str, host: Host, owner: Owner, interval: int, *, base: int = 0) -> None:
        self.store = store
        self.run_id = run_id
        self.host = host
        self.owner = owner
        self.interval = interval
        self.progress: Progress | None = None
        self.items: dict[tuple[Scope, str], StoredValue] = {}
        self.lock = threading.RLock()
        self._process = forks.process
        self._nonce = owner.nonce.encode()
        self._batches = 1
        self._token = b"%b-1" % self._nonce
        self._since_base = self._weight = self._base_weight = 0
        self._nodes = 0
        self._refused: LeaseLostError | RunCancelledError | None = None
        self._now = _Standing(0, False, _beginning(base))

    @property
    def position(self) -> int:
        """The number of the newest record that is stored."""
        return self._now.position

    @property
    def end(self) -> int:
        """The position once everything is stored that is held back."""
        return self._now.position + len(self._now.held)

    @property
    def claimed(self) -> bool:
        """Whether this journal's owner owns the run, by what is stored."""
        return self._now.owned

    def load(self, take: bool, wait: float = 0.0, wake: Flag | None = None) -> LoadedRun:
        """Read the run, to go on where it stands; with ``take``, once it has no owner."""
        watch = self.watch(wait, wake) if take else None
        while (found := self.look(watch)) is None:
            assert watch is not None
            self.host.sleep(watch.pause, wake)
        return found

    def watch(self, wait: float, wake: Flag | None) -> Watch:
        """What waits until the run has no owner, for so many seconds or until ``wake`` is set; see `look`."""
        return Watch(self.store, self.run_id, self.host, wait=wait, wake=wake)

    def look(self, watch: Watch | None) -> LoadedRun | None:
        """Read the run; ``None`` while it has an owner: to be called again after ``watch.pause`` seconds. Raises
        `RunOwnedError` after the time of the watch."""
        free_at = watch.look() if watch is not None else None
        if watch is not None and free_at is None:
            return None
        found, replay = load(self.store, self.run_id)
        if watch is not None and found.status == "running" and found.position != free_at:
            watch.pause = 0.0  # it was taken between the two looks, and that owner is to be judged like any other
            return None
        if replay is not None:
            self._since_base = replay.since_base
            self._weight = self._base_weight = replay.weight
            if found.rewind is not None:
                _log.warning("run %r goes on after position %d: %s", self.run_id, found.rewind, found.damaged)
                self._since_base, self._base_weight = MANIFEST_EVERY, 0
            self.items = replay.items
            self._now = _Standing(found.position, False, _beginning(replay.base))
        return found

    def prepare(self, append: Append) -> Batch | None:
        """The batch to commit now, or ``None`` where the interval holds the records back."""
        with self.lock:
            self._hold(append)
            return self._batch() if append.flush or self._nodes >= self.interval else None

    def hold(self, append: Append) -> None:
        """Hold the records back, all of them or none."""
        with self.lock:
            self._hold(append)

    def held(self) -> Batch | None:
        """Everything held back as one batch; ``None`` where there is nothing."""
        with self.lock:
            return self._batch()

    def settle(self, batch: Batch, result: int | Exception) -> str:
        """Note that a batch is stored, or raise why it is not; the node of the newest checkpoint in it, if any."""
        with self.lock:
            if isinstance(result, Exception):
                raise self._lost() if isinstance(result, PositionConflict) else result
            now = self._now
            held, count = now.held, result - now.position
            if count <= 0:  # this answer came after a later one
                return ""
            rest: list[_Held] = []
            if count != len(held):
                held, rest = held[:count], held[count:]
            newest, last = "", now.newest
            for last in held:
                for cell in last.cells:  # what was only needed to write them
                    cell.change, cell.blobs = None, ()
                newest = last.checkpoint or newest
            self._nodes = sum([1 for one in rest if one.checkpoint]) if rest else 0
            self._now = _Standing(result, batch.summary.owner is not None, last, rest, now.blobs if rest else {})
            return newest

    def item(self, scope: Scope, key: str) -> StoredValue | None:
        """The result of that item of the node in flight, where a record of it is stored or held back."""
        cell = self.items.get((scope, key))
        if cell is not None and cell.change is not None:
            now = self._now
            if not any(cell is other for one in now.held for other in one.cells):
                return None  # an interrupt came before its record
        return cell

    def release(self) -> None:
        """End the lease of a run that this journal still owns."""
        owned = self._now.owned
        if self._process is forks.process and (owned or self._now.held):
            try:
                self.store.release(self.run_id, self.owner.nonce)
            except Exception as error:  # never in place of why the run ended
                if owned:
                    _log.warning("the lease of run %r could not be ended, and has to run out: %s", self.run_id, error)
            self._drop()

    def _drop(self) -> None:
        """Own nothing any more, and hold nothing back."""
        self._nodes = 0
        self._now = _Standing(self._now.position, False, _beginning(self._now.newest.base))

    def _hold(self, append: Append) -> None:
        now, records = self._now, append.records
        if append.expected is not None:
            self._nodes, self._refused = 0, None
            now = self._now = _Standing(append.expected, False, _beginning(now.newest.base))
        elif append.ending:
            if self._refused is not None:
                raise self._refused
            if not now.held and not now.owned:
                return
            if (now.held or [now.newest])[-1].status != "running":
                records = ()
        self.progress = append.progress
        held = now.held
        made: list[_Held] = []
        newest, position = held[-1] if held else now.newest, now.position + len(held)
        for record in records:
            position += 1
            record.position, record.token = position, self._token
            if type(record) is CheckpointRecord:
                newest = self._checkpoint(record, append, newest)
            else:
                newest = self._other(record, append, newest)
            packed = append.packed or {}
            for cell in newest.cells:
                if cell.blobs:
                    for name, data in cell.blobs:
                        now.blobs[name] = packed.get(name) or pack_blob(data)
            made.append(newest)
        held.extend(made)

    def _batch(self) -> Batch | None:
        if self._process is not forks.process:
            raise forks.refusal(self.run_id, "commit")
        now, progress = self._now, self.progress
        held, count = now.held, len(now.held)
        if not count or progress is None:
            return None
        newest, token, run_id = held[-1], self._token, self.run_id
        self._batches += 1  # no two batches have the same token
        self._token = b"%b-%d" % (self._nonce, self._batches)
        summary = Summary(
            run_id=run_id,
            graph=progress.graph,
            status=newest.status,
            position=now.position + count,
            base=newest.base,
            node=newest.node,
            iterations=newest.iterations,
            tags=progress.tags,
            owner=self.owner if newest.status == "running" else None,
            created=progress.created,
            updated=newest.time,
        )
        records = (newest.data,) if count == 1 else tuple([one.data for one in held])
        return Batch(run_id, now.position, token, records, tuple(now.blobs.items()) if now.blobs else (), summary)

    def _checkpoint(self, record: CheckpointRecord, append: Append, before: _Held) -> _Held:
        """Fill in what only the journal knows, and seal it."""
        progress, values = append.progress, append.values
        record.time = progress.updated  # what the nodes after it were told
        if self.items:
            self.items.clear()
        if self._since_base >= MANIFEST_EVERY and self._weight >= self._base_weight:
            record.manifest = Manifest(progress, {key: cell.whole for key, cell in values.items()})
        sealed = seal(self.run_id, record)
        cells = tuple(map(values.__getitem__, record.changed))
        self._nodes += 1
        if record.manifest is None:
            self._since_base += 1
            self._weight += len(sealed)
            base = before.base
        else:
            base = self._based(record.position, sealed)
        return _Held(
            sealed, cells, record.node, base, progress.status, progress.node, progress.iteration, progress.updated
        )

    def _other(self, record: Record, append: Append, before: _Held) -> _Held:
        """The same for what is not a checkpoint."""
        progress = append.progress
        cells: tuple[StoredValue, ...] = ()
        record.time = self.host.now()
        if isinstance(record, Admitted | Item):
            cells = tuple(append.values.values())
            if isinstance(record, Item):
                self.items[record.scope, record.key] = cells[0]
        elif isinstance(record, Claimed):
            record.owner = self.owner
            if record.on_change == "redo":
                self.items.clear()
        sealed = seal(self.run_id, record)
        if isinstance(record, Admitted) and record.manifest is not None:
            base = self._based(record.position, sealed)
        else:
            self._since_base += 1
            self._weight += len(sealed)
            base = before.base
        node, iterations = progress.node, progress.iteration
        if append.expected is None:  # the progress may be ahead of the log
            node, iterations = before.node, before.iterations
        return _Held(sealed, cells, "", base, progress.status, node, iterations, record.time)

    def _based(self, position: int, sealed: bytes) -> int:
        """The record at that position has a manifest."""
        self._since_base, self._weight, self._base_weight = 0, 0, len(sealed)
        return position

    def _lost(self) -> LeaseLostError | RunCancelledError:
        owned = self._now.owned
        self._drop()
        summary = self.store.summary(self.run_id)
        created = self.progress.created if self.progress is not None else None
        if summary is None or summary.base == 0 or created not in (None, summary.created):
            lost: LeaseLostError | RunCancelledError = LeaseLostError(
                f"run {self.run_id!r} was deleted while it ran; what this process had not saved is dropped, and "
                "nothing of the run is left",
                run_id=self.run_id,
            )
        elif summary.status == "cancelled":
            lost = RunCancelledError(f"run {self.run_id!r} was cancelled while it ran", run_id=self.run_id)
        else:
            lost = LeaseLostError(
                f"run {self.run_id!r} was taken over or changed by another process; what this process had not saved is "
                "dropped, and the run goes on elsewhere",
                run_id=self.run_id,
            )
        if owned:  # else it never was, and is asked for again
            self._refused = lost
        return lost


def _beginning(base: int) -> _Held:
    return _Held(b"", (), "", base, "", None, 0, 0.0)
