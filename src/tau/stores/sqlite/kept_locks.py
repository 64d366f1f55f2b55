"""Locks on a database that stay whatever else this process does with its files.

SQLite's own locks belong to the process: whoever closes a descriptor of the same file in it drops them all, be it
another copy of SQLite (Python's sqlite3) or the copying of the file. Other processes then take themselves for the last
one, bring the log into the database and delete it under those who go on writing to it. A lock of an open file
description ends with its own descriptor only, and counts as much for every SQLite. Linux has them.
"""

from __future__ import annotations

import errno
import os
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import apsw

from tau import forks
from tau.signals import is_of_handler, pass_on

if sys.platform == "linux":
    import fcntl
    import select

_DATABASE = (0x40000002, 510)  # read by whoever has the database open; written by the last one, who deletes the log
_INDEX = (128, 1)  # of "-shm", read by whoever has it open; written by the first one, who empties it
_WRITING = (0x40000200, 1)  # beyond what SQLite uses: written by the one tau that is in a transaction
_AGAIN = (errno.EAGAIN, errno.EACCES)


def _flock(kind: int, place: tuple[int, int]) -> bytes:
    return struct.pack("hhqqi0q", kind, os.SEEK_SET, *place, 0)


if sys.platform == "linux":
    _READ_DATABASE, _WRITE_DATABASE = _flock(fcntl.F_RDLCK, _DATABASE), _flock(fcntl.F_WRLCK, _DATABASE)
    _LEAVE_DATABASE = _flock(fcntl.F_UNLCK, _DATABASE)
    _READ_INDEX, _LEAVE_INDEX = _flock(fcntl.F_RDLCK, _INDEX), _flock(fcntl.F_UNLCK, _INDEX)
    _WRITE, _LEAVE_WRITING = _flock(fcntl.F_WRLCK, _WRITING), _flock(fcntl.F_UNLCK, _WRITING)

    def _holding(path: str) -> select.epoll:
        flags = os.O_CLOEXEC | (os.O_RDWR if os.access(path, os.W_OK, effective_ids=True) else os.O_RDONLY)
        return select.epoll.fromfd(os.open(path, flags))

    def _set(descriptor: int, lock: bytes) -> None:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, lock)

    def _nobody_has(descriptor: int, lock: bytes) -> bool:
        (kind,) = struct.unpack_from("h", fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, lock))
        return bool(kind == fcntl.F_UNLCK)
else:

    def _holding(path: str) -> Any:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    _READ_DATABASE = _WRITE_DATABASE = _LEAVE_DATABASE = _READ_INDEX = _LEAVE_INDEX = _WRITE = _LEAVE_WRITING = b""

    def _set(descriptor: int, lock: bytes) -> None:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    def _nobody_has(descriptor: int, lock: bytes) -> bool:
        return False


def connections(path: str) -> list[apsw.Connection]:
    """Those that this process has open to the database at ``path``."""
    return [connection for connection in apsw.connections() if connection.filename == path]


def close_aside(connection: apsw.Connection) -> None:
    """Close it without a look at the log, which stays as it is for whoever comes next."""
    with suppress(apsw.Error):
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        connection.close()


