"""The sessions of one server's store: how many there are, who uses them, what becomes of them in errors and forks."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Generic, Protocol, TypeVar

from tau import forks
from tau.errors import StoreError, StoreUnavailableError
from tau.signals import pass_on
from tau.stores.reentry import Guard
from tau.waiting import LOOK, Bell


class Session(Protocol):
    """What a driver's session must tell. ``process`` is `tau.forks.process` of where it was begun."""

    process: object

    @property
    def closed(self) -> bool:
        """Whether it is over."""

    def is_well(self) -> bool:
        """Whether nothing is under way, and the server has not hung up since."""

    def leave(self) -> None:
        """End it, except in a child of fork, where it is the parent's. Raises nothing."""

    def let_go(self) -> None:
        """Close what a child has of a session in which nothing is under way. Raises nothing."""


S = TypeVar("S", bound=Session)
T = TypeVar("T")


class _Turn:
    """The right to a session. It ends with its last reference, be it by an interrupt."""

    __slots__ = ("__weakref__",)


class _Turns:
    """At most so many at a time. No finaliser takes part, as what a signal handler raises in one is lost."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._out: list[weakref.ref[_Turn]] = []
        self._lock = threading.RLock()
        self._freed = Bell()

    def take(self, mine: list[_Turn], seconds: float) -> bool:
        """Put one into ``mine``, which alone holds it, as soon as there is one; whether there was one in that time."""
        ends = time.monotonic() + seconds
        last = False
        while True:
            with self._lock:
                self._out = [each for each in self._out if each() is not None]
                if len(self._out) < self._most:
                    mine.append(_Turn())
                    self._out.append(weakref.ref(mine[0]))
                    return True
            left = ends - time.monotonic()
            if last:
                return False
            if left <= 0:
                last = True
                gc.collect()  # the traceback of an interrupt, in a cycle of its own, may hold one
            else:
                self._freed.wait(min(LOOK, left))  # where an interrupt kept it from being rung, it looks again

    def freed(self) -> None:
        """One may have ended."""
        self._freed.set()


class Sessions(forks.Forked, Generic[S]):
    """At most ``most`` sessions, each begun when there is none that is free, and kept for the next use. ``silence`` is
    for how many seconds a server may say nothing.

    A signal handler or a finaliser may call the store in the middle of its own thread's work: it waits for nothing, and
    has a session of its own; writing is refused while its thread writes.
    """

    def __init__(self, location: str, *, silence: float, most: int) -> None:
        self.location = location
        self.silence = silence
        self._most = most
        self._writes = Guard(location)
        self._reads = Guard(location)
        self.seen = False
        """Whether there was a store in this place."""
        self._begin_anew()
        forks.watch(self)

    def connect(self) -> S:
        """Begin a session. Raises `StoreError`."""
        raise NotImplementedError

    def failure(self, error: Exception, doing: str) -> Exception | None:
        """What an error of the driver means that was met while ``doing`` something (as in "commit to"); ``None`` for
        one that is not the driver's."""
        raise NotImplementedError

    def _begin_anew(self) -> None:
        self._idle = deque[S]()
        self._turns = _Turns(self._most)

    def in_turn_to_write(self, doing: str, work: Callable[[S], T]) -> T:
        """Do ``work``, each call of which to the server is a transaction. Raises `ReentryError`."""
        alone = self._reads.is_inside()
        return self._writes.enter(partial(self._use, doing, work, alone=alone))

    def in_turn_to_read(self, work: Callable[[S], T]) -> T:
        """Do ``work``, which only reads, and may be done again."""
        if self.is_inside():
            return self._use("read", work, alone=True, again=True)
        return self._reads.enter(partial(self._use, "read", work, again=True))

    def close(self) -> None:
        """End the sessions, also those in use once they are free; the next use begins others."""
        idle, self._idle = self._idle, deque()
        self.seen = False
        for session in idle:
            session.leave()

    def gone(self, what: str) -> StoreUnavailableError:
        """The error for a store that was there and is not any more, for good."""
        return StoreUnavailableError(
            f"{what} of {self.location} are gone: restore them, or close the store to begin anew",
            location=self.location,
            transient=False,
        )

    def _use(self, doing: str, work: Callable[[S], T], *, alone: bool = False, again: bool = False) -> T:
        """Do ``work`` in a session. ``alone``: without waiting for one. ``again``: once more in a new session where
        the server hung up on an older one."""
        if alone:
            return self._do(doing, work, again)
        turns, mine = self._turns, list[_Turn]()
        try:
            if not turns.take(mine, self.silence):
                raise self._all_in_use()
            return self._do(doing, work, again)
        finally:
            mine.clear()  # now, as an error keeps this frame alive
            turns.freed()

    def _do(self, doing: str, work: Callable[[S], T], again: bool) -> T:
        idle = self._idle
        session = self._free()
        again = again and session is not None
        try:
            if session is None:
                session = self.connect()
            result = work(session)
        except BaseException as error:
            self._drop(session, idle)
            pass_on(error)
            if session is not None and session.process is not forks.process:
                raise left_open() from error
            told = self.failure(error, doing) if isinstance(error, Exception) else None
            if told is None:
                raise
            if again and session is not None and session.closed:
                return self._do(doing, work, again=False)
            raise told from error
        idle.append(session)
        if idle is not self._idle:  # closed in the meantime
            self._drop(None, idle)
        return result

    def _all_in_use(self) -> StoreUnavailableError:
        return StoreUnavailableError(
            f"cannot use {self.location}: all of its {self._most} connections have been in use for "
            f"{self.silence:g} s; use fewer threads, or allow more (max_connections=)",
            location=self.location,
        )

    def _free(self) -> S | None:
        with suppress(IndexError):
            while True:
                session = self._idle.pop()
                if session.is_well():
                    return session
                session.leave()
        return None

    def _drop(self, session: S | None, idle: deque[S]) -> None:
        """Keep what can still be used."""
        if session is not None and session.process is forks.process:
            if session.is_well():
                idle.append(session)
            else:
                session.leave()
        while idle is not self._idle and idle:
            with suppress(IndexError):
                idle.pop().leave()

    # A child of fork has copies of its parent's sessions. It lets go of those that nothing is under way in, and begins
    # its own; what a handler's fork interrupted is its parent's, see `left_open`.

    def is_inside(self) -> bool:
        return self._writes.is_inside() or self._reads.is_inside()

    def after_fork(self, in_child: bool, kept_out: bool) -> None:
        if not in_child:
            return
        for session in self._idle:
            session.let_go()
        self._begin_anew()


def left_open() -> StoreError:
    """The error for a child that was forked in the middle of what its parent says to a server."""
    return StoreError(
        "this process was forked in the middle of a commit of its parent, and what is under way there is not the "
        "child's; start workers by spawn, or fork outside of commits"
    )
