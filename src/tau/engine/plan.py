"""What a resume would do, judged without doing it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from tau.engine.admission import changes_since, may_go_on
from tau.engine.effects import RunRequest
from tau.engine.fitting import misfits
from tau.errors import GraphChangedError, StoreError, TauError
from tau.host import Host
from tau.late_imports import load_module
from tau.log.loading import LoadedRun, Watch, load, not_found
from tau.log.pauses import is_due
from tau.stores.artifact_content import check_all
from tau.stores.contract import Store


class ResumePlan(Struct, frozen=True, kw_only=True):
    """What ``resume`` would do: skip the ``finished`` nodes and continue at ``pending``, or raise ``refusal``.

    ``finished`` names each finished visit in order, of a long run the newest 250 or so. ``blocking`` lists the
    differences of the graph that ``on_change="error"`` refuses, ``notes`` those that never prevent a resume.

    >>> from tau import StateGraph
    >>> graph = StateGraph("one", store="sqlite:///tau.db")
    >>> graph.add_node("work", lambda state: None)
    >>> graph.sequence("work")
    >>> plan = graph.plan(graph.admit({}))
    >>> plan.status, plan.pending, plan.refusal
    ('admitted', 'work', None)
    """

    run_id: str
    status: str
    finished: tuple[str, ...]
    pending: str | None
    blocking: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    refusal: TauError | None = None

    @property
    def can_resume(self) -> bool:
        """Whether ``resume`` would go on. Raises nothing."""
        return self.refusal is None

    @property
    def obstacles(self) -> tuple[str, ...]:
        """Why ``resume`` would refuse: each difference of the graph, or what its error says. Raises nothing."""
        if isinstance(self.refusal, GraphChangedError):
            return tuple(self.refusal.changes)
        return () if self.refusal is None else (str(self.refusal),)

    def _repr_html_(self) -> str:
        load_module("tau.html")
        from tau.html import table

        rows = [("finished, skipped", node) for node in self.finished]
        rows += [("runs next", self.pending)] if self.pending and self.can_resume else []
        rows += [("stands in the way", text) for text in self.obstacles]
        rows += [("changed", text) for text in (*self.blocking, *self.notes) if text not in self.obstacles]
        answer = "can be resumed" if self.can_resume else "cannot be resumed"
        return table(f"Run {self.run_id} {answer}", ("", ""), rows, {"status": self.status})


def plan_resume(store: Store, request: RunRequest, host: Host) -> ResumePlan:
    """See `StateGraph.plan`."""
    owned = _refused(Watch(store, request.run_id, host, take=False).look)
    found, _ = load(store, request.run_id)
    if found.status == "deleted":
        raise not_found(request.run_id, store)
    found.overdue = is_due(found.pauses, host.now())
    refusal = owned or _refused(partial(_check, request, found))
    plan = ResumePlan(run_id=request.run_id, status=found.status, finished=(), pending=None, refusal=refusal)
    if found.progress is None:
        return plan
    comparison = changes_since(found, request.graph.fingerprint(found.progress.fingerprint))
    return replace(
        plan,
        finished=tuple(found.progress.path),
        pending=found.progress.next,
        blocking=tuple(comparison.blocking),
        notes=tuple(comparison.notes),
    )


def _refused(check: Callable[[], object]) -> TauError | None:
    """Why the check refuses, if it does; errors of the store itself are raised."""
    try:
        check()
    except StoreError:
        raise
    except TauError as error:
        return error.with_traceback(None)
    return None


def _check(request: RunRequest, found: LoadedRun) -> None:
    if found.status not in ("finished", "cancelled"):
        check_all(found.values.values(), thorough=request.verify_artifacts)
    found.misfits = misfits(request, found)
    may_go_on(request, found)
