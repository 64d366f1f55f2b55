"""What a workflow finds where it is called: the visit of a node, if there is one, its observer, its wish to stop."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final, NoReturn, TypeVar

from tau import forks
from tau.checks import ObserverSpec, checked_name, refused
from tau.errors import (
    ConfigError,
    ExecutorError,
    GraphChangedError,
    LeaseLostError,
    RunCancelledError,
    RunInterruptedError,
    RunWaitingError,
    StoreError,
    TauError,
)
from tau.events import Event, text_of
from tau.graph.nodes import is_async
from tau.node.current import RunNode, RunScope, run_scope
from tau.node.paused import Paused
from tau.observers import notify, resolve_observer
from tau.observers.notify import describe
from tau.workflows.config import INHERIT

C = TypeVar("C")
_log = logging.getLogger("tau")

AT_HAND: Final = (list, tuple, range, dict, set, frozenset)
"""To draw an item of these takes no time, and to do so twice changes nothing."""


class Surroundings:
    """Where one call of a workflow happens. ``kind`` and ``name`` say which: ``chain``, ``parallel``, ``conditional``.

    ``scope`` and ``effect`` are the run around it and the visit in it, ``None`` outside of a node.
    """

    __slots__ = ("_about", "_process", "_source", "effect", "kind", "name", "observer", "scope")

    def __init__(
        self, source: str, kind: str, name: str, observer: ObserverSpec, visit: tuple[RunScope, RunNode] | None = None
    ) -> None:
        """``visit`` is where it happens, by default where this is called.

        Raises `UnknownObserverError` for a name that is not registered, `ConfigError` for what cannot be one."""
        self._source, self.kind, self.name = source, kind, name
        self._process = forks.process
        scope = run_scope.get() if visit is None else visit[0]
        self.effect = visit[1] if visit is not None else None if scope is None else scope.visit_here()
        self.scope = None if self.effect is None else scope
        self._about: dict[str, Any] = {kind: name}
        if self.scope is not None and self.effect is not None:
            where = {"run_id": self.scope.run_id, "node": self.effect.node.name, "visit": self.effect.visit}
            self._about = {**self._about, **where}
        if observer != INHERIT:
            self.observer = resolve_observer(observer)
        else:
            self.observer = resolve_observer("slog") if self.scope is None else self.scope.observer

    def tell(self, type_: str, data: dict[str, Any], at: datetime | None = None) -> None:
        """Tell the observer, if there is one, of something that happened now, or ``at`` that time."""
        if self.observer is not None and self._process is forks.process:
            time = datetime.now(UTC) if at is None else at
            notify(self.observer, Event(type_, self._source, time, {**data, **self._about}))

    def stopping(self) -> str:
        """Why this should stop, or nothing: the run around it is to stop, or its node was left behind by a timeout."""
        scope = self.scope
        if scope is None:
            return ""
        if scope.effect is not self.effect:
            return "its node is not running any more"
        return scope.should_stop()

    def check_stop(self) -> None:
        """Raises `RunInterruptedError` if this should stop."""
        if self.scope is not None and (reason := self.stopping()):
            raise self.interruption(reason)

    def interruption(self, reason: str) -> RunInterruptedError:
        """What ends a workflow in a run that was asked to stop."""
        assert self.scope is not None
        assert self.effect is not None
        return RunInterruptedError(
            f"{self.kind} {self.name!r} was stopped ({reason}) before all of its work was done",
            run_id=self.scope.run_id,
            node=self.effect.node.name,
            state=self.effect.state,
            reason=reason,
        )

    def is_child(self) -> bool:
        """Whether this process is a child that was forked off since this was made."""
        return self._process is not forks.process

    def check_process(self) -> None:
        """Raises `TauError` in a child that was forked off since this was made."""
        if self._process is not forks.process:
            raise TauError(
                f"process {os.getpid()} cannot go on with {self.kind} {self.name!r}: it is a child that was forked off "
                "in the middle of it, and only the process that began it goes on; end such a child with os._exit()"
            )

    def ends_run(self, error: BaseException) -> bool:
        """Whether the run around this cannot go on after it, it says so of a run of its own, or no item can be worked
        on any more."""
        gone = self.scope is not None and isinstance(error, (GraphChangedError, LeaseLostError, StoreError))
        ends = (RunInterruptedError, RunCancelledError, RunWaitingError, ExecutorError, Paused)
        return gone or isinstance(error, ends)

    def end_with(self, failure: TauError, error: BaseException) -> NoReturn:
        """Raise the failure, caused by the error; or, where that passes, the error, whose cause the failure is then,
        unless it has one."""
        try:
            if not self.passes(error):
                raise failure from error
            if error.__cause__ is None and not isinstance(error, GeneratorExit):
                error.__cause__ = failure
            raise error
        finally:
            del error, failure  # no cycle through their own tracebacks

    def passes(self, error: BaseException) -> bool:
        """Whether it comes out of a workflow as it is: a wish to end, or what ends the run around this."""
        return breaks_off(error) or self.ends_run(error)


def breaks_off(error: BaseException) -> bool:
    """Whether it is not a failure of what was called, but a wish to end: Ctrl-C, a cancellation, a stop."""
    return not isinstance(error, Exception) or isinstance(
        error, (RunInterruptedError, RunCancelledError, RunWaitingError)
    )


def said(error: BaseException) -> str:
    """The text of an error; its class, where it has none."""
    return text_of(error) or type(error).__name__


def name_of(function: Any, name: str | None) -> str:
    """What a workflow is called: the ``name`` given for it, or that of its function. Raises `ConfigError`."""
    if name is not None:
        return checked_name("name", name)
    while isinstance(function, functools.partial):
        function = function.func
    found = getattr(function, "__name__", None)
    return found if isinstance(found, str) else type(function).__name__


def checked_function(path: str, function: Any) -> None:
    """Raises `ConfigError` for what cannot be called."""
    if not callable(function):
        raise refused(path, function, "a callable")


def checked_progress(progress: Any) -> None:
    """Raises `ConfigError` for what is neither ``None`` nor a plain callable."""
    if progress is not None and (not callable(progress) or is_async(progress)):
        raise refused("progress", progress, "a callable that is not async, or None")


def checked_config(config: Any, kind: type[C]) -> C:
    """The configuration, for ``None`` that of all defaults. Raises `ConfigError` for one of another kind."""
    found = kind() if config is None else config
    if not isinstance(found, kind):
        raise refused("config", config, f"a {kind.__name__}")
    return found


def drawn(items: Any) -> tuple[Iterator[Any], int | None]:
    """What draws the items one by one, and how many there are, ``None`` where that is not known before the end.

    Raises `ConfigError` for what cannot be iterated.
    """
    total = None
    if isinstance(items, Sized):
        with suppress(TypeError):  # of an array without dimensions
            total = len(items)
    try:
        found: Iterable[Any] = items
        return iter(found), total
    except TypeError:
        more = "; collect an async iterable first: [item async for item in items]" * hasattr(items, "__aiter__")
        raise ConfigError(f"items: expected an iterable, found {type(items).__name__}{more}") from None


def report(progress: Callable[..., Any], *what: Any) -> None:
    """Call a progress callback. What it raises is logged and dropped, as for an observer: it is no part of the work."""
    try:
        progress(*what)
    except Exception as error:
        with suppress(Exception):
            _log.error(
                "progress callback %s raised %s: %s. The work goes on.", describe(progress), type(error).__name__,
                said(error), exc_info=error,
            )  # fmt: skip
