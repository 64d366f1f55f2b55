"""What an error means for a run: whether its node is tried again, what can still be saved, how the run has ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tau.config import Retry
from tau.engine.effects import RunRequest
from tau.errors import (
    NEVER_RETRIED,
    BranchError,
    ExecutionError,
    LeaseLostError,
    LimitExceededError,
    NodeTimeoutError,
    RunCancelledError,
    RunInterruptedError,
    RunWaitingError,
    StoreError,
    leaves,
)
from tau.events import GRAPH_CANCELLED, GRAPH_FAILED, GRAPH_INTERRUPTED, GRAPH_WAITING
from tau.graph.graph import Node
from tau.state import State

UNSAVED: Final = (StoreError, LeaseLostError, RunCancelledError)
"""After these nothing can be saved any more: the store has just failed, or the run belongs to another process."""


def stopped(
    request: RunRequest, name: str, state: State, reason: str, begun: bool, *, unanswered: bool = False
) -> RunInterruptedError:
    """What is raised by a run that was asked to stop, before that node, once an attempt at it had ``begun``, or after
    it, its route being ``unanswered``."""
    where = f"in node {name!r}, before that had finished" if begun else f"before node {name!r}"
    kept = ": the node runs again, and its finished steps are kept" if begun else ""
    if unanswered:
        where, kept = f"after node {name!r}, before its route had answered", ": the route is asked"
    how = f"resume({request.run_id!r}) goes on{kept}" if request.stored else "it has no store, so it starts again"
    return RunInterruptedError(
        f"run {request.run_id!r} was stopped {where} ({reason})",
        hint=how,
        run_id=request.run_id,
        node=name,
        state=state,
        reason=reason,
    )


def waiting_for(run_id: str, names: Sequence[str]) -> RunWaitingError:
    """What is raised by a run that goes on when these pauses, or one of them, are answered."""
    shown = ", ".join(map(repr, names)) or "nothing that is known any more"
    first = repr(names[0]) if names else "name"
    return RunWaitingError(
        f"run {run_id!r} is waiting for an answer to {shown}",
        hint=f"graph.answer({run_id!r}, {first}, value) or the command `tau answer` gives it, then resume goes on",
        run_id=run_id,
        pauses=tuple(names),
    )


def no_changes(node: Node, result: object) -> TypeError:
    """The failure of a node that returned something else than changes."""
    kind = type(result).__name__
    name = f", as in {{'data': the {kind}}}" if hasattr(type(result), "attrs") else ""
    return TypeError(f"node {node.name!r} returned {kind}; return a mapping of changes{name}, a State, or None")


def too_many_visits(limit: int, run_id: str) -> LimitExceededError:
    """The failure of a run that has visited as many nodes as it may."""
    return LimitExceededError(
        f"max iterations ({limit}) exceeded; if the run should visit more nodes than that, "
        "resume it with a larger GraphConfig(max_iterations=...)",
        limit=limit,
        run_id=run_id,
    )


def may_retry(node: Node, retry: Retry, error: Exception, tries: int) -> bool:
    found = [error] if node.inside is None else _inside(error)
    if tries >= retry.attempts or not all(retry.matches(one) for one in found):
        return False
    if any(isinstance(one, NEVER_RETRIED) for each in found for one in leaves(each)):
        return False
    has_ended = node.idempotent or node.is_async or node.executor == "processes"
    return has_ended or not isinstance(error, NodeTimeoutError)


def _inside(error: BaseException) -> list[Exception]:
    """What the nodes inside a node raised, of which it failed."""
    if isinstance(error, BranchError):
        return [found for one in error.errors.values() for found in _inside(one)]
    if isinstance(error, ExecutionError) and error.__cause__ is not None:
        return _inside(error.__cause__)
    return [error] if isinstance(error, Exception) else []


def terminal(error: BaseException) -> str:
    if isinstance(error, RunCancelledError):
        return GRAPH_CANCELLED
    if isinstance(error, RunWaitingError):
        return GRAPH_WAITING
    if isinstance(error, Exception) and not isinstance(error, RunInterruptedError):
        return GRAPH_FAILED
    return GRAPH_INTERRUPTED
