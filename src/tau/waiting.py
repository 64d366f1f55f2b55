"""What threads of tau wait for: `Bell` and `Flag`, made of locks that are implemented in C; and `DaemonThread`.

The classes of `threading` (Condition, Event, Semaphore) and of `concurrent.futures` take their locks in Python code. If
a signal handler raises there (Ctrl-C above all), the lock stays taken for ever. If a handler needs the same lock, it
waits for its own thread. A lock in C is either taken or not, at whatever moment a signal arrives.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from threading import Lock, Thread
from typing import Any, Final

LOOK: Final = 0.25
"""Seconds after which a waiting thread looks again."""


class Bell:
    """Wakes one waiting thread, or the next one that waits. For a thread that serves others and gets no signals.

    It may be rung from any thread, signal handler or finaliser.
    """

    __slots__ = ("_silent",)

    def __init__(self) -> None:
        self._silent = Lock()
        self._silent.acquire()

    def is_set(self) -> bool:
        """Whether it was rung and has not woken a thread yet."""
        return not self._silent.locked()

    def set(self) -> None:
        """Ring."""
        with suppress(RuntimeError):  # it was rung already
            self._silent.release()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for it, for at most ``seconds``; return whether it was rung, and reset it."""
        return self._silent.acquire(timeout=-1 if seconds is None else max(0.0, seconds))


class Flag:
    """Set once, from any thread, signal handler or finaliser; any number of threads may wait for it.

    A waiting thread looks at it every `LOOK` seconds. So it does not wait for ever if the thread that sets the flag is
    interrupted, or if a signal arrives just before the system call that waits, which such a signal does not end.
    """

    __slots__ = ("_gate", "_is_set", "_later")

    def __init__(self) -> None:
        self._is_set = False
        self._gate = Lock()  # waiting threads pass through it, one after the other
        self._gate.acquire()
        self._later: deque[Callable[[], object]] = deque()

    def is_set(self) -> bool:
        """Whether it is set."""
        return self._is_set

    def set(self) -> None:
        """Set it; setting it again changes nothing."""
        self._is_set = True
        self._open()
        for work in list(self._later):
            work()
        self._later.clear()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until it is set, for at most ``seconds``; return whether it is."""
        ends = None if seconds is None else time.monotonic() + seconds
        while not self._is_set:
            left = LOOK if ends is None else min(LOOK, ends - time.monotonic())
            if left <= 0:
                break
            if self._gate.acquire(timeout=left):
                self._open()
        return self._is_set

    def then(self, work: Callable[[], object]) -> None:
        """Call ``work`` when it is set, in the thread that sets it, or now if it is. ``work`` may be called twice, and
        not at all if that thread is interrupted."""
        self._later.append(work)
        if self._is_set:
            work()

    def _open(self) -> None:
        if self._gate.locked():
            with suppress(RuntimeError):  # another thread was faster
                self._gate.release()


class DaemonThread(Thread):
    """A daemon thread whose start may be interrupted: the exception comes out unchanged, and the thread either runs or
    never begins.

    A plain `Thread.start` waits for a `threading.Event`; after an interrupt the new thread may wait for its lock for
    ever.
    """

    def __init__(self, target: Callable[..., object], name: str, args: tuple[Any, ...] = ()) -> None:
        super().__init__(target=target, name=name, args=args, daemon=True)
        self._started = _Started()

    def start(self) -> None:
        """Raises `RuntimeError` at the end of the interpreter, when no daemon thread can begin and this would wait for
        ever."""
        if sys.is_finalizing():
            raise RuntimeError("no thread can begin any more: the interpreter ends")
        try:
            super().start()
        except KeyError as error:
            if error.args != (self,) or error.__context__ is None:
                raise
            raise error.__context__ from None  # of a signal handler, as the thread had just begun


class _Started(Flag):
    """Replaces the event of `Thread`."""

    __slots__ = ()

    def _at_fork_reinit(self) -> None:
        """In a child: the flag keeps its value, and no thread waits for it."""
        self._gate = Lock()
        if not self._is_set:
            self._gate.acquire()
