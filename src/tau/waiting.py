"""What threads of tau wait for: `Bell` and `Flag`, of locks of C.

Those of `threading` (Condition, Event, Semaphore) and of `concurrent.futures` take their locks in Python. What the
handler of a signal raises there, Ctrl-C above all, leaves them taken for ever; a handler that asks for the same one
waits for its own thread. A lock of C is taken or not, whatever comes when.
"""

from __future__ import annotations

from contextlib import suppress
from threading import Lock


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
