"""Waiting for a run that others run: `StateGraph.wait`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from tau.engine.verdicts import waiting_for
from tau.errors import ConfigError, ExecutionError, RunInterruptedError, TauError, WaitTimeoutError
from tau.host import Host
from tau.log.loading import LoadedRun, emptied, load, not_found, was_cancelled
from tau.log.pauses import waiting
from tau.log.records import Failed, Interrupted
from tau.log.replay import Replay
from tau.log.run_failure import ending
from tau.node.kept_state import shown
from tau.state import State, view
from tau.stores.contract import Store, Summary

if TYPE_CHECKING:
    from tau.schema.schema import Schema

_FIRST: Final = 0.02  # seconds between the first two looks, then more
_GROWS: Final = 1.25
_MOST: Final = 5.0

_OWN_WORDS: Final = {"NoTransition", "LimitExceededError", "PauseExpiredError"}
"""Failures that are not those of a node's code: their text says all."""


class Waiting:
    """Looks at a run until it has ended: `look` is called again after ``pause`` seconds while it gives nothing."""

    def __init__(self, store: Store, host: Host, run_id: str, timeout: float | None, schema: Schema | None) -> None:
        if timeout is not None and not (isinstance(timeout, int | float) and timeout >= 0):
            raise ConfigError(f"timeout must be 0 or more seconds, or None, found {timeout!r:.80}")
        self._store = store
        self._host = host
        self._run_id = run_id
        self._timeout = timeout
        self._schema = schema
        self._ends = None if timeout is None else host.monotonic() + timeout
        self._next = _FIRST
        self.pause = 0.0

    def look(self) -> State[Any] | None:
        """The final state, once it is there. Raises what `StateGraph.wait` raises."""
        summary = self._store.summary(self._run_id)
        if summary is None or summary.status == "deleted":
            raise not_found(self._run_id, self._store)
        if _has_ended(summary, self._host.now()):
            found, replay = load(self._store, self._run_id)
            if found.status not in ("running", "admitted"):  # else somebody has gone on with it meanwhile
                return self._end(found, replay)
        left = None if self._ends is None else self._ends - self._host.monotonic()
        if left is not None and left <= 0:
            raise WaitTimeoutError(
                f"run {self._run_id!r} has not ended within {self._timeout:g} s, its status is {summary.status}",
                hint="wait again; without a worker (tau worker) or a resume nothing runs it",
                run_id=self._run_id,
                status=summary.status,
                seconds=self._timeout,
            )
        self.pause = self._next if left is None else min(self._next, left)
        self._next = min(self._next * _GROWS, self._store.look_every, _MOST)
        return None

    def _end(self, found: LoadedRun, replay: Replay | None) -> State[Any]:
        run_id, progress = self._run_id, found.progress
        if progress is None or replay is None:
            raise emptied(run_id, found.status, found.updated)
        state = view(
            shown(found.values, replay.items.single), run_id, progress.node, progress.updated or progress.created
        )
        state._schema = self._schema
        if found.status == "finished":
            return state
        raise self._error(found, state)

    def _error(self, found: LoadedRun, state: State[Any]) -> TauError:
        run_id, progress = self._run_id, found.progress
        assert progress is not None
        if found.status == "cancelled":
            at = datetime.fromtimestamp(found.updated, UTC)
            return was_cancelled(run_id, found.cancelled, when=f" at {at:%Y-%m-%d %H:%M:%S} UTC")
        if found.status == "waiting":
            return waiting_for(run_id, [one.name for one in waiting(found.pauses)])
        last = ending(self._store, run_id, found.position)
        node = getattr(last, "node", "") or progress.next or ""
        if found.status == "failed":
            failure = last.failure if isinstance(last, Failed) else None
            text = "it is not known why" if failure is None else failure.text or failure.type
            if failure is not None and failure.type not in _OWN_WORDS:
                text = f"node execution failed: {text}"
            said, path = f"execution failed at node {node}: {text}", (*progress.path, node)
            return ExecutionError(said, node=node, state=state, path=path, run_id=run_id)
        reason = found.damaged or (last.reason if isinstance(last, Interrupted) else "") or "interrupted"
        return RunInterruptedError(
            f"run {run_id!r} was stopped before node {node!r} had finished ({reason})",
            hint=f"resume({run_id!r}) goes on",
            run_id=run_id,
            node=node,
            state=state,
            reason=reason,
        )


def _has_ended(summary: Summary, now: float) -> bool:
    """Whether no worker goes on with it by itself."""
    if summary.status in ("running", "admitted"):
        return False
    if summary.status == "waiting":
        return not summary.may_be_taken(now)
    return summary.status != "interrupted" or summary.not_before is None