class KeptLocks(forks.Forked):
    """The locks beside the connections of one store. ``hold`` says whether the system and the file have such."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.hold = sys.platform == "linux"
        self._database = _Descriptor()
        self._index = _Descriptor()
        forks.watch(self)

    def take(self, wait: Callable[[int], bool]) -> bool:
        """Before the first connection: keep the log from being deleted; ``False`` where there is no log yet, or where
        SQLite has to be alone first, to undo what a process that was killed began."""
        if not self.hold:
            return True
        database = self._database.opened(self.path)
        if os.pread(database, 2, 18) != b"\2\2" or self._is_half_written():
            return False
        self._shared(database, _READ_DATABASE, wait)
        return True

    def _is_half_written(self) -> bool:
        """Whether there is a rollback journal that SQLite will play back; its first byte is 0 where it will not."""
        try:
            with open(f"{self.path}-journal", "rb") as journal:
                return journal.read(1) not in (b"", b"\0")
        except FileNotFoundError:
            return False

    def take_index(self, wait: Callable[[int], bool]) -> None:
        """After the first connection: keep the index of the log from being emptied."""
        if self.hold:
            with suppress(FileNotFoundError):  # a database that can only be read may have none
                self._shared(self._index.opened(f"{self.path}-shm"), _READ_INDEX, wait)

    def _shared(self, descriptor: int, lock: bytes, wait: Callable[[int], bool]) -> None:
        try:
            _wait_for(descriptor, lock, wait)
        except OSError as error:  # this file system has none
            pass_on(error)
            self.hold = False

    def write(self, wait: Callable[[int], bool]) -> None:
        """Keep every other tau from writing, until `written`. Raises ``apsw.BusyError``."""
        if self.hold and self._database.number >= 0:
            try:
                _wait_for(self._database.number, _WRITE, wait)
            except OSError as error:  # it can only be read: SQLite will say so
                pass_on(error)

    def written(self) -> None:
        self._leave(self._database.number, _LEAVE_WRITING)

    def _are_alone(self) -> bool:
        """Whether nobody has the database open; whoever asks has, so SQLite's own locks are gone."""
        try:
            return self.hold and self._database.number >= 0 and _nobody_has(self._database.number, _WRITE_DATABASE)
        except OSError as error:
            pass_on(error)
            return False

    def close_within(self, connection: apsw.Connection, last: bool) -> None:
        """Close a connection of this store; its ``last`` may be the last of all, which clears up."""
        with suppress(apsw.Error):
            alone = last and self._are_alone()
            if alone:  # without SQLite's locks, another one may come in as soon as these are gone
                connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
            if last:
                self._let_go()
            if not alone:
                connection.close()
                return
        close_aside(connection)

    def _let_go(self) -> None:
        self._leave(self._index.number, _LEAVE_INDEX)
        self._leave(self._database.number, _LEAVE_DATABASE)

    def _leave(self, descriptor: int, lock: bytes) -> None:
        if self.hold and descriptor >= 0:
            try:
                _set(descriptor, lock)
            except BaseException as error:  # a lock that an interrupt leaves taken would keep everybody out
                with suppress(OSError):
                    _set(descriptor, lock)
                if not isinstance(error, OSError) or is_of_handler(error):
                    raise

    def close(self) -> None:
        """After the last connection was closed."""
        for mine in (self._index, self._database):
            mine.park(self.path)
        for path, held in list(_parked):
            if not connections(path):
                with suppress(ValueError):  # another thread was faster
                    _parked.remove((path, held))

    def after_fork(self, in_child: bool, kept_out: bool) -> None:
        if in_child:
            # A lock ends with the last copy of its descriptor; to unlock a copy would unlock the parent's.
            self._database.close()
            self._index.close()


class _Descriptor:
    """Closed, in C and without a warning, when nobody refers to it any more: any object that owns one does that."""

    number = -1
    _held: object = None

    def opened(self, path: str) -> int:
        if self.number < 0:
            self._held = held = _holding(path)
            self.number = held.fileno()
        return self.number

    def park(self, path: str) -> None:
        """Closing it would drop the locks of other connections of this process (another store, the user's own)."""
        if self._held is not None:
            _parked.append((path, self._held))
        self.close()

    def close(self) -> None:
        self.number, self._held = -1, None


_parked: list[tuple[str, object]] = []
forks.in_child(_parked.clear)


def _wait_for(descriptor: int, lock: bytes, wait: Callable[[int], bool]) -> None:
    tries = 0
    while True:
        try:
            return _set(descriptor, lock)
        except OSError as error:
            if error.errno not in _AGAIN:
                raise
        if not wait(tries):
            raise apsw.BusyError("database is locked")
        tries += 1
