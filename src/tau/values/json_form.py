"""A state as JSON: exactly what JSON can hold, nothing else."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from tau.errors import ConfigError
from tau.values.refusal import Refused, Step, error_of, refuse

MAX_DEPTH: Final = 200
MAX_DIGITS: Final = 4300
"""Python refuses longer numbers in text."""

_TOO_LONG: Final = 10**MAX_DIGITS

KEYS: Final = ("data", "run_id", "checkpoint_node", "timestamp")

_ELSE: Final = "keep the state with to_bytes(), which holds all that a run can hold"
_INSTEAD: Final = {
    tuple: "it would come back as a list; make it one",
    set: "make it a list",
    frozenset: "make it a list",
    bytes: "make it text, as in base64.b64encode(value).decode()",
    datetime: "make it text, as in value.isoformat()",
}


class StateFields(NamedTuple):
    """What the JSON of a state says."""

    data: dict[str, Any]
    run_id: str | None
    checkpoint_node: str | None
    timestamp: datetime | None


def to_json(fields: Mapping[str, Any]) -> str:
    """See `State.to_json`."""
    for key, value in fields["data"].items():
        try:
            _check(value)
        except Refused as refused:
            path = f"state[{key!r}]{refused.path}"
            raise error_of(refused, f"{path} is", path, key=key, why="which JSON cannot hold") from None
    return json.dumps({**fields, "timestamp": fields["timestamp"].isoformat()}, allow_nan=False)


def _check(whole: Any) -> None:
    """Raise `Refused` at the first part that would not come back as it is."""
    waiting: list[tuple[Any, tuple[Step, ...]]] = [(whole, ())]
    while waiting:
        value, way = waiting.pop()
        try:
            if len(way) > MAX_DEPTH:
                raise refuse(value, f"it lies more than {MAX_DEPTH} deep, or inside itself")
            waiting += [(part, (*way, step)) for part, step in _parts(value)]
        except Refused as refused:
            raise refused.retrace([*way, *refused.steps]) from None


def _parts(value: Any) -> Iterator[tuple[Any, Step]]:
    kind = type(value)
    if kind is dict:
        for key, part in value.items():
            if type(key) is not str:
                raise refuse(key, f"keys are text in JSON; {_ELSE}").under(Step("key", key))
            _check_text(key)
            yield part, Step("item", key)
    elif kind is list:
        yield from ((part, Step("item", index)) for index, part in enumerate(value))
    elif kind is str:
        _check_text(value)
    elif kind is float:
        if not math.isfinite(value):
            raise refuse(value, f"there is no {value} in JSON; {_ELSE}")
    elif kind is int:
        if abs(value) >= _TOO_LONG:
            raise refuse(value, f"it has more than {MAX_DIGITS:,} digits; {_ELSE}")
    elif value is not None and kind is not bool:
        raise refuse(value, f"{_INSTEAD.get(kind, 'it would not come back as it is')}; or {_ELSE}")


def _check_text(text: str) -> None:
    if not text.isascii() and any("\ud800" <= char <= "\udfff" for char in text):
        raise refuse(text, "it has a lone surrogate")


def from_json(text: str | bytes) -> StateFields:
    """See `State.from_json`."""
    try:
        found = json.loads(text, object_pairs_hook=_once, parse_constant=_no_number, parse_float=_finite)
    except ConfigError:
        raise
    except (ValueError, TypeError, RecursionError) as error:
        raise ConfigError(f"this is not the JSON of a state: {error}; give what State.to_json() made") from error
    if not isinstance(found, dict) or not isinstance(found.get("data"), dict):
        raise ConfigError('the JSON of a state is an object with "data", an object; give what State.to_json() made')
    if unknown := [key for key in found if key not in KEYS]:
        raise ConfigError(f"the JSON of a state has an unknown key {unknown[0]!r}; the keys are {', '.join(KEYS)}")
    for key in KEYS[1:]:
        if not isinstance(found.get(key), str | None):
            raise ConfigError(f"{key} in the JSON of a state: expected text, found {type(found[key]).__name__}")
    return StateFields(
        found["data"], found.get("run_id"), found.get("checkpoint_node") or None, _time(found.get("timestamp"))
    )


def _time(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
        return time if time.tzinfo is not None else time.replace(tzinfo=UTC)
    except ValueError:
        raise ConfigError(f"timestamp in the JSON of a state: {text!r:.80} is not a time in ISO 8601") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ConfigError(f"the JSON of a state has the key {twice!r} more than once; keep one")
    return found


def _no_number(text: str) -> float:
    raise ConfigError(f"the JSON of a state has {text}, which is not JSON; give what State.to_json() made")


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _no_number(text)
