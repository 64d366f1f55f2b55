"""The journal: while a process owns a run, the one holder of its position."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

from tau import forks
from tau.errors import LeaseLostError, RunCancelledError
from tau.host import Host
from tau.log.append import Append
from tau.log.beside import behind, between, still_open
from tau.log.encoding import pack_blob, seal
from tau.log.items import FinishedItems
from tau.log.loading import BlobLoader, Known, LoadedRun, Watch, load_to_write, why_lost
from tau.log.pauses import PauseState, note
from tau.log.planned import Plans, note_planned
from tau.log.records import (
    Admitted,
    CheckpointRecord,
    Claimed,
    Failed,
    Item,
    Manifest,
    Pause,
    Progress,
    Record,
    Scope,
    path_of,
)
from tau.log.sealed import Sealed, nothing, seal_items, summary_of
from tau.log.subgraphs import Subgraphs, after, after_items, drop_visit, manifest_inside, note_inside, once_claimed
from tau.log.tickets import Flight
from tau.stores.contract import Batch, Owner, PositionConflict, Store, Summary
from tau.values.stored import StoredValue
from tau.waiting import Flag

_log = logging.getLogger("tau")

MANIFEST_EVERY: Final = 32
"""A full manifest follows after so many records, once these outweigh the last one."""


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
        self.items = FinishedItems(BlobLoader(store, run_id))
        self.pauses: dict[str, PauseState] = {}
        self.plans: Plans = {}
        self.parent: Any = None  # a `ParentLog`, that of the run which this one replays
        self.not_before = 0.0  # as the summary has it while the run is running
        self.answers = 0
        """How many records of others lie between those of this journal."""
        self.seen: object = None  # the last sign of life of the owner before, where it was watched for its lease
        self.is_resumed = False  # an owner before this one has worked on it
        self.superseded = False
        """Whether its lease could not be renewed, as the run is no longer this owner's."""
        self.lock: Any = threading.RLock()  # who owns it is in the middle of something
        self.flight = Flight()
        self._process = forks.process
        self._nonce = owner.nonce.encode()
        self._batches = 1
        self._token = b"%b-1" % self._nonce
        self._since_base = self._weight = self._base_weight = 0
        self.finished = 0  # of the node in flight
        self._nodes = 0  # held back
        self._subgraphs: Subgraphs | None = {}  # as the records tell, not known after an interrupt in one
        self._refused: LeaseLostError | RunCancelledError | None = None
        # The newest record that is stored, and after it those that are held back. These are added at once; otherwise a
        # new list takes its place, whole. So an interrupt leaves what was before or what comes after.
        self._now = [nothing(0, base)]

    @property
    def position(self) -> int:
        """The number of the newest record that is stored."""
        return self._now[0].summary.position

    @property
    def end(self) -> int:
        """The position once everything is stored that is held back."""
        return self._now[-1].summary.position

    @property
    def stored(self) -> int:
        """`position`, not counting answers of others, which may come in between at any time."""
        return self.position - self.answers

    @property
    def made(self) -> int:
        """`end`, counted in the same way."""
        return self.end - self.answers

    @property
    def claimed(self) -> bool:
        """Whether this journal's owner owns the run, by what is stored."""
        return self._now[0].summary.owner is not None

    @property
    def refused(self) -> LeaseLostError | RunCancelledError | None:
        """Why nothing of this journal can be stored any more, if that is known."""
        return self._refused

    def watch(self, wait: float, wake: Flag | None) -> Watch:
        """What waits until the run has no owner, for so many seconds or until ``wake`` is set; see `look`."""
        return Watch(self.store, self.run_id, self.host, wait=wait, wake=wake, seen=self.seen)

    def look(self, watch: Watch | None, known: Known | None = None) -> LoadedRun | None:
        """Read the run; ``None`` while it has an owner: to be called again after ``watch.pause`` seconds. Raises
        `RunOwnedError` after the time of the watch."""
        free_at = watch.look() if watch is not None else None
        if watch is not None and free_at is None:
            return None
        found, replay = load_to_write(self.store, self.run_id, known)
        if watch is not None and found.status == "running" and found.position != free_at:
            watch.pause = 0.0  # it was taken between the two looks, and that owner is to be judged like any other
            return None
        self.is_resumed = found.status not in ("admitted", "deleted")
        if replay is not None:
            self._since_base, self._weight, self._base_weight = replay.since_base, replay.weight, replay.weight
            if found.rewind is not None:
                told = {"told": "checkpoint.load"}  # an observer is told the same
                _log.warning(
                    "run %r goes on after position %d: %s", self.run_id, found.rewind, found.damaged, extra=told
                )
                self._since_base, self._base_weight = MANIFEST_EVERY, 0
            self.items, self.pauses, self.plans = replay.items, replay.pauses, replay.plans
            self.finished = replay.progress.items if replay.progress is not None else 0
            self._subgraphs = once_claimed(replay.subgraphs, crashed=found.status == "running")
            self._now = [nothing(found.position, replay.base)]
        return found

    def prepare(self, append: Append) -> Batch | None:
        """The batch to commit now, or ``None`` where the interval holds the records back."""
        with self.lock:
            self._hold(append)
            return self._batch() if self.is_due(append) else None

    def append(self, append: Append, commit: Callable[[Batch], int | Exception]) -> str:
        """`prepare`, ``commit`` and `settle` in one; other threads that save for this run wait for its end."""
        with self.lock:
            self._hold(append)
            is_due = append.flush or (self._nodes >= self.interval and not append.later)
            batch = self._batch() if is_due else None
            while batch is not None:
                result = commit(batch)
                if type(result) is int or not self.goes_behind(result):
                    return self._settle(batch, result)
                batch = self._batch()
            return ""

    def is_due(self, append: Append) -> bool:
        """Whether what is held back by that append is to be committed now."""
        return append.flush or (self._nodes >= self.interval and not append.later)

    def hold(self, append: Append) -> None:
        """Hold the records back, all of them or none."""
        with self.lock:
            self._hold(append)

    def hold_items(self, finished: Sequence[tuple[Item, StoredValue]]) -> None:
        """Hold items of maps back, all of them or none, with their cells."""
        with self.lock:
            if self._refused is not None:
                raise self._refused
            subgraphs, self._subgraphs = self._subgraphs, None
            made = seal_items(self, finished, self._now[-1].summary, token=self._token, time=self.host.now())
            subgraphs = after_items(subgraphs, finished, 0 if self.progress is None else self.progress.crashes)
            self._weight += sum([len(one.data) for one in made])
            self.finished, self._since_base = self.finished + len(made), self._since_base + len(made)
            self._now.extend(made)
            self._subgraphs = subgraphs

    def held(self) -> Batch | None:
        """Everything held back as one batch; ``None`` where there is nothing."""
        with self.lock:
            return self._batch()

    def settle(self, batch: Batch, result: int | Exception) -> str:
        """Note that a batch is stored, or raise why it is not; the node of the newest checkpoint in it, if any."""
        with self.lock:
            return self._settle(batch, result)

    def goes_behind(self, result: object) -> bool:
        """Whether a commit was refused only because answers came in between. They are taken up, and what is held back
        is to be committed once more, behind them."""
        if not isinstance(result, PositionConflict):
            return False
        with self.lock:
            now = self._now
            if now[0].summary.owner is None or self._process is not forks.process:
                return False
            answers, mine = between(self.store, self.run_id, now)
            if not answers:
                return False
            self.answers += len(answers)
            if not any(one.checkpoint and not one.inside for one in now[mine + 1 :]):  # else of an earlier visit
                for answer in answers:
                    note(self.pauses, answer, BlobLoader(self.store, self.run_id))
            self._now = behind(now[mine:], answers, pauses=self.pauses, token=self._token)
            return True

    def item(self, scope: Scope, key: str) -> StoredValue | None:
        """The result of that item of the node in flight, where a record of it is stored or held back."""
        cell = self.items.get((scope, key))
        if cell is None or cell.change is None:
            return cell
        held = any(cell is other for one in self._now[1:] for other in one.cells)
        return cell if held else None  # an interrupt came before its record

    def release(self) -> None:
        """End the lease of a run that this journal still owns."""
        owned = self.claimed
        if self._process is forks.process and (owned or len(self._now) > 1):
            try:
                self.store.release(self.run_id, self.owner.nonce)
            except Exception as error:  # never in place of why the run ended
                if owned:
                    _log.warning("the lease of run %r could not be ended, and has to run out: %s", self.run_id, error)
            self._drop()

    def _drop(self) -> None:
        """Own nothing any more, and hold nothing back."""
        self._nodes = 0
        self._now = [nothing(self.position, self._now[0].summary.base)]

    def _hold(self, append: Append) -> None:
        now, records = self._now, append.records
        if append.expected is not None:
            self._nodes, self._refused = 0, None
            now = self._now = [nothing(append.expected, now[0].summary.base)]
        elif self._refused is not None:  # another branch has found out
            raise self._refused
        elif append.ending:
            if len(now) == 1 and not self.claimed:
                return
            if now[-1].summary.status != "running":
                records = ()
            records = still_open(records, self.pauses, append.progress)
        self.progress = append.progress
        made: list[Sealed] = []
        newest = now[-1].summary
        subgraphs, self._subgraphs = self._subgraphs, None
        for record in records:
            record.position, record.token = newest.position + 1, self._token
            if type(record) is not CheckpointRecord:
                sealed = self._other(record, append, newest)
                subgraphs = after(subgraphs, record, append.progress.crashes)
            elif record.scope:
                sealed = self._inside(record, append, newest, subgraphs)
            else:
                sealed, subgraphs = self._checkpoint(record, append, newest), {}
            for cell in sealed.cells:
                if cell.blobs:
                    packed = append.packed or {}
                    sealed.blobs += tuple((name, packed.get(name) or pack_blob(data)) for name, data in cell.blobs)
            made.append(sealed)
            newest = sealed.summary
        now.extend(made)
        self._subgraphs = subgraphs

    def _settle(self, batch: Batch, result: int | Exception) -> str:
        if type(result) is not int and isinstance(result, Exception):
            raise self._lost() if isinstance(result, PositionConflict) else result
        newest, now = "", self._now
        count = result - now[0].summary.position
        if count <= 0:  # this answer came after a later one
            return ""
        for sealed in now[1 : count + 1]:
            for cell in sealed.cells:  # what was only needed to write them
                cell.change, cell.blobs = None, ()
            newest = sealed.checkpoint or newest
        rest = now[count:] or now[-1:]
        self._nodes = sum([1 for sealed in rest[1:] if sealed.checkpoint]) if len(rest) > 1 else 0
        self._now = rest
        return newest

    def _batch(self) -> Batch | None:
        if self._process is not forks.process:
            raise forks.refusal(self.run_id, "commit")
        now, token = self._now, self._token
        count, newest = len(now), now[-1]
        if count == 1:
            return None
        self._batches += 1  # no two batches have the same token
        self._token = b"%b-%d" % (self._nonce, self._batches)
        records: tuple[bytes, ...] = (newest.data,)
        blobs = newest.blobs
        if count > 2:  # more than one is held back
            records = tuple([one.data for one in now[1:]])
            blobs = tuple([blob for one in now[1:] for blob in one.blobs])
        return Batch(self.run_id, now[0].summary.position, token, records, blobs, newest.summary, now[0].data)

    def _checkpoint(self, record: CheckpointRecord, append: Append, before: Summary) -> Sealed:
        """Fill in what only the journal knows, and seal it."""
        progress, values = append.progress, append.values
        record.time = progress.updated  # what the nodes after it were told
        if self.items.single or self.items.packed or self.plans:
            self.items.clear()
            self.plans.clear()
        if self.pauses:
            self.pauses.clear()
        self.finished = 0
        self.not_before = min(self.not_before, record.time)  # it has got over what killed it
        if self._since_base >= MANIFEST_EVERY and self._weight >= self._base_weight:
            record.manifest = Manifest(progress, {key: cell.whole for key, cell in values.items()})
        sealed = seal(self.run_id, record)
        cells = list(map(values.__getitem__, record.changed))  # no comprehension, which is a call
        self._nodes += 1
        if record.manifest is None:
            self._since_base += 1
            self._weight += len(sealed)
            base = before.base
        else:
            base = self._based(record.position, sealed)
        summary = summary_of(self, record, progress, None, base=base)
        return Sealed(sealed, summary, cells, (), record.node)

    def _inside(self, record: CheckpointRecord, append: Append, before: Summary, subgraphs: Subgraphs | None) -> Sealed:
        """The same for a visit inside a node: the run is as far as it was."""
        if self.items or self.pauses or self.plans:
            drop_visit(record, self.items, self.pauses, self.plans)
        self.finished += 1
        self.not_before = min(self.not_before, record.time)
        self._nodes += 1
        if subgraphs is not None and append.around is not None:
            note_inside(subgraphs, record, append.values, crashes=append.progress.crashes)
            is_due = self._since_base >= MANIFEST_EVERY and self._weight >= self._base_weight
            if is_due and not (self.items or self.pauses or self.plans):
                record.manifest = manifest_inside(append.progress, append.around, subgraphs, self.finished)
        sealed, base = seal(self.run_id, record), before.base
        if record.manifest is not None:
            base = self._based(record.position, sealed)
        else:
            self._since_base, self._weight = self._since_base + 1, self._weight + len(sealed)
        summary = summary_of(self, record, append.progress, before, base=base)
        cells = list(map(append.values.__getitem__, record.changed))
        return Sealed(sealed, summary, cells, (), path_of(record.scope, record.node), inside=True)

    def _other(self, record: Record, append: Append, before: Summary) -> Sealed:
        """The same for what is not a checkpoint."""
        progress = append.progress
        cells: tuple[StoredValue, ...] = ()
        record.time = self.host.now()
        if isinstance(record, Admitted | Item):
            cells = tuple(append.values.values())
            if isinstance(record, Item):
                self.finished += 1
                self.not_before = min(self.not_before, record.time)
                self.items[record.scope, record.key] = cells[0]
            else:
                self.pauses.clear()
                self.not_before = record.time if append.not_before is None else append.not_before
        elif isinstance(record, Pause):
            cells = append.cells
        elif isinstance(record, Claimed):
            record.owner = self.owner
            self.not_before = record.time + append.backoff
            if record.on_change == "redo":
                self.finished = 0
                self.items.clear()
                self.plans.clear()
        note_planned(self.plans, record)
        if isinstance(record, Pause) or (isinstance(record, Failed) and not record.scope):
            note(self.pauses, record, BlobLoader(self.store, self.run_id))
        sealed = seal(self.run_id, record)
        if isinstance(record, Admitted) and record.manifest is not None:
            base = self._based(record.position, sealed)
        else:
            self._since_base += 1
            self._weight += len(sealed)
            base = before.base
        at = before if append.expected is None else None  # the progress may be ahead of the log
        return Sealed(sealed, summary_of(self, record, progress, at, base=base), cells)

    def _based(self, position: int, sealed: bytes) -> int:
        """The record at that position has a manifest."""
        self._since_base, self._weight, self._base_weight = 0, 0, len(sealed)
        return position

    def _lost(self) -> LeaseLostError | RunCancelledError:
        owned = self.claimed
        self._drop()
        created = self.progress.created if self.progress is not None else None
        lost = why_lost(self.store, self.run_id, created)
        if owned:  # else it never was, and is asked for again
            self._refused = lost
        return lost
