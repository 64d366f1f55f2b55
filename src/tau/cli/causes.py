"""What lies at the bottom of a failed run: the errors of the nodes, not those of what is around them."""

from __future__ import annotations

from collections.abc import Iterator

from tau.cli.output.frames import is_of_tau, where
from tau.engine.choosing import NoTransition
from tau.errors import (
    BranchError,
    ChainError,
    ConditionalError,
    ExecutionError,
    GraphChangedError,
    ParallelError,
    TaskError,
)
from tau.events import text_of

SHOWN = 8
"""Of so many errors at once, each is shown."""

Cause = tuple[str, BaseException]
"""An error and the node that raised it; empty where that is the one that the run is said to have failed at."""


def causes(error: BaseException) -> list[Cause]:
    """What an error was raised from: through graphs inside nodes, of branches and groups what each raised. Nothing
    where the error says it all, as that no edge holds."""
    cause = error.__cause__
    return [] if cause is None else list(_innermost("", cause))


def _innermost(node: str, error: BaseException) -> Iterator[Cause]:
    if isinstance(error, NoTransition):
        return
    if isinstance(error, ExecutionError) and error.__cause__ is not None:
        yield from _innermost(node, error.__cause__)
    elif isinstance(error, BranchError) and error.errors:
        for one in error.errors.values():
            yield from _innermost(getattr(one, "node", "") if len(error.errors) > 1 else node, one)
    elif isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from _innermost(node, one)
    else:
        yield node, error


def change_inside(error: BaseException) -> GraphChangedError | None:
    """What a map or chain of a changed graph refused, where the run failed of nothing else."""
    found = [one for _, one in causes(error)] if isinstance(error, ExecutionError) else []
    changes = [one for one in found if isinstance(one, GraphChangedError)]
    return changes[0] if changes and len(changes) == len(found) else None


def said_of(cause: Cause, kind: str, told: str = "") -> str:
    """One cause in a line: its ``kind``, text and notes, the node if that is to be told, and the place. What was
    ``told`` before is not said again."""
    node, error = cause
    notes = "".join(f"; {note}" for note in getattr(error, "__notes__", ()))
    theirs = _raised_by_item(error)
    place = "" if is_of_tau(theirs) else where(theirs)
    if place and theirs is not error:
        place = f"{getattr(theirs, 'type_name', '') or type(theirs).__name__} at {place}"
    elif place:
        place = f"at {place}"
    at = ", ".join(filter(None, (f"in node {node}" if node else "", place)))
    text = text_of(error)
    said = f"{kind if text in told else f'{kind}: {text}'}{notes}"
    between = ", " if said != kind else " " if at.startswith(("at ", "in ")) else ": "
    return f"{said}{between}{at}" if at else said


def _raised_by_item(error: BaseException) -> BaseException:
    """What the function of a map, chain or choice raised first, which is of a line of the user's; else the error."""
    found = inner = error
    while isinstance(inner, ChainError | TaskError | ParallelError | ConditionalError) and inner.__cause__ is not None:
        inner = inner.__cause__
        found = found if is_of_tau(inner) else inner
    return found
