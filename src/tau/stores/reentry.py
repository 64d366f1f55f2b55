"""A call that comes in the middle of another one of the same thread: from a signal handler, a finaliser, a tracer."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from tau.errors import StoreError
from tau.forks import Forked, watch

A = TypeVar("A")
T = TypeVar("T")

_log = logging.getLogger("tau")


class ReentryError(StoreError):
    """This thread is in the middle of a commit, so it can neither begin another one nor wait for its own end.

    ``guard`` is of what it is in the middle of.
    """

    def __init__(self, guard: Entrance, name: str) -> None:
        super().__init__(
            f"cannot change {name} here: this call, of a signal handler or a finaliser, came in the middle of a commit "
            "of the same thread; let it note down what is to be done, and do that after it has returned",
            location=name,
        )
        self.guard = guard


class _Mine(threading.local):
    def __init__(self) -> None:
        self.lock = threading.Lock()


class Entrance(Forked):
    """Keeps a thread from getting into what it is in the middle of.

    ``name`` says what is being worked on, in the words of the error.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._later: deque[Callable[[], object]] = deque()
        watch(self)

    def refusal(self) -> ReentryError:
        """Why this thread cannot get in."""
        return ReentryError(self, self._name)

    def afterwards(self, work: Callable[[], object]) -> None:
        """Do ``work`` at the end of what this thread is in the middle of."""
        self._later.append(work)

    def _catch_up(self) -> None:
        while self._later:
            work = self._later[0]
            try:
                work()
            except Exception as error:
                _log.warning("what a signal handler asked for in the middle of a commit was not done: %s", error)
            with suppress(ValueError):  # another thread has done it, too, which does no harm
                self._later.remove(work)

    def after_fork(self, in_child: bool, kept_out: bool) -> None:
        if in_child:
            self._later.clear()  # the parent does it


class Guard(Entrance):
    """It keeps no other thread out."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._mine = _Mine()  # a lock that only its own thread takes: where it is taken, this thread is inside

    def enter(self, work: Callable[[], T]) -> T:
        """Do ``work``. Raises `ReentryError` where this thread is inside already."""
        lock = self._mine.lock
        if lock.locked():
            raise self.refusal()
        try:
            with lock:
                return work()
        finally:
            if self._later:
                self._catch_up()

    def is_inside(self) -> bool:
        """Whether this thread is."""
        return self._mine.lock.locked()


class Door(Entrance):
    """It keeps the other threads out, too: one at a time is inside, and ``is_taken`` tells that there is one."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.is_taken = False
        self._lock: Any = threading.RLock()  # who owns it is inside; asking that takes no call of Python's

    def enter(self, work: Callable[[A], T], argument: A) -> T:
        """Do ``work`` with that argument. Raises `ReentryError` where this thread is inside already."""
        lock = self._lock
        if lock._is_owned():
            raise self.refusal()
        try:
            with lock:
                self.is_taken = True
                try:
                    return work(argument)
                finally:
                    self.is_taken = False
        finally:
            if self._later:
                self._catch_up()

    def is_inside(self) -> bool:
        """Whether this thread is."""
        owned: bool = self._lock._is_owned()
        return owned

    def after_fork(self, in_child: bool, kept_out: bool) -> None:
        super().after_fork(in_child, kept_out)
        if in_child and not self.is_inside():
            self._lock = threading.RLock()  # a thread that the child does not have may have held it
            self.is_taken = False
