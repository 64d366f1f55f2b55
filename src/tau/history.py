"""What a run's log tells: its history, and what a resume would do."""

from __future__ import annotations

from datetime import UTC, datetime

from msgspec import Struct

from tau.errors import CheckpointNotFoundError, CorruptCheckpointError, RunFinishedError
from tau.fingerprint import GraphFingerprint
from tau.fold import Fold
from tau.opening import changes_since
from tau.ownership import Loader, load
from tau.records import Admitted, CheckpointRecord, Claimed
from tau.state import State, view
from tau.stores.contract import Store


class Checkpoint(Struct, frozen=True, kw_only=True):
    """One finished visit in a run's history: ``seq`` is its position in the log, ``next`` the node that followed
    (``None`` after an exit point), ``state`` the state as of then."""

    seq: int
    node: str
    visit: int
    next: str | None
    state: State
    timestamp: datetime

    def _repr_html_(self) -> str:
        return self.state._repr_html_()


class History(list[Checkpoint]):
    """A list of checkpoints that notebooks show as a table."""

    def _repr_html_(self) -> str:
        from tau.showing import table

        rows = [(one.seq, one.node, one.visit, one.next or "", f"{one.timestamp:%Y-%m-%d %H:%M:%S}") for one in self]
        title = f"History of run {self[0].state.run_id}" if self else "No checkpoints"
        return table(title, ("position", "node", "visit", "then", "finished (UTC)"), rows, {})


class ResumePlan(Struct, frozen=True, kw_only=True):
    """What ``resume`` would do: skip the ``finished`` nodes, go on at ``pending``, or refuse because of ``blocking``.

    ``notes`` are differences of the graph that do not stand in the way.
    """

    run_id: str
    status: str
    finished: tuple[str, ...]
    pending: str | None
    blocking: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def can_resume(self) -> bool:
        return not self.blocking and self.status != "cancelled"

    def _repr_html_(self) -> str:
        from tau.showing import table

        rows = [("finished, skipped", node) for node in self.finished]
        rows += [("runs next", self.pending)] if self.pending and not self.blocking else []
        rows += [("stands in the way", text) for text in self.blocking]
        rows += [("changed", text) for text in self.notes]
        answer = "can be resumed" if self.can_resume else "cannot be resumed"
        return table(f"Run {self.run_id} {answer}", ("", ""), rows, {"status": self.status})


def plan_resume(store: Store, run_id: str, current: GraphFingerprint) -> ResumePlan:
    """See `StateGraph.plan`."""
    found, _ = load(store, run_id)
    progress = found.progress
    if found.status == "deleted":
        raise not_found(run_id)
    if progress is None:
        gone = "the run finished and its checkpoints were deleted (preserve=False); start a new run"
        return ResumePlan(run_id=run_id, status=found.status, finished=(), pending=None, blocking=(gone,))
    comparison = changes_since(progress, current)
    return ResumePlan(
        run_id=run_id,
        status=found.status,
        finished=tuple(progress.path),
        pending=progress.next,
        blocking=tuple(comparison.blocking),
        notes=tuple(comparison.notes),
    )


def checkpoints(store: Store, run_id: str) -> list[Checkpoint]:
    """See `StateGraph.history`."""
    summary = store.summary(run_id)
    if summary is None or summary.status == "deleted":
        raise not_found(run_id)
    if summary.base == 0:
        raise RunFinishedError(
            f"run {run_id!r} finished and its checkpoints were deleted (preserve=False)",
            run_id=run_id,
            finished_at=summary.updated_at,
        )
    fold = Fold(run_id, Loader(store, run_id))
    found = History()
    for position, data in store.read(run_id):
        passed_over = fold.damage
        record = fold.add(position, data)
        if passed_over and not fold.damage and not isinstance(record, Claimed | Admitted):
            raise CorruptCheckpointError(f"a part of the history is lost: {passed_over}", run_id=run_id)
        if isinstance(record, CheckpointRecord):
            found.append(
                Checkpoint(
                    seq=position,
                    node=record.node,
                    visit=record.visit,
                    next=record.next,
                    state=view(dict(fold.values), run_id, record.node, record.time),
                    timestamp=datetime.fromtimestamp(record.time, UTC),
                )
            )
    if fold.damage:
        raise CorruptCheckpointError(f"the end of the history is lost: {fold.damage}", run_id=run_id)
    return found


def not_found(run_id: str) -> CheckpointNotFoundError:
    return CheckpointNotFoundError(f"failed to load checkpoint: checkpoint not found: {run_id}", run_id=run_id)
