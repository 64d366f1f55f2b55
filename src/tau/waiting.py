"""What threads of tau wait for: `Bell` and `Flag`, of locks of C.

Those of `threading` (Condition, Event, Semaphore) and of `concurrent.futures` take their locks in Python. What the
handler of a signal raises there, Ctrl-C above all, leaves them taken for ever; a handler that asks for the same one
waits for its own thread. A lock of C is taken or not, whatever comes when.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from threading import Lock
from typing import Final

LOOK: Final = 0.25
"""Seconds until who waits looks again."""


class Bell:
    """Wakes one thread that waits: now, or as soon as it does. For a thread that serves others, which takes no signals.

    Any thread may ring, a handler of a signal and a finaliser, too.
    """

    __slots__ = ("_silent",)

    def __init__(self) -> None:
        self._silent = Lock()
        self._silent.acquire()

    def is_set(self) -> bool:
        """Whether it was rung, and nobody was woken by it yet."""
        return not self._silent.locked()

    def set(self) -> None:
        """Ring."""
        with suppress(RuntimeError):  # it was rung already
            self._silent.release()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for it, for so long at most; whether it was rung. That is over then."""
        return self._silent.acquire(timeout=-1 if seconds is None else max(0.0, seconds))


class Flag:
    """Set once, by any thread, a handler of a signal and a finaliser, too; any number wait for it.

    Who waits looks at it now and then: neither an interrupt of who sets it keeps anybody waiting, nor does a signal
    that comes in the moment before the system's wait, which does not end that.
    """

    __slots__ = ("_gate", "_is_set", "_later")

    def __init__(self) -> None:
        self._is_set = False
        self._gate = Lock()  # who waits goes through it, one after the other
        self._gate.acquire()
        self._later: deque[Callable[[], object]] = deque()

    def is_set(self) -> bool:
        """Whether it is set."""
        return self._is_set

    def set(self) -> None:
        """Set it; once more changes nothing."""
        self._is_set = True
        self._open()
        for work in list(self._later):
            work()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until it is set, for so long at most; whether it is."""
        ends = None if seconds is None else time.monotonic() + seconds
        while not self._is_set:
            left = LOOK if ends is None else min(LOOK, ends - time.monotonic())
            if left <= 0:
                break
            if self._gate.acquire(timeout=left):
                self._open()
        return self._is_set

    def then(self, work: Callable[[], object]) -> None:
        """Call ``work`` when it is set, in the thread that does that, or now: perhaps twice, and not at all where that
        is interrupted."""
        self._later.append(work)
        if self._is_set:
            work()

    def _open(self) -> None:
        if self._gate.locked():
            with suppress(RuntimeError):  # another thread was faster
                self._gate.release()
