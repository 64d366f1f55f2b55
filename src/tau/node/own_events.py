"""What a node tells of itself: events of its own, and how far it is."""

from __future__ import annotations

import logging
from collections.abc import Callable
from itertools import count
from numbers import Integral, Real
from typing import Any, Final

from tau.checks import checked_name
from tau.errors import ConfigError
from tau.events import EVENT_TYPES, NODE_PROGRESS
from tau.redaction import without_secrets

MOST: Final = 10_000
"""So many events of its own a node may tell in one attempt."""
LARGEST: Final = 16_384
"""So many characters the data of one may have; a number counts as 8."""
FINENESS: Final = 1_000
"""The share of the total by which progress must have grown before it is told again: one in so many."""

_DEEPEST = 16
_WHERE = ("run_id", "node", "visit", "attempt")
_TAUS = {name.partition(".")[0] for name in EVENT_TYPES} - {"call"} | {"branch", "pause", "state", "tau"}
"""First words that are tau's; of those with ``call``, which programs may have told before, the very names."""
_TOLD = {"told": "warnings"}
_log = logging.getLogger("tau")


class OwnEvents:
    """The events of one attempt at a visit. Thread-safe. ``effect`` is the attempt, ``where`` says it in each event."""

    def __init__(self, effect: Any, where: dict[str, Any], tell: Callable[[str, dict[str, Any]], object]) -> None:
        self.effect = effect
        self._where, self._tell = where, tell
        self._count, self._large = count(), count()
        self._last: tuple[float, float | None] | None = None

    def emit(self, name: str, data: dict[str, Any]) -> None:
        """Tell an event; one that is too large, or one too many, is dropped, and the log says so once."""
        if not self._has_room():
            return
        try:
            left = [LARGEST]
            copied = {key: _copied(f"event {name!r}: {key}", one, left) for key, one in data.items()}
        except _TooLarge:
            if next(self._large) == 0:
                self._warn(f"the event {name!r}, and perhaps others, as its data has more than {LARGEST:,} characters")
            return
        shown = {key: without_secrets(key, one) for key, one in copied.items()}
        self._tell(name, {**shown, **self._where})

    def progress(self, done: float, total: float | None) -> None:
        """Tell how far the node is, where that has grown enough to be worth it."""
        last = self._last
        if last is not None and last[1] == total and not _has_moved(last[0], done, total):
            return
        self._last = done, total
        if self._has_room():
            self._tell(NODE_PROGRESS, {"done": done, "total": total, **self._where})

    def _has_room(self) -> bool:
        number = next(self._count)
        if number == MOST:
            self._warn(f"the events that follow the first {MOST:,} of its own; tell every hundredth, say")
        return number < MOST

    def _warn(self, what: str) -> None:
        where = self._where
        _log.warning("node %r of run %r: dropped %s", where["node"], where["run_id"], what, extra=_TOLD)


def checked_event(name: Any, data: dict[str, Any]) -> str:
    """The name of an event of a node's own. Raises `ConfigError` for one that is tau's, or that cannot be one."""
    checked_name("event name", name, ConfigError)
    family = name.partition(".")[0]
    if family in _TAUS or name in EVENT_TYPES:
        raise ConfigError(
            f"the event name {name!r} is refused: names that begin with {family!r} are tau's own; choose another first "
            "word"
        )
    taken = [key for key in _WHERE if key in data]
    if taken:
        raise ConfigError(f"event {name!r}: {taken[0]} is in every event of a node already; give it another name")
    return str(name)


def checked_progress(done: Any, total: Any) -> tuple[float, float | None]:
    """How far a node is. Raises `ConfigError` for what cannot say so."""
    return _amount("done", done), None if total is None else _amount("total", total)


def _amount(what: str, value: Any) -> float:
    number: float = -1
    if isinstance(value, Real) and not isinstance(value, bool):
        number = int(value) if isinstance(value, Integral) else float(value)
    if not 0 <= number < float("inf"):
        raise ConfigError(f"progress: {what} must be a number from 0, found {value!r:.80}")
    return number


def _has_moved(last: float, done: float, total: float | None) -> bool:
    if done == last:
        return False
    if total is None:
        return abs(done - last) * 100 >= last
    return abs(done - last) * FINENESS >= total or last < total <= done


class _TooLarge(Exception):
    """The data of an event has more characters than are told."""


def _copied(where: str, value: Any, left: list[int], depth: int = 0) -> Any:
    """A copy of plain data. Raises `ConfigError` for anything else, `_TooLarge` where more than is ``left``."""
    left[0] -= len(value) if isinstance(value, str) else 8
    if left[0] < 0:
        raise _TooLarge
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value)
    if isinstance(value, list | tuple | dict) and depth < _DEEPEST:
        if not isinstance(value, dict):
            return [_copied(where, one, left, depth + 1) for one in value]
        for key in value:
            left[0] -= len(key) if isinstance(key, str) else 0
            if not isinstance(key, str):
                raise ConfigError(f"{where}: keys must be text, found {type(key).__name__}: {key!r:.80}")
        return {key: _copied(where, one, left, depth + 1) for key, one in value.items()}
    found = "data that is nested too deep" if depth >= _DEEPEST else f"{type(value).__name__}: {value!r:.80}"
    raise ConfigError(
        f"{where} must be plain data (text, numbers, True, False, None, lists and dicts of these), found {found}"
    )
