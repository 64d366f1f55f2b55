"""A state that a node saves before it ends: an item of the visit, which the next attempt at it is given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tau.errors import LimitExceededError, TauError
from tau.log.records import Scope
from tau.node.current import RunNode
from tau.state import OpenedValues, State, cells_of, raw, view
from tau.state_names import check_key
from tau.values import Refused, encode
from tau.values.stored import StoredValue, alone, make

STATE: Final = "state"
"""The key of that item."""


def stored_of(effect: RunNode) -> State:
    """The run's state as it is stored, which is what the visit began with."""
    return effect.state if effect.stored is None else effect.stored


def kept_cell(state: State, effect: RunNode, before: StoredValue | None) -> StoredValue | None:
    """What is to be stored so that the next attempt is given that state; ``None`` where that is stored already, and
    where nothing was ever set or dropped: what is changed in place then counts when the node ends."""
    node, stored = effect.node.name, raw(stored_of(effect))
    if before is None and raw(state).keys() == stored.keys() and all(raw(state)[key] is stored[key] for key in stored):
        return None
    kept = differences(state, stored)
    if not kept and before is None:
        return None
    try:
        cell = alone(encode(kept))
    except Refused as refused:
        for key, value in (*kept["set"].items(), *kept["altered"].items()):
            make(key, value, None, node)  # raises for the value that it is
        raise LimitExceededError(
            f"what node {node!r} set before state.checkpoint() cannot be stored together: {refused.reason}",
            limit=refused.limit or 0,
        ) from None
    return None if before is not None and before.whole == cell.whole else cell


def refuse_outside(state: State) -> None:
    """Raise where a state with something set is saved while no node of its run is at work, as from a predicate."""
    if any(type(value) is not StoredValue for value in raw(state).values()):
        raise TauError(
            f"run {state.run_id!r} is between two nodes, and nothing can be set there: set it in a node, and save the "
            "state there"
        )


def differences(state: State, stored: Mapping[str, Any]) -> dict[str, Any]:
    """What a state is beyond the stored one, by ``set``, ``altered`` in place and ``dropped``; empty where nothing."""
    opened = {} if state._visit is None else state._visit.opened.copy()
    now: dict[str, Any] = {}
    altered: dict[str, Any] = {}
    for key, value in raw(state).items():
        known = stored.get(key)
        if type(value) is not StoredValue:
            now[check_key(key, None)] = value
        elif value is known:
            if value in opened and make(key, opened[value][1], value, None) is not None:
                altered[key] = opened[value][1]
        elif value in opened or known is None or known.whole != value.whole:
            now[key] = state[key]
    dropped = [key for key in stored if key not in raw(state)]
    found: dict[str, Any] = {"set": now, "altered": altered, "dropped": dropped}
    return found if any(found.values()) else {}


def restore(effect: RunNode, kept: Mapping[str, Any]) -> None:
    """Give the node the state that was saved, as it was then: what it returns counts as if it went on from there."""
    given = effect.stored = effect.state
    values, visit = _over(raw(given), kept), OpenedValues()
    altered: Mapping[str, Any] = kept.get("altered", {})
    for key, value in altered.items():
        values[key] = cell = raw(given)[key]
        visit.opened[cell] = (key, value)
    effect.state = view(values, given._run_id, given._node, given._time, visit)


def shown(values: Mapping[str, Any], items: Mapping[tuple[Scope, str], StoredValue]) -> dict[str, Any]:
    """The values of a run as a reader sees them: with what the node in flight has saved."""
    for (scope, key), cell in items.items():
        if key == STATE and len(scope) == 1:
            kept = cell.open()[0]
            return _over(values, {**kept, "set": cells_of({**kept.get("altered", {}), **kept.get("set", {})})})
    return dict(values)


def _over(values: Mapping[str, Any], kept: Mapping[str, Any]) -> dict[str, Any]:
    dropped = kept.get("dropped", ())
    left = {key: value for key, value in values.items() if key not in dropped}
    return {**left, **kept.get("altered", {}), **kept.get("set", {})}
