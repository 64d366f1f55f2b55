"""The origin's verbs above the store contract: `save`, `load`, `runs`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec.structs import replace

from tau.errors import ConfigError, CorruptCheckpointError, LeaseLostError, RunOwnedError
from tau.host import Host
from tau.log.append import Append
from tau.log.journal import Journal
from tau.log.loading import LoadedRun, await_free, emptied, is_ownerless, load, load_to_write, not_found
from tau.log.records import Admitted, Interrupted, Manifest, Progress
from tau.node.current import run_scope
from tau.node.kept_state import shown
from tau.state import State, cells_of, view
from tau.state_names import check_run_id
from tau.stores.contract import Batch, Lease, Query, Rows, Store, Summary

SAVED_BY_HAND = "saved by hand"


def save(store: Store, state: State) -> None:
    """See `Store.save`."""
    if not isinstance(state, State):
        raise ConfigError(f"a store saves a State, found {type(state).__name__}; make one: State({{...}}, run_id=...)")
    scope = run_scope.get()
    if scope is not None and scope.run_id == state.run_id and scope.store is store:
        scope.save(state)
        return
    host = Host()
    summary = store.summary(state.run_id)
    if summary is not None and summary.status == "running":
        try:
            await_free(store, state.run_id, host, 0.0)
        except RunOwnedError as error:
            raise RunOwnedError(
                f"run {state.run_id!r} is owned by {error.owner}; its state cannot be replaced while it runs",
                run_id=state.run_id,
                owner=error.owner,
                since=error.since,
            ) from None
    found, _ = load_to_write(store, state.run_id)
    journal = Journal(store, state.run_id, host, host.owner(0.0), interval=1)
    batch = saving(journal, state, found)
    try:
        journal.settle(batch, store.committer.commit(batch))
    except LeaseLostError as error:
        raise RunOwnedError(
            f"run {state.run_id!r} was changed by another process at the same time; nothing was saved",
            run_id=state.run_id,
        ) from error


def saving(journal: Journal, state: State, found: LoadedRun) -> Batch:
    """The batch that makes ``state`` the newest of its run, which then goes on as one that was interrupted."""
    node, values = state.checkpoint_node, cells_of(state)
    progress = found.progress or Progress(graph="", created=state.timestamp.timestamp())
    if progress.node != node:
        progress.next = None
    if progress.fingerprint is not None and progress.fingerprint.schema is not None:
        progress.fingerprint = replace(progress.fingerprint, schema=None)  # nobody has validated this state
    progress.items = 0
    progress.node, progress.updated, progress.status = node, state.timestamp.timestamp(), "interrupted"
    admitted = Admitted(manifest=Manifest(progress, {key: cell.whole for key, cell in values.items()}))
    records = (admitted, Interrupted(node=progress.next or "", reason=SAVED_BY_HAND))
    batch = journal.prepare(Append(records, progress, values, flush=True, expected=found.position))
    assert batch is not None
    return batch


def load_state(store: Store, run_id: str) -> State:
    """See `Store.load`."""
    found, replay = load(store, check_run_id(run_id))
    progress = found.progress
    if found.status == "deleted":
        raise not_found(run_id, store)
    if progress is None or replay is None:
        raise emptied(run_id, found.status, found.updated)
    return view(shown(found.values, replay.items.single), run_id, progress.node, progress.updated or progress.created)


def _judged(rows: Sequence[Summary], store: Store, host: Host) -> list[Summary]:
    """The rows of running runs that have lost their owner as dead: all by one question to the store."""
    asked = [row.run_id for row in rows if row.status == "running" and row.owner and not host.is_dead(row.owner)]
    lease_of: Callable[[str], Lease | None]
    try:
        lease_of = store.leases(asked).get if asked else lambda _: None
    except CorruptCheckpointError:  # that of one of them is
        lease_of = store.lease
    return [_judge(row, lease_of, host) if row.status == "running" else row for row in rows]


def _judge(row: Summary, lease_of: Callable[[str], Lease | None], host: Host) -> Summary:
    try:
        return replace(row, status="dead") if is_ownerless(lease_of, row, host) else row
    except CorruptCheckpointError:
        return replace(row, status="damaged")


def runs(store: Store, query: Query) -> Sequence[Summary]:
    """See `Store.runs`."""
    status = query.status
    derived = status in ("running", "dead")
    rows = store.select(replace(query, status="running", limit=None) if derived else query)
    shown = _judged(rows, store, Host())
    if derived:
        shown = [row for row in shown if row.status == status]
    return Rows(shown[: query.limit] if query.limit is not None else shown)
