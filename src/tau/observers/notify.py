"""Calling one observer, or several, without letting them change the outcome."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from typing import Any
from weakref import WeakKeyDictionary

from tau.events import Event, Observer

_log = logging.getLogger("tau")
_lock = threading.Lock()
_failures: WeakKeyDictionary[Any, Counter[tuple[str, str]]] = WeakKeyDictionary()
# Observers without weak references (the append of a list, say) are distinguished by name only.
_nameless: Counter[tuple[str, str]] = Counter()


def notify(observer: Observer, event: Event, effect: Any = None) -> None:
    """Call ``observer(event)``. An ``Exception`` from it is logged and dropped; any other ``BaseException`` is raised.

    It is logged on the logger ``tau`` at ERROR once per observer and type of exception, and after that only counted
    (see `failures`), so that a broken observer does not flood the log. Thread-safe. If an ``effect`` is given, it is
    marked as ``told``.

    >>> from datetime import UTC, datetime
    >>> from tau import Event
    >>> from tau.observers import Recorder, notify
    >>> recorder = Recorder()
    >>> notify(recorder, Event("loss", "climate", datetime.now(UTC), {"value": 0.3}))
    >>> recorder.types()
    ['loss']
    """
    try:
        if effect is not None:
            effect.told = True  # no interrupt comes between this and the observer's own code
        observer(event)
    except Exception as error:
        _report(observer, event, error)


def failures(observer: Observer) -> int:
    """How many exceptions of this observer have been dropped so far. Raises nothing.

    >>> from tau.observers import failures
    >>> failures(print)
    0
    """
    name = describe(observer)
    with _lock:
        return sum(count for (known, _), count in _counter(observer).items() if known == name)


def describe(observer: Any) -> str:
    """A readable name: ``module.function``, or the class of a callable object. Raises nothing."""
    named = observer if hasattr(observer, "__qualname__") else type(observer)
    return f"{getattr(named, '__module__', None) or 'builtins'}.{named.__qualname__}"


def _counter(observer: Observer) -> Counter[tuple[str, str]]:
    try:
        return _failures.setdefault(getattr(observer, "__self__", observer), Counter())
    except Exception:  # unhashable, not weakly referable, or an __eq__ of its own that raises
        return _nameless


def _report(observer: Observer, event: Event, error: Exception) -> None:
    # A logging handler of the user's may raise as well; that must not reach the run either.
    with suppress(Exception):
        name = describe(observer)
        with _lock:
            counter = _counter(observer)
            key = (name, type(error).__qualname__)
            counter[key] += 1
            first = counter[key] == 1
        if first:
            _log.error(
                "observer %s raised %s on event %s: %s. The run goes on; further errors of this kind are only counted.",
                name, type(error).__qualname__, event.type, error,
                exc_info=error,
            )  # fmt: skip


class Multi:
    """Calls each observer, in the order given; an exception of one does not stop the rest. Raises nothing itself.

    >>> from datetime import UTC, datetime
    >>> from tau import Event
    >>> from tau.observers import Multi, Recorder
    >>> one, other = Recorder(), Recorder()
    >>> Multi([one, other])(Event("loss", "climate", datetime.now(UTC), {"value": 0.3}))
    >>> one.types(), other.types()
    (['loss'], ['loss'])
    """

    __slots__ = ("__weakref__", "observers")

    def __init__(self, observers: Iterable[Observer]) -> None:
        self.observers = tuple(observers)

    def __call__(self, event: Event) -> None:
        for observer in self.observers:
            notify(observer, event)

    def __repr__(self) -> str:
        return f"Multi({list(self.observers)!r})"


def noop(event: Event) -> None:
    """Discard the event. Raises nothing.

    >>> from tau import StateGraph
    >>> from tau.observers import noop
    >>> graph = StateGraph("silent", observer=noop)
    """
