"""The sessions of one PostgreSQL store: how many there are, who uses them, what becomes of them in errors and forks."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar

import psycopg

from tau import forks
from tau.errors import StoreUnavailableError
from tau.signals import pass_on
from tau.stores.postgres.connection import (
    Session,
    check_promises,
    connect,
    create_tables,
    has_tables,
    left_open,
)
from tau.stores.postgres.failures import failure
from tau.stores.postgres.place import Place
from tau.stores.reentry import Guard
from tau.waiting import LOOK, Bell

T = TypeVar("T")
Work = Callable[[Session], T]


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

    def take(self, seconds: float) -> _Turn | None:
        """One, as soon as there is one; ``None`` where there is none for so long."""
        ends = time.monotonic() + seconds
        while True:
            with self._lock:
                self._out = [each for each in self._out if each() is not None]
                if len(self._out) < self._most:
                    turn = _Turn()
                    self._out.append(weakref.ref(turn))
                    return turn
            left = ends - time.monotonic()
            if left <= 0:
                return None
            self._freed.wait(min(LOOK, left))  # where an interrupt kept it from being rung, it looks again

    def freed(self) -> None:
        """One may have ended."""
        self._freed.set()


class Connections(forks.Forked):
    """At most ``most`` sessions, each begun when there is none that is free, and kept for the next use.

    A signal handler or a finaliser may call the store in the middle of its own thread's work: it waits for nothing, and
    has a session of its own; writing is refused while its thread writes.
    """

    def __init__(self, place: Place, *, silence: float, most: int, strict: bool) -> None:
        self.location = location = place.location
        self._place = place
        self._silence = silence
        self._most = most
        self._strict = strict
        self._writes = Guard(location)
        self._reads = Guard(location)
        self._seen = False  # whether the tables were there
        self._begin_anew()
        forks.watch(self)

    def _begin_anew(self) -> None:
        self._idle = deque[Session]()
        self._turns = _Turns(self._most)

    def write(self, doing: str, work: Work[T]) -> T:
        """Do ``work``, of which each statement is a transaction. Raises `ReentryError`."""
        alone = self._reads.is_inside()
        return self._writes.enter(partial(self._use, doing, partial(self._ready, work), alone=alone))

    def read(self, work: Work[T], nothing: T) -> T:
        """Do ``work``, which only reads; ``nothing`` where there are no tables yet."""
        attempt = partial(self._look, work, nothing)
        if self.is_inside():
            return self._use("read", attempt, alone=True, again=True)
        return self._reads.enter(partial(self._use, "read", attempt, again=True))

    def close(self) -> None:
        """End the sessions, also those in use once they are free; the next use begins others."""
        idle, self._idle = self._idle, deque()
        self._seen = False
        for session in idle:
            session.leave()

    def _look(self, work: Work[T], nothing: T, session: Session) -> T:
        if not session.has_tables:
            session.has_tables = has_tables(session, self.location)
            if not session.has_tables:
                if self._seen:
                    raise self._gone()
                return nothing
        self._seen = True
        return work(session)

    def _ready(self, work: Work[T], session: Session) -> T:
        if not session.is_checked and self._strict:
            check_promises(session, self.location)
        if not session.has_tables:
            if self._seen and not has_tables(session, self.location):
                raise self._gone()
            create_tables(session, self.location)
        self._seen = True
        return work(session)

    def _gone(self) -> StoreUnavailableError:
        return StoreUnavailableError(
            f"the tables of {self.location} are gone: restore them, or close the store to begin anew",
            location=self.location,
            transient=False,
        )

    def _use(self, doing: str, work: Work[T], *, alone: bool = False, again: bool = False) -> T:
        """Do ``work`` in a session. ``alone``: without waiting for one. ``again``: once more in a new session where
        the server hung up on an older one."""
        if alone:
            return self._do(doing, work, again)
        turns = self._turns
        turn = self._turn(turns)
        try:
            return self._do(doing, work, again)
        finally:
            del turn  # now, as an error keeps this frame alive
            turns.freed()

    def _do(self, doing: str, work: Work[T], again: bool) -> T:
        idle = self._idle
        session = self._free()
        again = again and session is not None
        try:
            if session is None:
                session = connect(self._place, self._silence)
            result = work(session)
        except BaseException as error:
            self._drop(session, idle)
            pass_on(error)
            if session is not None and session.process is not forks.process:
                raise left_open() from error
            if not isinstance(error, psycopg.Error):
                raise
            if again and session is not None and session.closed:
                return self._do(doing, work, again=False)
            raise failure(error, self.location, doing, self._place.hide) from error
        idle.append(session)
        if idle is not self._idle:  # closed in the meantime
            self._drop(None, idle)
        return result

    def _turn(self, turns: _Turns) -> _Turn:
        turn = turns.take(self._silence)
        if turn is None:
            raise StoreUnavailableError(
                f"cannot use {self.location}: all of its {self._most} connections have been in use for "
                f"{self._silence:g} s; use fewer threads, or allow more (max_connections=)",
                location=self.location,
            )
        return turn

    def _free(self) -> Session | None:
        with suppress(IndexError):
            while True:
                session = self._idle.pop()
                if session.is_well():
                    return session
                session.leave()
        return None

    def _drop(self, session: Session | None, idle: deque[Session]) -> None:
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
    # its own; a statement that a handler's fork interrupted is its parent's, see `Session`.

    def is_inside(self) -> bool:
        return self._writes.is_inside() or self._reads.is_inside()

    def after_fork(self, in_child: bool, kept_out: bool) -> None:
        if not in_child:
            return
        for session in self._idle:
            with suppress(psycopg.Error, OSError):
                os.close(session.pgconn.socket)
        self._begin_anew()
