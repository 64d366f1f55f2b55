"""One connection to a Redis server: beginning it, talking to the server, what it is checked for."""

from __future__ import annotations

import select
import socket
import ssl
import time
from contextlib import suppress
from typing import Any, Final

from redis.exceptions import RedisError

from tau import forks
from tau.errors import StoreUnavailableError
from tau.signals import is_of_handler
from tau.stores.redis.failures import NO_CLUSTER
from tau.stores.redis.place import Place
from tau.stores.redis.protocol import Answers, Command, NoRedisError, ServerError, packed
from tau.stores.redis.scripts import Script
from tau.stores.sessions import left_open

OLDEST: Final = 6  # the oldest Redis that can say what it is (HELLO)
_LOOK: Final = 100  # milliseconds between two looks at whether the server has been silent for too long
_LAST_WORDS: Final = 5.0  # seconds that an interrupt gives to what is under way
_PIECE: Final = 1 << 16
_NOT_NOW: Final = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class LostError(Exception):
    """The connection is no more, or could not be had."""


class Session(Answers):
    """A connection that does not wait for ever, and is left alone by a child of fork. ``silence`` is for how many
    seconds the server may say nothing.

    What is broken off in the middle ends it: no later answer is ever taken for another one. An interrupt lets the
    server carry out first what it was told, so that a commit is there or is not. No finaliser takes part, as what a
    signal handler raises in one is lost: a socket that nothing refers to any more is closed by itself.
    """

    is_checked = False

    def __init__(self, connected: socket.socket, silence: float) -> None:
        super().__init__()
        self.process = forks.process
        self.silence = silence
        self.closed = False
        self._socket = connected
        connected.setblocking(False)
        self._poll = select.poll()
        self._poll.register(connected, select.POLLIN)
        self._is_busy = False
        self._until = 0.0

    def ask(self, *commands: Command) -> list[Any]:
        """The answers to those, in order; an error of the server is a `ServerError` among them, or inside of them.

        Raises `LostError`, `NoRedisError`.
        """
        if self.process is not forks.process:
            raise left_open()
        self._is_busy = True
        try:
            for data in packed(commands):
                self._send(data)
            self._until = time.monotonic() + self.silence
            found = [self._next() for _ in commands]
            self._is_all()
        except BaseException as error:
            if self.process is forks.process:
                if not isinstance(error, LostError | NoRedisError):
                    self._let_end()
                self.leave()
            raise
        self._is_busy = False
        return found

    def one(self, *command: bytes | str | int | float) -> Any:
        """The answer to one command. Raises `ServerError` too, and what `ask` raises."""
        (found,) = self.ask(command)
        if isinstance(found, ServerError):
            raise found
        return found

    def run(self, script: Script, keys: list[bytes], terms: list[bytes | str | int | float]) -> Any:
        """What a script returns, whether the server has it or is told it now. Raises what `one` raises."""
        call = (len(keys), *keys, *terms)
        try:
            return self.one("EVALSHA", script.digest, *call)
        except ServerError as error:
            if error.code != "NOSCRIPT":
                if error.code in ("READONLY", "MASTERDOWN"):
                    self.leave()  # by its name the next one may reach the new primary
                raise
        return self.one("EVAL", script.text, *call)

    def is_well(self) -> bool:
        """Whether nothing is under way, and the server has not hung up since."""
        return not self._is_busy and not self.closed and not self._poll.poll(0)

    def leave(self) -> None:
        """Close it, except in a child of fork, where it is the parent's."""
        if self.process is forks.process:
            self.let_go()

    def let_go(self) -> None:
        """Close a child's copy, or this process's own."""
        self.closed = True
        with suppress(OSError):
            self._socket.close()

    def _send(self, data: bytes) -> None:
        rest = memoryview(data)
        self._until = time.monotonic() + self.silence
        while rest:
            try:
                sent = self._socket.send(rest)
            except _NOT_NOW:
                self._wait(select.POLLOUT)
                continue
            except OSError as error:
                raise _told(error) from error
            rest = rest[sent:]
            self._until = time.monotonic() + self.silence

    def _receive(self) -> bytes:
        while True:
            if not (isinstance(self._socket, ssl.SSLSocket) and self._socket.pending()):
                self._wait(select.POLLIN)
            try:
                data = self._socket.recv(_PIECE)
            except _NOT_NOW:
                continue
            except OSError as error:
                raise _told(error) from error
            if not data:
                raise LostError("the server closed the connection")
            self._until = time.monotonic() + self.silence
            return data

    def _wait(self, what: int) -> None:
        """Wait until the socket can do that."""
        poll = self._poll
        if what != select.POLLIN:
            poll = select.poll()
            poll.register(self._socket, what)
        while not poll.poll(_LOOK):
            if time.monotonic() >= self._until:
                raise LostError(f"no answer from the server for {self.silence:g} s")
        if self.process is not forks.process:
            raise left_open()

    def _let_end(self) -> None:
        """Say that no more will come, and wait until the server has done what it was told, and hung up."""
        self._until = time.monotonic() + _LAST_WORDS
        with suppress(OSError, LostError):
            self._socket.shutdown(socket.SHUT_WR)
            while time.monotonic() < self._until:
                until = self._until
                self._receive()
                self._until = until


