"""What a step, or the function of a map or chain, returned: its cell, or why it cannot be stored."""

from __future__ import annotations

import inspect
from typing import Any

from tau.errors import CorruptCheckpointError, LimitExceededError, UnserializableError
from tau.values import Refused, encode, is_atom
from tau.values.stored import NO_ATOM, StoredValue, alone, following


def no_awaitable(node: str, name: str, value: Any, kind: str = "step") -> Any:
    """The value, unless it has yet to be awaited (`UnserializableError`)."""
    if inspect.isawaitable(value):
        if inspect.iscoroutine(value):
            value.close()
        verb = "journal" if kind == "call" else kind
        raise _unserializable(
            node, kind, name, path="", type_name=type(value).__name__,
            reason=f"give the async function itself, as in await ctx.{verb}(name, fetch, url)",
        )  # fmt: skip
    return value


def cell_of(node: str, name: str, value: Any, before: StoredValue | None = None, *, kind: str = "step") -> StoredValue:
    """The cell of a result, which may have grown from the one before; ``kind`` says what returned it. Raises
    `UnserializableError`, or `LimitExceededError` for what is too large."""
    try:
        data = encode(value)
    except Refused as refused:
        raise _refusal(node, kind, name, refused) from None
    atom = value if is_atom(value) else NO_ATOM
    return alone(data, atom) if before is None else following(data, atom, before)


def _refusal(node: str, kind: str, name: str, refused: Refused) -> Exception:
    if refused.limit is not None:
        return LimitExceededError(
            f"{kind} {name!r} of node {node!r} returned value{refused.path} of type {refused.type_name}, which "
            f"cannot be stored: {refused.reason}",
            limit=refused.limit,
        )
    return _unserializable(node, kind, name, path=refused.path, type_name=refused.type_name, reason=refused.reason)


def _unserializable(node: str, kind: str, name: str, *, path: str, type_name: str, reason: str) -> UnserializableError:
    """Which item it was is told by the error of the map or chain."""
    what = f"value{path}" if path else "a value"
    return UnserializableError(
        f"{kind} {name!r} of node {node!r} returned {what} of type {type_name}, which cannot be stored: {reason}",
        key=name,
        node=node,
        path=f"{kind}({name!r}){path}",
        type_name=type_name,
    )


def opened(name: str, cell: StoredValue) -> tuple[Any, bool]:
    try:
        return cell.open()
    except CorruptCheckpointError as error:
        raise CorruptCheckpointError(
            f"{error}. It is the result of step {name!r}: resume with on_change='redo' does all steps of this "
            "visit anew, and nodes that finished before it stay",
            run_id=error.run_id,
            position=error.position,
            what=error.what,
        ) from error
