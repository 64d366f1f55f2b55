"""One session with a PostgreSQL server: beginning it, waiting for it, what it is checked for."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

import psycopg
from psycopg import generators, waiting
from psycopg.pq import TransactionStatus

from tau import forks
from tau.errors import StoreUnavailableError, UnsupportedFormatError
from tau.signals import pass_on
from tau.stores.postgres import statements as sql
from tau.stores.postgres.failures import refusal
from tau.stores.postgres.place import Place
from tau.stores.postgres.prepared import Prepared, Statement
from tau.stores.sessions import left_open

OLDEST: Final = 14  # the oldest PostgreSQL that its own project still mended when this was written
_LOOK = 0.1  # seconds between two looks at whether the server has been silent for too long
_LAST_WORDS = 5.0  # seconds that an interrupt gives to what is under way

# What a program may set in the URL or the environment, and what counts where it does not.
_DEFAULTS: Final = {
    "connect_timeout": "10",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
    "fallback_application_name": "tau",
}


class SilenceError(psycopg.OperationalError):
    """The server has not answered for a long time."""


class Session(psycopg.Connection[Any]):
    """A connection that does not wait for ever, and is left alone by a child of fork.

    An interrupt lets what is under way come to its end first, so that a commit is there or is not. ``silence`` is for
    how many seconds the server may say nothing.
    """

    silence = 30.0
    has_tables = False
    format = 0
    """Of the tables, as they were found; 0 where there are none."""
    is_checked = False
    is_direct = False
    """Whether it is known that no pooler stands in between, which may give every transaction to another session: then
    what is done most is prepared there, as reading it takes the server longer than doing it."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.process = forks.process
        self._prepared_here = Prepared()
        self._poll: select.poll | None = None
        super().__init__(*arguments, **options)

    def wait(self, gen: Any, *_: Any, **__: Any) -> Any:
        talk = self._talk(gen)
        self._give(self.silence)
        try:
            return waiting.wait(talk, self.pgconn.socket, _LOOK)
        except SilenceError:
            raise
        except BaseException:
            if self.process is forks.process:
                self._let_end(talk)
            raise

    def _let_end(self, talk: Any) -> None:
        """Wait until the server has done what it was told."""
        is_whole = talk.gi_frame is not None
        if not is_whole:  # the interrupt came in the middle of psycopg's own part
            if self.pgconn.transaction_status != TransactionStatus.ACTIVE:
                return
            talk = self._talk(generators.execute(self.pgconn))
        self._give(_LAST_WORDS, in_all=True)
        with suppress(psycopg.Error):
            waiting.wait(talk, self.pgconn.socket, _LOOK)
        if not is_whole:
            self.leave()

    def _give(self, seconds: float, in_all: bool = False) -> None:
        self._in_all, self._until = in_all, time.monotonic() + seconds

    def _talk(self, gen: Any) -> Any:
        """``gen``, which talks to the server, for as long as that answers."""
        try:
            state = next(gen)
            while True:
                ready = (yield state) or 0  # without a value it goes on after an interrupt
                if self.process is not forks.process:
                    raise left_open()
                if ready and not self._in_all:
                    self._give(self.silence)
                elif time.monotonic() >= self._until:
                    raise SilenceError(f"no answer from the server for {self.silence:g} s")
                state = gen.send(ready)
        except StopIteration as end:
            return end.value

    def change(self, statement: str, terms: Any, *, binary: bool = False) -> psycopg.Cursor[Any]:
        """Execute one that writes. Where the role's transactions are serializable by default, which fails instead of
        waiting, it is done again in one that is not."""
        try:
            return self.execute(statement, terms, binary=binary)
        except (psycopg.errors.SerializationFailure, psycopg.errors.DeadlockDetected):
            with self.transaction():
                self.execute(sql.READ_COMMITTED)
                return self.execute(statement, terms, binary=binary)

    def append(self, statement: Statement, terms: Mapping[str, Any], *, prepare: bool = True) -> list[Any]:
        """The rows of one that writes, as `change` does it; prepared if ``prepare``, and if that can be."""
        with suppress(psycopg.errors.SerializationFailure, psycopg.errors.DeadlockDetected):
            if prepare and (rows := self.prepared(statement, terms)) is not None:
                return rows
        return self.change(statement.text, terms, binary=True).fetchall()

    def read(self, statement: Statement, terms: Mapping[str, Any]) -> list[Any]:
        """The rows of one that reads, prepared if that can be."""
        rows = self.prepared(statement, terms)
        return self.execute(statement.text, terms, binary=True).fetchall() if rows is None else rows

    def prepared(self, statement: Statement, terms: Mapping[str, Any]) -> list[Any] | None:
        """The rows of a prepared statement; ``None`` where there cannot be one, and nothing was done."""
        if not self.is_direct:
            return None
        given = statement.dump(terms)
        try:
            with self.lock:
                rows: list[Any] = self.wait(self._prepared_here.execute(self.pgconn, statement, given))
        except (psycopg.errors.InvalidSqlStatementName, psycopg.errors.DuplicatePreparedStatement):
            self.is_direct = False  # a pooler, after all
            return None
        return rows

    def is_well(self) -> bool:
        """Whether nothing is under way, and the server has not hung up since."""
        if self.closed or self.pgconn.transaction_status != TransactionStatus.IDLE:
            return False
        if self._poll is None:
            self._poll = select.poll()
            self._poll.register(self.pgconn.socket, select.POLLIN)
        return not self._poll.poll(0)

    def leave(self) -> None:
        """Close it, except in a child of fork, where it is the parent's."""
        if self.process is forks.process:
            with suppress(psycopg.Error):
                self.close()

    def let_go(self) -> None:
        """Close a child's copy."""
        with suppress(psycopg.Error, OSError):
            os.close(self.pgconn.socket)

    # No finaliser of Python's, in which an interrupt would be lost: what libpq has is closed by itself, but in a child.
    __del__ = staticmethod(object)  # type: ignore[assignment]


