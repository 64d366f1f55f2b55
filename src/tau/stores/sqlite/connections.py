"""The connections of one SQLite store, and what becomes of them in errors and forks."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar

import apsw

from tau import forks
from tau.errors import CorruptCheckpointError, StoreUnavailableError
from tau.stores import mounts
from tau.stores.failures import from_os, is_foreign
from tau.stores.reentry import Guard
from tau.stores.sqlite import left_open
from tau.stores.sqlite.connection import connect, create_file, failure, patience
from tau.stores.sqlite.kept_locks import KeptLocks, close_aside, connections
from tau.stores.sqlite.place import Place

T = TypeVar("T")
Work = Callable[[apsw.Connection], T]

# What a connection found while the disk was ill is not believed when the disk is well: another one looks again.
_DISTRUSTED = (apsw.IOError, apsw.ReadOnlyError, apsw.CantOpenError, apsw.CorruptError, apsw.NotADBError)


class _Moved(StoreUnavailableError):
    """The write-ahead log is no longer the file of its name: what is committed to it may not be found again."""

    def __init__(self, location: str) -> None:
        super().__init__(
            f"the write-ahead log of {location} was removed or replaced while it was in use; leave the files beside "
            "a database (-wal, -shm) to SQLite, and try again",
            location=location,
            transient=True,
        )


class Connections(forks.Forked):
    """One connection that writes and one that reads, each made at first use and used by one thread at a time.

    A reader never waits for a commit. A signal handler or a finaliser may call the store in the middle of its own
    thread's work: what it reads, it reads through a connection of its own; writing is refused while its thread writes.
    """

    def __init__(self, path: str, location: str, busy_timeout: float, file_system: Callable[[str], str]) -> None:
        self.path = path
        self.location = location
        self._locks = KeptLocks(path)  # first: freed before the connections, so that the last one clears up
        self.writer: apsw.Connection | None = None
        self.reader: apsw.Connection | None = None
        self._busy_timeout = busy_timeout
        self._file_system = file_system
        self._writing = threading.RLock()
        self._reading = threading.RLock()
        self._writes = Guard(location)
        self._reads = Guard(location)
        self._reader_is_stale = False
        self._opening = threading.RLock()
        self._opened: list[weakref.ref[apsw.Connection]] = []
        self.place = Place(path, location)
        self._sync_failed = False
        forks.watch(self)

    def write(self, doing: str, work: Work[T]) -> T:
        """Do ``work`` in a transaction and commit it: all or nothing, whatever is raised. Raises `ReentryError`."""
        with self._writing:
            return self._writes.enter(partial(self._looking_twice, partial(self._transaction, doing, work)))

    def read(self, work: Work[T]) -> T:
        """Do ``work``, which only reads."""
        if self.is_inside():
            return self._read_apart(work)
        try:
            return self._read_in_turn(work)
        except _Moved:
            with self._writing:
                self._writes.enter(self._begin_anew)
        return self._read_in_turn(work)

    def _read_in_turn(self, work: Work[T]) -> T:
        with self._reading:
            return self._reads.enter(lambda: self._looking_twice(lambda: self._read(work)))

    def _looking_twice(self, work: Callable[[], T]) -> T:
        """SQLite takes a disk that cannot be read for a damaged file, so what looks damaged is looked at anew."""
        try:
            return work()
        except CorruptCheckpointError as error:
            if not isinstance(error.__cause__, apsw.CorruptError | apsw.NotADBError):
                raise
        return work()

    def close(self) -> None:
        """Let go of the file; the next use opens what is there then. Raises `ReentryError`."""
        with self._writing:
            self._writes.enter(self._close)

    def _close(self) -> None:
        with self._reading:
            self._reads.enter(self._drop_both)
        self.place.leave()

    def _transaction(self, doing: str, work: Work[T]) -> T:
        try:
            return self._attempt(doing, work)
        except _Moved:
            self._begin_anew()
        except BaseException:
            self._locks.written()  # where an interrupt came as it was to be let go
            raise
        return self._attempt(doing, work)

    def _attempt(self, doing: str, work: Work[T]) -> T:
        process, connection = forks.process, None
        try:
            connection = self._connected_writer()
            if process is not forks.process:
                raise left_open.refusal(self.location)
            self._locks.write(patience(self._busy_timeout))
            connection.execute("begin immediate")
            result = work(connection)
            connection.execute("commit")
            if self.place.has_lost_log():  # what went into a file that had lost its name must not be reported as kept
                if not self._rescue():
                    raise _Moved(self.location)
                self._begin_anew()
        except BaseException as error:
            if process is not forks.process:
                raise left_open.refusal(self.location) from error
            explained = self._explained(error, doing, connection)
            self._undo(connection)
            if explained is error:
                raise
            raise explained from error
        finally:
            self._locks.written()
        return result

    def _connected_writer(self) -> apsw.Connection:
        if self.writer is not None and self.writer.readonly("main"):  # opened when the file could not be written
            self._drop_writer()
        if self.writer is None:
            if self.reader is not None and self.reader.readonly("main"):
                self._retire_reader()  # the two share what SQLite knows about the file
            self.writer = self._spare() or self._connect()
        return self.writer

    def _spare(self) -> apsw.Connection | None:
        """The reader's connection, where nobody reads; the next read makes another. Most runs read once, at first."""
        if self._sync_failed or self._reader_is_stale or not self._reading.acquire(blocking=False):
            return None
        try:
            connection = None
            if not self._reads.is_inside():
                connection, self.reader = self.reader, None
            return connection
        finally:
            self._reading.release()

    def _undo(self, connection: apsw.Connection | None) -> None:
        if connection is not None and connection is self.writer and connection.in_transaction:
            try:
                connection.execute("rollback")
            except apsw.Error:
                self._drop_writer(damaged=True)

    # Reading

    def _read(self, work: Work[T]) -> T:
        connection = None
        try:
            if self._reader_is_stale:
                self._drop_reader()
            connection = self.reader = self.reader or self._connect()
            if self.place.has_lost_log():
                raise _Moved(self.location)
            return work(connection)
        except (apsw.Error, OSError, UnicodeDecodeError) as error:
            explained = self._explained(error, "read", connection)
            if explained is error:
                raise
            raise explained from error
        finally:
            if self._reader_is_stale:
                self._drop_reader()

    def _read_apart(self, work: Work[T]) -> T:
        """In the middle of another call of this thread: nothing is waited for, as that would be for itself."""
        connection = None
        try:
            connection = self._connect(busy_timeout=0.0)
            return work(connection)
        except (apsw.Error, OSError, UnicodeDecodeError) as error:
            explained = self._explained(error, "read", connection)
            if explained is error:
                raise
            raise explained from error
        finally:
            if connection is not None:
                self._drop(connection, damaged=False)

    # Errors

    def _explained(self, error: BaseException, doing: str, connection: apsw.Connection | None) -> BaseException:
        if isinstance(error, apsw.Error):
            errno = 0 if connection is None else connection.system_errno
            if isinstance(error, _DISTRUSTED):
                # A failed sync must not be tried again on this descriptor: the kernel may have dropped the pages.
                damaged = isinstance(error, apsw.IOError)
                if connection is self.writer:
                    self._drop_writer(damaged)
                elif connection is self.reader:
                    self._drop_reader(damaged)
            return failure(error, self.location, doing, self._busy_timeout, errno)
        if isinstance(error, UnicodeDecodeError):
            return CorruptCheckpointError(
                f"{self.location} is damaged: a string does not decode; restore it from a backup", what="row"
            )
        if isinstance(error, OSError) and not is_foreign(error):
            return from_os(error, self.location, doing)
        return error

    # Opening and closing

    def _connect(self, busy_timeout: float | None = None) -> apsw.Connection:
        kind = ""
        if not self.place.is_known:
            kind = self._file_system(self.path)
            if kind in mounts.NETWORK:
                raise StoreUnavailableError(
                    f"cannot use {self.location}: it is on a network file system ({kind}), where SQLite locks up or "
                    f"corrupts; use a file store (file:{os.path.splitext(self.path)[0]}), or a path on a local disk",
                    location=self.location,
                    transient=False,
                )
            create_file(self.path, self.location)
        else:
            self.place.check()
        left_open.check(self.path, self.location)
        seconds = self._busy_timeout if busy_timeout is None else busy_timeout
        # Frames that never reached the disk may lie before the next ones: write all of them again, elsewhere.
        rewrite = self._sync_failed and busy_timeout is None
        with self._opening:
            connection = self._sheltered(seconds, rewrite)
        if rewrite:
            self._sync_failed = False
        if not self.place.is_known:
            self.place.open(kind)
        return connection

    def _sheltered(self, seconds: float, rewrite: bool) -> apsw.Connection:
        """A connection whose log nobody deletes, and to the same log as the others here."""
        first = not self._living()
        if not first and not self.place.is_in_place():
            raise _Moved(self.location)
        try:
            if first and not self._locks.take(patience(seconds)):
                close_aside(connect(self.path, self.location, seconds))  # a new database: now it has a log
                self._locks.take(patience(seconds))
            connection = connect(self.path, self.location, seconds, rewrite)
            try:
                self._locks.take(patience(seconds))
                self._locks.take_index(patience(seconds))
                self._opened.append(weakref.ref(connection))
            except BaseException:
                close_aside(connection)  # the error keeps it alive
                raise
        except apsw.BusyError as error:
            raise failure(error, self.location, "open", seconds) from error
        except OSError as error:
            raise error if is_foreign(error) else from_os(error, self.location, "open") from error
        finally:
            if not self._living():
                self._locks.close()
        if first:
            self.place.open_log()
        return connection

    def _living(self, but: apsw.Connection | None = None) -> bool:
        """Whether there are connections; one that nobody refers to any more is closed."""
        self._opened = [each for each in self._opened if each() is not None and each() is not but]
        return bool(self._opened)

    # A log that is no longer the file of its name

    def _begin_anew(self) -> None:
        """Leave a log that was taken away to itself. All connections must go: new ones would share its index."""
        with self._reading:
            if self._reads.is_inside():  # in a handler, in the middle of a read: later
                raise _Moved(self.location)
            if not self.place.is_in_place():
                self._rescue()
                self._drop_both()
                if connections(self.path):
                    raise _Moved(self.location)

    def _rescue(self) -> bool:
        """Bring a log that was only removed into the database, where nobody can have gone on without it; whether all
        that was committed is in the file of the name."""
        connection = self.writer or self.reader
        if connection is None or not self._locks.hold:
            return False
        if self.place.has_another_log():
            return False
        try:
            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_FULL)
        except apsw.Error:
            return False
        return True

    def _drop_both(self) -> None:
        self._drop_writer()
        self._drop_reader()

    def _drop_writer(self, damaged: bool = False) -> None:
        connection, self.writer = self.writer, None
        if connection is not None:
            self._drop(connection, damaged)

    def _drop_reader(self, damaged: bool = False) -> None:
        connection, self.reader = self.reader, None
        self._reader_is_stale = False
        if connection is not None:
            self._drop(connection, damaged)

    def _retire_reader(self) -> None:
        """Drop the reader's connection, or let the thread that reads do it: that may be this very thread."""
        self._reader_is_stale = True
        if self._reading.acquire(blocking=False):
            try:
                if not self._reads.is_inside():
                    self._drop_reader()
            finally:
                self._reading.release()

    def _drop(self, connection: apsw.Connection, damaged: bool) -> None:
        if left_open.holds(connection):
            return
        self._sync_failed = self._sync_failed or damaged
        replaced = self.place.is_replaced()
        with self._opening:
            last = not self._living(but=connection)
            if damaged or replaced:
                # Closing would copy the log into the database, then delete the log by name: whosever it is by now.
                close_aside(connection)
            else:
                self._locks.close_within(connection, last)
            if last:
                self._locks.close()

    # A child of fork inherits what SQLite knows about its files, but not the locks behind it: a database that is open
    # in both would lose commits when one of them closes. So all is closed before the fork and opened again after it.

    def is_inside(self) -> bool:
        return self._writes.is_inside() or self._reads.is_inside()

    def before_fork(self, patience: bool) -> None:
        seconds = self._busy_timeout + 1.0 if patience else 0.0  # who is in there longer hangs
        if self._writing.acquire(timeout=seconds) and self._reading.acquire(timeout=seconds):
            self._drop_both()

    def after_fork(self, in_child: bool, kept_out: bool) -> None:
        if not in_child:
            for lock in (self._reading, self._writing) if kept_out else ():
                with suppress(RuntimeError):  # it was not to be had in time
                    lock.release()
            return
        self._writing, self._reading, self._opening = threading.RLock(), threading.RLock(), threading.RLock()
        if left_open.leave(self.path, in_use=self.is_inside()):
            self.writer = self.reader = None
