"""What a sequence of records adds up to."""

from __future__ import annotations

from typing import Final

from tau.errors import CorruptCheckpointError
from tau.log.chained import item_cell
from tau.log.encoding import damaged, unseal
from tau.log.items import FinishedItems
from tau.log.pauses import PauseState, note
from tau.log.planned import Plans, note_planned
from tau.log.records import (
    EARLY,
    Admitted,
    Answer,
    AnyRecord,
    Cancelled,
    CheckpointRecord,
    Claimed,
    Failed,
    Finished,
    Interrupted,
    Item,
    Pause,
    Progress,
    Record,
    Routed,
    advance,
    follow,
)
from tau.log.subgraphs import (
    Subgraphs,
    cells_inside,
    claim_inside,
    drop_visit,
    is_inside,
    note_inside,
    redo_inside,
    subgraphs_of,
)
from tau.values.stored import Fetch, StoredValue, apply

_STATUS: Final[dict[type[Record], str]] = {
    Pause: "waiting",
    Failed: "failed",
    Interrupted: "interrupted",
    Cancelled: "cancelled",
    Finished: "finished",
}


class Replay:
    """What a log adds up to, record by record from a manifest on.

    Records after a damaged one are passed over until a manifest, or a claim that goes on from ``applied``, the last
    sound position; while they are, ``damage`` says what is wrong. ``items`` are those of the node in flight, by scope
    and key, ``pauses`` its pauses by name, ``plans`` what was planned of its items, and ``subgraphs`` how far the
    graphs inside it are, by scope. ``since_base`` and ``weight`` count records and bytes after ``base``. ``cancelled``
    is why the run was.
    """

    def __init__(self, run_id: str, fetch: Fetch) -> None:
        self.run_id = run_id
        self.fetch = fetch
        self.progress: Progress | None = None
        self.values: dict[str, StoredValue] = {}
        self.items = FinishedItems(fetch)
        self.pauses: dict[str, PauseState] = {}
        self.plans: Plans = {}
        self.subgraphs: Subgraphs = {}
        self.position = self.applied = self.base = self.since_base = self.weight = 0
        self.damage = self.cancelled = ""

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
        manifest = None
        if isinstance(record, CheckpointRecord | Admitted):
            manifest = record.manifest
        elif isinstance(record, Claimed) and record.rewind is not None:
            # What follows builds on that position: on any other it would be mixed with what was passed over.
            elsewhere = f"record {position} goes on from position {record.rewind}, not from {self.applied}"
            self.damage = "" if record.rewind == self.applied else self.damage or elsewhere
        if self.damage and manifest is None:
            return None
        if self.progress is None or self.damage or isinstance(record, Admitted):
            if manifest is None:
                raise damaged(self.run_id, position, "it should hold a manifest and does not")
            self.damage = ""
            self.progress = manifest.progress
            self.values = {key: apply(stored, None, self.fetch) for key, stored in manifest.values.items()}
            self.items.clear()
            self.pauses, self.plans = {}, {}
            self.subgraphs = subgraphs_of(self.progress, self.fetch)
            if isinstance(record, Admitted):
                self.progress.status = "admitted"
                self.progress.provenance = self.progress.provenance or record.provenance
        else:
            self._apply(record, self.progress)
        self.applied = position
        self.since_base, self.weight = self.since_base + 1, self.weight + len(data)
        if manifest is not None:
            self.base, self.since_base, self.weight = position, 0, 0
        return record

    def _apply(self, record: AnyRecord, progress: Progress) -> None:
        if record.scope and is_inside(record):
            cells: dict[str, StoredValue] = {}
            if isinstance(record, CheckpointRecord):
                cells = cells_inside(self.subgraphs, record, self.values, self.fetch)
            note_inside(self.subgraphs, record, cells, crashes=progress.crashes)
        if isinstance(record, CheckpointRecord) and not record.scope:
            self._change(record)
            advance(progress, record.node, record.visit, record.next)
            progress.updated = record.time
            self.items.clear()
            self.pauses, self.plans, self.subgraphs = {}, {}, {}
        elif isinstance(record, Claimed):
            self._claim(record, progress)
        elif isinstance(record, CheckpointRecord | Item):
            progress.items += 1
            progress.stuck = 0
            if isinstance(record, CheckpointRecord):
                drop_visit(record, self.items, self.pauses, self.plans)
            elif (cell := item_cell(record, self.items, self.fetch)) is not None:
                self.items[record.scope, record.key] = cell
        elif isinstance(record, Routed) and not record.scope:
            follow(progress, record.node, record.next)
        elif isinstance(record, Failed | Interrupted | Pause) and not is_inside(record):
            progress.crashes = record.attempt
        elif isinstance(record, Answer):
            self._change(record)
        elif isinstance(record, Cancelled):
            self.cancelled = record.reason
        if not (isinstance(record, Failed) and record.scope):
            note(self.pauses, record, self.fetch)
        note_planned(self.plans, record)
        progress.status = status_after(record, progress.status)

    def _claim(self, record: Claimed, progress: Progress) -> None:
        crashed = progress.status == "running" and record.rewind is None
        progress.crashes += crashed
        progress.stuck = progress.stuck + record.counted if crashed else 0
        claim_inside(self.subgraphs, crashed)
        if record.fingerprint is not None:
            progress.fingerprint, progress.graph = record.fingerprint, record.fingerprint.name
        progress.provenance = record.provenance or progress.provenance
        if record.on_change == "redo":
            progress.items = 0
            self.items.clear()
            self.plans = {}
            redo_inside(self.subgraphs)

    def _change(self, record: CheckpointRecord | Answer) -> None:
        values = self.values
        for key, stored in record.changed.items():
            values[key] = apply(stored, values.get(key), self.fetch)
        for key in record.removed if isinstance(record, CheckpointRecord) else ():
            values.pop(key, None)


def status_after(record: Record, status: str) -> str:
    """The status of a run after that record. An answer takes a run from nobody who works on it."""
    if isinstance(record, Answer):
        return "interrupted" if status == "waiting" else status
    if record.scope and not isinstance(record, Pause):
        return "running"
    if isinstance(record, Pause) and record.body.get(EARLY):
        return status
    return _STATUS.get(type(record), "running")