def _told(error: OSError) -> Exception:
    """A broken connection; what the handler of a signal raised stays what it is."""
    return error if is_of_handler(error) else LostError(error.strerror or str(error))


def connect(place: Place, silence: float) -> Session:
    """A connection to a server that tau can use, in the database that is meant.

    Raises `LostError`, `ServerError`, `NoRedisError`, `StoreUnavailableError`.
    """
    opener: Any = place.opener(silence)
    try:
        opener.connect()
    except (RedisError, OSError) as error:
        if is_of_handler(error):
            raise
        raise LostError(place.hide(" ".join(str(error).split()))) from error
    connected, opener._sock = opener._sock, None
    session = Session(connected, silence)
    try:
        _greet(session, place)
    except BaseException:
        session.leave()
        raise
    return session


def _greet(session: Session, place: Place) -> None:
    secret = ("AUTH", place.user, place.password) if place.password or place.user != "default" else ()
    (greeting,) = session.ask(("HELLO", 2, *secret))  # alone, as a server that refuses a client says only why
    if isinstance(greeting, ServerError):
        raise ServerError(place.hide(str(greeting)))  # which quotes what it does not understand
    words = dict(zip(greeting[::2], greeting[1::2], strict=False)) if isinstance(greeting, list) else {}
    version, mode = (bytes(words.get(name) or b"").decode("utf-8", "replace") for name in (b"version", b"mode"))
    if mode not in ("standalone", ""):
        what = NO_CLUSTER if mode == "cluster" else f"the server is a {mode}; name the server that holds the data"
        raise _unusable(place.location, what)
    if not version.partition(".")[0].isdecimal() or int(version.partition(".")[0]) < OLDEST:
        raise _unusable(
            place.location,
            f"the server is Redis {version or 'of an unknown version'}; tau needs {OLDEST} or newer, or Valkey",
        )

    session.one("SELECT", place.database)


def _unusable(location: str, why: str) -> StoreUnavailableError:
    return StoreUnavailableError(f"cannot use {location}: {why}", location=location, transient=False)


_PROMISES: Final = {
    "maxmemory-policy": "noeviction",
    "appendonly": "yes",
    "appendfsync": "always",
    "no-appendfsync-on-rewrite": "no",
}


def check_promises(session: Session, location: str) -> None:
    """Raises `StoreUnavailableError` where the server would lose commits when its memory is full, or in a power cut, or
    does not let that be seen."""
    answers = session.ask(*(("CONFIG", "GET", name) for name in _PROMISES))
    found = {
        name: answer[1].decode("utf-8", "replace") if isinstance(answer, list) and len(answer) == 2 else None
        for name, answer in zip(_PROMISES, answers, strict=True)
    }
    wrong = [
        f"{name} cannot be read" if value is None else f"{name} is {value}, not {_PROMISES[name]}"
        for name, value in found.items()
        if value != _PROMISES[name]
    ]
    if wrong:
        raise StoreUnavailableError(
            f"cannot write to {location}: the server may lose what it acknowledged: {', '.join(wrong)}; set that in "
            "redis.conf (and let this user do CONFIG GET), or say that this may be: ?durability=relaxed in the URL, "
            "RedisStore(..., durability='relaxed')",
            location=location,
            transient=False,
        )
    session.is_checked = True
