"""Asking a run to stop: `Stop` and `stop_on`."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

from tau.errors import ConfigError, RunInterruptedError
from tau.waiting import Flag


class StopNow(BaseException):
    """Interrupts the node in flight; its text is the reason."""


def end_branch(stopping: Callable[[], str], in_item: bool) -> None:
    """Raise what ends the node of a branch that is to stop, at one of its steps or questions. In an item of a map that
    is what the map takes for a stop; elsewhere nothing that catches `Exception` keeps it."""
    reason = stopping()
    if reason:
        raise RunInterruptedError(f"the branch was stopped ({reason})", reason=reason) if in_item else StopNow(reason)


class Stop:
    """A request to stop, to be passed to ``execute`` or ``resume``; one may serve many runs.

    A run that is asked to stop finishes the node in flight, saves, and raises `RunInterruptedError`. Thread-safe.
    Making one raises nothing.

    >>> from tau import RunInterruptedError, StateGraph, Stop
    >>> stop = Stop()
    >>> graph = StateGraph("two", store="sqlite:///tau.db")
    >>> graph.add_node("first", lambda state: stop.set("enough for today"))
    >>> graph.add_node("second", lambda state: {"done": True})
    >>> graph.sequence("first", "second")
    >>> try:
    ...     graph.execute({}, run_id="two-1", stop=stop)
    ... except RunInterruptedError as error:
    ...     print(stop.is_set(), error.reason)
    True enough for today
    >>> graph.resume("two-1")["done"]
    True
    """

    def __init__(self) -> None:
        self.event = Flag()
        self.reason = ""
        # Of a worker that ends: the reason, whoever asks for it, and what a second signal does instead of raising.
        self.always = ""
        self.hurry: Callable[[], object] | None = None
        self.signals: tuple[int, ...] = ()

    def set(self, reason: str = "stop requested") -> None:
        """Ask; only the first reason is kept. Raises nothing."""
        if not self.event.is_set():
            self.reason = self.always or reason
            self.event.set()

    def is_set(self) -> bool:
        """Whether a stop was requested. Raises nothing."""
        return self.event.is_set()

    def __repr__(self) -> str:
        return f"Stop({self.reason!r})" if self.is_set() else "Stop()"


@contextmanager
def stop_on(*signals: int) -> Iterator[Stop]:
    """A `Stop` that these signals set while the block runs (SIGTERM if none is named); main thread only.

    A second signal interrupts the node in flight: ``resume`` will run it again. The earlier handlers are restored at
    the end. Raises `ConfigError` for anything that is not a number, `ValueError` in any other thread and for a number
    that is not a signal, `OSError` for a signal that cannot be handled, such as SIGKILL.

    >>> import signal
    >>> from tau import stop_on
    >>> with stop_on(signal.SIGTERM, signal.SIGUSR1) as stop:
    ...     stop.is_set()  # graph.execute(state, stop=stop)
    False
    """
    stop = Stop()
    for number in signals:
        if not isinstance(number, int):
            said = f"stop_on takes signals, as in stop_on(signal.SIGTERM), not {type(number).__name__}: {number!r:.80}"
            raise ConfigError(said)

    def handle(number: int, _frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        if stop.is_set() and stop.hurry is not None:
            stop.hurry()
        elif stop.is_set():
            raise StopNow(stop.always or f"second signal: {name}")
        else:
            stop.set(name)

    before: dict[int, Any] = {}
    try:
        for number in signals or (signal.SIGTERM,):
            try:
                before[number] = signal.signal(number, handle)
            except OSError as error:
                name = signal.Signals(number).name
                raise OSError(error.errno, f"stop_on: no process can handle {name} ({number}); name another") from None
        stop.signals = tuple(before)
        yield stop
    finally:
        stop.signals = ()
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)


def checked_options(
    wait: float, resources: Mapping[str, Any] | None, stop: Stop | None, max_runtime: float | None
) -> dict[str, Any]:
    """The arguments of ``execute`` and ``resume`` that a driver takes. Raises `ConfigError`."""
    for name, seconds in (("wait", wait), ("max_runtime", max_runtime)):
        if seconds is not None and not (isinstance(seconds, int | float) and seconds >= 0):
            raise ConfigError(f"{name} must be 0 or more seconds, found {seconds!r}")
    for name, given, kind in (("stop", stop, Stop), ("resources", resources, Mapping)):
        if given is not None and not isinstance(given, kind):
            raise ConfigError(f"{name} must be a {kind.__name__}, found {type(given).__name__}")
    return {"wait": wait, "resources": resources, "stop": stop, "max_runtime": max_runtime}
