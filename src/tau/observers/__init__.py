"""Observers, which receive events, and the registry that gives them names.

A new observer is one callable in one file, and one line in `_registry` if it is to have a name.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Sequence
from typing import Any

from tau.errors import ConfigError, UnknownObserverError
from tau.events import Observer
from tau.observers.notify import Multi, describe, failures, noop, notify
from tau.observers.recorder import Recorder
from tau.observers.slog import slog
from tau.spelling import did_you_mean

__all__ = ["Multi", "Recorder", "failures", "noop", "notify", "register_observer", "resolve_observer", "slog"]

_registry: dict[str, Observer] = {"noop": noop, "slog": slog}
_lock = threading.Lock()


def register_observer(name: str, observer: Observer) -> None:
    """Give an observer a name that configurations can use; an earlier observer of that name is replaced.

    Raises `ConfigError` for anything that is not a callable taking one event. Thread-safe.

    >>> from tau import GraphConfig, register_observer
    >>> register_observer("printed", lambda event: print(event.type))
    >>> config = GraphConfig("climate", observer="printed")
    """
    if not isinstance(name, str) or not name:
        raise ConfigError(f"register_observer: the name must be a string of at least one character, found {name!r}")
    _check(observer, f"register_observer({name!r})")
    with _lock:
        _registry[name] = observer


def resolve_observer(observer: Any) -> Observer | None:
    """The observer that a name, a callable or a list of these stands for; ``None`` if there is none.

    ``None`` and ``"noop"`` give ``None``, so that events cost nothing in a run without observers. A list gives one
    observer that calls each in order. Raises `UnknownObserverError` for a name that is not registered and
    `ConfigError` for anything that cannot be an observer.

    >>> from tau.observers import resolve_observer, slog
    >>> resolve_observer("slog") is slog, resolve_observer("noop")
    (True, None)
    """
    if observer is None:
        return None
    if isinstance(observer, str):
        return _skip_noop(_named(observer))
    if isinstance(observer, Sequence) and not callable(observer):
        found = [one for one in map(resolve_observer, observer) if one is not None]
        return Multi(found) if len(found) > 1 else (found[0] if found else None)
    _check(observer, "observer")
    return _skip_noop(observer)


def _named(name: str) -> Observer:
    with _lock:
        if name in _registry:
            return _registry[name]
        known = sorted(_registry)
    raise UnknownObserverError(
        f"failed to resolve observer: unknown observer: {name}; "
        f"registered are {', '.join(known)}{did_you_mean(name, known) or '.'} "
        f"Register it first: tau.register_observer({name!r}, observer)"
    )


def _skip_noop(observer: Observer) -> Observer | None:
    return None if observer is noop else observer


def _check(observer: Any, where: str) -> None:
    if not callable(observer):
        raise ConfigError(
            f"{where}: expected a callable taking one event, found {type(observer).__name__}: {observer!r:.80}"
        )
    if isinstance(observer, type):
        raise ConfigError(
            f"{where}: found the class {describe(observer)}; pass an instance of it: {observer.__name__}()"
        )
    if inspect.iscoroutinefunction(observer) or inspect.iscoroutinefunction(getattr(observer, "__call__", None)):  # noqa: B004
        raise ConfigError(
            f"{where}: {describe(observer)} is async, and it would never be awaited; "
            "pass a plain callable that hands the event to your loop"
        )
    try:
        inspect.signature(observer).bind(None)
    except TypeError as error:
        raise ConfigError(f"{where}: {describe(observer)} cannot be called with one event: {error}") from None
    except ValueError:  # many callables in C do not say
        pass