def connect(place: Place, silence: float) -> Session:
    """A session with a server that tau can use, whose tables, if there are any, are of a format that is known.

    Nothing is set for the session, as a pooler may stand in between.
    """
    session = _opened(place)
    try:
        session.silence = silence
        _check_server(session, place.location)
        session.has_tables = has_tables(session, place.location)
    except BaseException:
        session.leave()
        raise
    return session


def _opened(place: Place) -> Session:
    try:
        return Session.connect(
            **{**_DEFAULTS, **place.parameters, "client_encoding": "UTF8"},  # type: ignore[arg-type]
            autocommit=True,
            prepare_threshold=None,
        )
    except psycopg.Error as error:
        pass_on(error)
        refused = refusal(error, place.location, place.hide)
    raise refused  # not in the block above: the error of the driver, which holds the password, would go with it


def _check_server(session: Session, location: str) -> None:
    version = session.info.server_version
    if version < OLDEST * 10_000:
        raise StoreUnavailableError(
            f"cannot use {location}: the server is PostgreSQL {version // 10_000}; tau needs {OLDEST} or newer",
            location=location,
            transient=False,
        )
    encoding = session.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise StoreUnavailableError(
            f"cannot use {location}: the database has encoding {encoding}, which cannot hold every run id; create one "
            "with encoding UTF8 (createdb -E UTF8 -T template0)",
            location=location,
            transient=False,
        )


def has_tables(session: Session, location: str) -> bool:
    """Whether the tables are there. Raises `UnsupportedFormatError` where they are of a newer tau."""
    try:
        rows = session.execute(sql.WHICH_FORMAT).fetchall()
    except psycopg.errors.UndefinedTable:
        return False
    if len(rows) == 1 and 1 <= rows[0][0] <= sql.FORMAT:
        session.format = rows[0][0]
        # A pooler has process numbers of its own.
        session.is_direct = rows[0][1] == session.info.backend_pid
        return True
    found = rows[0][0] if len(rows) == 1 else None
    raise UnsupportedFormatError(
        f"cannot use {location}: its tables have format {found}, this version of tau knows {sql.FORMAT}; use the "
        "version of tau that wrote them, or another database",
        found=found,
        supported=sql.FORMAT,
    )


def create_tables(session: Session, location: str) -> None:
    """Create them where there are none; all or nothing, however many do it at the same moment."""
    with session.transaction():
        session.execute(sql.READ_COMMITTED)
        session.execute(sql.SYNCHRONOUS)
        session.execute(sql.TAKE_TURNS)
        ((exists,),) = session.execute(sql.HAS_SCHEMA).fetchall()
        if not exists:
            session.execute(sql.CREATE_SCHEMA)
        ((exists,),) = session.execute(sql.HAS_TABLES).fetchall()
        if not exists:
            session.execute(sql.SCHEMA)
    session.has_tables = has_tables(session, location)


def renew_tables(session: Session, location: str) -> None:
    """Bring tables of an older format up to date; all or nothing, however many do it at the same moment."""
    with session.transaction():
        session.execute(sql.READ_COMMITTED)
        session.execute(sql.SYNCHRONOUS)
        session.execute(sql.TAKE_TURNS)
        ((found, _),) = session.execute(sql.WHICH_FORMAT).fetchall()
        if found == 1:
            session.execute(sql.RENEW_SCHEMA)
    session.has_tables = has_tables(session, location)


def complete_tables(session: Session) -> None:
    """Make the index that tables of format 2 had not at first, where that takes a moment and nobody is in the way; else
    all goes on without it."""
    ((missing,),) = session.execute(sql.INDEX_IS_MISSING).fetchall()
    if missing:
        with suppress(psycopg.errors.LockNotAvailable), session.transaction():
            session.execute(sql.READ_COMMITTED)
            session.execute(sql.TAKE_TURNS)
            session.execute(sql.ADD_INDEX)


def check_promises(session: Session, location: str) -> None:
    """Raises `StoreUnavailableError` where the server would lose commits in a power cut."""
    (settings,) = session.execute(sql.PROMISES).fetchall()
    off = [name for name, value in zip(("fsync", "full_page_writes"), settings, strict=True) if value != "on"]
    if off:
        raise StoreUnavailableError(
            f"cannot write to {location}: the server has {' and '.join(f'{name} = off' for name in off)}, so a power "
            "cut may lose or damage what it acknowledged; turn that on in postgresql.conf, or say that this may be: "
            "?durability=relaxed in the URL, PostgresStore(..., durability='relaxed')",
            location=location,
            transient=False,
        )
    session.is_checked = True
