"""A run as its log tells it: what `tau show` shows."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from tau.cells import Cell
from tau.errors import CorruptCheckpointError
from tau.fold import Fold
from tau.host import Host
from tau.ownership import Loader, is_ownerless
from tau.records import Admitted, CheckpointRecord, Claimed, Failed, Failure, Interrupted
from tau.stores import Store, Summary


class Visit(Struct, frozen=True):
    """One finished visit of a node; ``ended`` in Unix seconds."""

    node: str
    visit: int
    attempt: int
    seconds: float
    ended: float


class Account(Struct):
    """What the log of one run says. ``claims`` counts the processes that owned it, ``failed`` the node of the failure
    it ended with, ``damage`` what could not be read; ``complete`` is false where the beginning was not."""

    summary: Summary
    status: str
    pending: str | None = None
    claims: int = 0
    visits: list[Visit] = []
    values: dict[str, Cell] = {}
    provenance: dict[str, str] = {}
    failed: str = ""
    failure: Failure | None = None
    reason: str = ""
    damage: str = ""


def read_run(store: Store, summary: Summary) -> Account:
    """Read the whole log of a run. Raises `CorruptCheckpointError` where nothing of it is sound."""
    dead = summary.status == "running" and is_ownerless(store, summary, Host())
    account = Account(summary, "dead" if dead else summary.status)
    if summary.base == 0:
        return account
    try:
        _read(store, account, store.read(summary.run_id))
    except CorruptCheckpointError as error:
        if summary.base == 1:
            raise
        account = Account(summary, account.status, damage=str(error))
        _read(store, account, store.read(summary.run_id, summary.base - 1))
    return account


def _read(store: Store, account: Account, records: Sequence[tuple[int, bytes]]) -> None:
    run_id = account.summary.run_id
    fold = Fold(run_id, Loader(store, run_id))
    for position, data in records:
        record = fold.add(position, data)
        if isinstance(record, Admitted):
            account.provenance = account.provenance or record.provenance
        elif isinstance(record, CheckpointRecord):
            account.visits.append(Visit(record.node, record.visit, record.attempt, record.seconds, record.time))
        elif isinstance(record, Claimed):
            account.claims += 1
            account.failed, account.failure, account.reason = "", None, ""
        elif isinstance(record, Failed):
            account.failed, account.failure = record.node, record.failure
        elif isinstance(record, Interrupted):
            account.reason = record.reason
    account.values = fold.values
    account.damage = account.damage or fold.damage
    if fold.progress is not None and account.status not in ("finished", "cancelled"):
        account.pending = fold.progress.next
