"""Ending a run for good, from anywhere."""

from __future__ import annotations

from tau.host import Host
from tau.log.append import Append
from tau.log.journal import Journal
from tau.log.records import Cancelled, Progress
from tau.stores.contract import PositionConflict, Store, Summary
from tau.stores.reentry import Entrance, ReentryError


def cancel_run(store: Store, run_id: str, host: Host) -> bool:
    """End a run for good; ``False`` where there is none. A finished or cancelled run stays as it is.

    From a signal handler in the middle of a commit of its own thread, this returns at once, and the run is cancelled
    when that commit has ended.
    """
    guard: Entrance = store.committer.guard
    if not guard.is_inside():
        try:
            return _cancel(store, run_id, host)
        except ReentryError as inside:
            guard = inside.guard
    guard.afterwards(lambda: cancel_run(store, run_id, host))
    return True


def cancel_at(store: Store, summary: Summary, position: int, reason: str, host: Host) -> int:
    """End a run that is at that very position, where it has no owner; returns the position then.

    Raises `PositionConflict` if it was taken or changed, `StoreError`.
    """
    journal = Journal(store, summary.run_id, host, host.owner(0.0), interval=1, base=summary.base)
    progress = Progress(
        graph=summary.graph, tags=summary.tags, created=summary.created, iteration=summary.iterations,
        node=summary.node, status="cancelled",
    )  # fmt: skip
    batch = journal.prepare(Append((Cancelled(reason=reason),), progress, {}, flush=True, expected=position))
    assert batch is not None
    result = store.committer.commit(batch)
    if isinstance(result, PositionConflict):
        raise result
    journal.settle(batch, result)
    return journal.position


def _cancel(store: Store, run_id: str, host: Host) -> bool:
    while True:
        journal = Journal(store, run_id, host, host.owner(0.0), interval=1)
        found = journal.look(None)
        assert found is not None
        if found.status == "deleted":
            return False
        if found.status in ("finished", "cancelled") or found.progress is None:
            return True
        found.progress.status = "cancelled"
        record = Cancelled(reason="cancelled")
        batch = journal.prepare(Append((record,), found.progress, found.values, flush=True, expected=found.position))
        assert batch is not None
        result = store.committer.commit(batch)
        if not isinstance(result, PositionConflict):
            journal.settle(batch, result)
            return True
