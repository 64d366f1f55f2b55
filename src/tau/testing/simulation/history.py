"""What truly happened in a simulated world: every record that got into the store, and every visit that was begun."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from tau.errors import TauError
from tau.log.encoding import unseal
from tau.log.records import EARLY, Answer, Cancelled, Claimed, Failed, Finished, Interrupted, Pause, Record, Scope
from tau.stores.contract import Batch, Store

STATUS: Final[Mapping[type[Record], str]] = {
    Pause: "waiting",
    Failed: "failed",
    Interrupted: "interrupted",
    Cancelled: "cancelled",
    Finished: "finished",
}


class Entry(Struct):
    """A record in the store: by which process, in which turn of the world."""

    position: int
    data: bytes
    record: Any
    process: int
    turn: int


class Execution(Struct):
    """A node was called, one inside others by its path with the numbers of their visits. ``current``: by the owner of
    the run at that time; ``nonce`` is that of the process."""

    process: int
    node: str
    visit: int
    attempt: int
    turn: int
    current: bool
    failed: bool = False


class StepCall(Struct):
    """The function of a step was called; ``current`` as in `Execution`, ``scope`` that of its item."""

    process: int
    node: str
    visit: int
    step: str
    turn: int
    current: bool
    scope: Scope = ()


class RouteCall(Struct):
    """An async route was asked after that visit; ``current`` as in `Execution`."""

    process: int
    node: str
    visit: int
    turn: int
    current: bool


class History:
    """Watches a store from behind: what was applied is read back after each commit, what was acknowledged is noted."""

    def __init__(self, store: Store, run_id: str) -> None:
        self.store = store
        self.run_id = run_id
        self.entries: list[Entry] = []
        self.position = 0
        self.floor = 0
        self.owner = ""
        self.cancelled = False
        self.status = "running"
        self.problems: list[str] = []

    @property
    def records(self) -> list[Record]:
        return [entry.record for entry in self.entries]

    def note(self, batch: Batch, result: int | Exception, process: int, turn: int) -> None:
        """After a commit by ``process``: what is new in the store."""
        before = self.position
        for position, data in self.store.read(self.run_id, before):
            self._add(position, data, process, turn)
        if not isinstance(result, Exception):
            after = batch.expected + len(batch.records)
            if batch.expected != before:
                self.problems.append(
                    f"process {process} expected position {batch.expected} and was accepted at {before}"
                )
            elif result != after or self.position != after:
                self.problems.append(
                    f"process {process} was told that positions up to {after} are stored; position {self.position} is"
                )

            else:
                self._check_summary()

    def _check_summary(self) -> None:
        """The summary says of the newest record what the record says."""
        summary, lease = self.store.summary(self.run_id), self.store.lease(self.run_id)
        nonce = summary.owner.nonce if summary is not None and summary.owner is not None else ""
        held = lease.nonce if lease is not None else ""
        wanted = (self.position, self.status, *((self.owner, self.owner) if self.status == "running" else ("", "")))
        if summary is None or (summary.position, summary.status, nonce, held) != wanted:
            self.problems.append(f"after position {self.position} the store says {summary}, lease of {held!r}")

    def dropped(self) -> None:
        """The records were deleted on purpose, which took a position."""
        summary = self.store.summary(self.run_id)
        self.floor = self.position = summary.position if summary is not None else 0

    def _add(self, position: int, data: bytes, process: int, turn: int) -> None:
        if position != self.position + 1:
            self.problems.append(f"position {position} follows position {self.position}")
        self.position = position
        try:
            record = unseal(self.run_id, position, data)
        except TauError as error:
            self.problems.append(str(error))
            return
        if not isinstance(record, Answer):
            is_inside = record.scope and not (isinstance(record, Pause) and not record.body.get(EARLY))
            self.status = "running" if is_inside else STATUS.get(type(record), "running")
        elif self.status == "waiting":
            self.status = "interrupted"
        if isinstance(record, Claimed) and record.owner is not None:
            self.owner = record.owner.nonce
        if isinstance(record, Cancelled):
            self.owner, self.cancelled = "", True
        self.entries.append(Entry(position, data, record, process, turn))
