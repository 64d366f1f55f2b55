"""Opening a SQLite database so that a commit that returned survives a power cut.

The settings are those that lost nothing in a model of power cuts: a write-ahead log, synchronous=FULL. Both are read
back, because SQLite answers a request it cannot meet with silence.
"""

from __future__ import annotations

import errno
import os
import random
import time
from collections.abc import Callable
from contextlib import suppress

import apsw

from tau import forks
from tau.errors import CorruptCheckpointError, StoreError, StoreFullError, StoreUnavailableError, UnsupportedFormatError
from tau.stores.disk import close_forgotten, make_directories, sync_directory
from tau.stores.failures import FULL, REMEDIES, TRANSIENT, from_os, is_foreign
from tau.stores.sqlite.statements import SCHEMA, WHAT_IT_IS

APPLICATION_ID = 0x74617531  # "tau1"
FORMAT = 1
WAL_PAGES = 400  # checkpoint after this many pages ...
WAL_BYTES = 1 << 20  # ... and cut the log back to this size afterwards

_BUSY = "another process kept it locked for {seconds:g} s; find out which (fuser), or use a store for each"


def failure(error: apsw.Error, location: str, doing: str, busy_timeout: float, errno: int = 0) -> Exception:
    """The error of `tau.errors` for one of SQLite; ``errno`` is what the system call under it said."""
    said = f"cannot {doing} {location}: SQLite says {error}"
    if isinstance(error, apsw.CantOpenError | apsw.ReadOnlyError | apsw.ProtocolError):
        errno = _hindrance(location.removeprefix("sqlite:///"))  # the last of several attempts hid what SQLite met
    if isinstance(error, apsw.FullError) or (isinstance(error, _SYSTEM) and errno in FULL):
        return StoreFullError(f"{said}; free some space, or raise the quota or file-size limit", location=location)
    if isinstance(error, apsw.TooBigError):
        return StoreFullError(f"{said}; SQLite holds values up to 1 GB: split this one", location=location)
    if isinstance(error, apsw.CorruptError | apsw.NotADBError):
        remedy = "the file is damaged: restore it from a backup, or name another file"
        if isinstance(error, apsw.NotADBError):
            remedy = "name another file; if it used to be a tau database, restore it from a backup"
        return CorruptCheckpointError(f"{said}; {remedy}", what=location)
    if isinstance(error, _LOCKED) and not (errno and isinstance(error, apsw.ProtocolError)):
        return StoreUnavailableError(f"{said}; {_BUSY.format(seconds=busy_timeout)}", location=location)
    if isinstance(error, _SYSTEM) and errno in REMEDIES:
        remedy = f"{os.strerror(errno)}: {REMEDIES[errno]}"
    elif isinstance(error, apsw.ReadOnlyError | apsw.PermissionsError | apsw.AuthError):
        remedy = "the file or its directory cannot be written: give this user permission, or choose another place"
    elif isinstance(error, apsw.CantOpenError):
        remedy = "check that its directory exists and may be written"
    elif isinstance(error, apsw.IOError):
        code = getattr(error, "extendedresult", 0)
        reason = os.strerror(errno) if errno else _CODES.get(code, f"SQLite's code {code}")
        remedy = f"the disk failed ({reason}): check the system log"
    else:
        return StoreError(f"{said}; if that comes again, check the file with PRAGMA integrity_check", location=location)
    return StoreUnavailableError(
        f"{said}; {remedy}", location=location, transient=isinstance(error, _SYSTEM) and errno in TRANSIENT
    )


_CODES: dict[int | str, int | str] = apsw.mapping_extended_result_codes
_LOCKED = (apsw.BusyError, apsw.LockedError, apsw.ProtocolError)
_SYSTEM = (apsw.IOError, apsw.CantOpenError, apsw.ReadOnlyError, apsw.ProtocolError)


def _hindrance(path: str) -> int:
    """The errno with which the system refuses a file beside ``path``; 0 where it refuses none."""
    probe = f"{path}-{os.urandom(6).hex()}"
    try:
        os.close(os.open(probe, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        os.unlink(probe)
    except OSError as error:
        return error.errno or 0
    return 0


def patience(seconds: float) -> Callable[[int], bool]:
    """A busy handler that waits that long in all, in short naps, so that Ctrl-C gets through."""
    until, process = 0.0, forks.process

    def wait(tries: int) -> bool:
        nonlocal until
        now = time.monotonic()
        if tries == 0:
            until = now + seconds
        if now >= until or process is not forks.process:  # a child has nothing to wait for here
            return False
        time.sleep(random.uniform(0.2, 1.0) * min(0.02, 0.0005 * 2 ** min(tries, 6)))
        return True

    return wait


def create_file(path: str, location: str) -> None:
    """Create the empty database, private to this user, where there is none yet.

    An existing file is never opened here: closing it again would drop the locks that SQLite holds in this process.
    """
    try:
        path.encode()
    except UnicodeEncodeError as error:
        shown = os.fsencode(path).decode("utf-8", "backslashreplace")
        raise StoreUnavailableError(
            f"cannot use {shown}: SQLite opens no path that is not UTF-8; choose another directory, or use a file "
            "store (file:...) there",
            location=shown,
        ) from error
    try:
        _create_file(path, location)
    except OSError as error:
        raise error if is_foreign(error) else from_os(error, location, "open") from error


def _create_file(path: str, location: str) -> None:
    make_directories(os.path.dirname(path))
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        if os.path.isdir(path):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR)) from None
        for one in (path, *(path + suffix for suffix in ("-journal", "-wal", "-shm"))):
            if os.path.exists(one) and not os.path.isfile(one):
                where = "it" if one == path else f"{os.path.basename(one)} beside it"
                raise StoreUnavailableError(
                    f"cannot open {location}: {where} is a device, a pipe or a socket; "
                    f"{'name another place' if one == path else 'move that away'}",
                    location=location,
                    transient=False,
                ) from None
        if 0 < os.stat(path).st_size < 512:
            # SQLite would take the rest of a database that was cut off for an empty one, and begin anew.
            raise CorruptCheckpointError(
                f"{path} is not a SQLite database, or only what is left of one: it is too short; restore it from a "
                "backup, or name another file",
                what=path,
            ) from None
        return
    os.close(descriptor)
    sync_directory(os.path.dirname(path))


def identity(path: str) -> tuple[int, int]:
    """What tells the file at ``path`` from another of that name."""
    found = os.stat(path)
    return found.st_dev, found.st_ino


def beside(path: str) -> tuple[tuple[int, int] | None, ...]:
    """The identities of the write-ahead log and its index."""
    found: list[tuple[int, int] | None] = []
    for end in ("-wal", "-shm"):
        try:
            found.append(identity(path + end))
        except FileNotFoundError:
            found.append(None)
    return tuple(found)


def connect(path: str, location: str, busy_timeout: float, rewrite: bool = False) -> apsw.Connection:
    """A connection with everything set and read back, to a database whose format is known. With ``rewrite`` all that
    lies in the write-ahead log is first brought into the database."""
    close_forgotten()
    process, connection = forks.process, None
    try:
        connection = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READWRITE)
        connection.set_busy_handler(patience(busy_timeout))
        if not check_format(connection, location):
            create_tables(connection, location, busy_timeout)
        set_up(connection, location, busy_timeout)
        if rewrite:
            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    except BaseException as error:
        errno = 0 if connection is None else connection.system_errno
        if connection is not None and process is forks.process:
            with suppress(apsw.Error):
                if rewrite:
                    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
                connection.close()
        if isinstance(error, apsw.Error):
            raise failure(error, location, "open", busy_timeout, errno) from error
        raise
    return connection


def check_format(connection: apsw.Connection, location: str) -> bool:
    """Whether the tables are there; ``False`` for an empty database. Refuses any other content, untouched."""
    # In one statement, and so in one snapshot: another process may be creating the tables.
    found, version, tables = connection.execute(WHAT_IT_IS).get
    if found == APPLICATION_ID and version == FORMAT:
        return True
    if found == APPLICATION_ID:
        problem = f"it has format {version}, this version of tau knows {FORMAT}; use the version that wrote it"
    elif found or version or tables:
        problem = "it is a SQLite database of another program; choose another file"
    else:
        return False
    # Closing must not carry what the log holds into a file that is not this store's.
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    raise UnsupportedFormatError(f"cannot use {location}: {problem}", found=version, supported=FORMAT)


def create_tables(connection: apsw.Connection, location: str, busy_timeout: float) -> None:
    write_ahead(connection, location, busy_timeout)
    connection.pragma("synchronous", "full")
    connection.execute("begin immediate")
    try:
        if not check_format(connection, location):  # another process may have been faster
            connection.execute(SCHEMA)
            connection.pragma("application_id", APPLICATION_ID)
            connection.pragma("user_version", FORMAT)
        connection.execute("commit")
    except BaseException:
        with suppress(apsw.Error):  # what went wrong first is what is told; closing undoes it, too
            if connection.in_transaction:
                connection.execute("rollback")
        raise


def write_ahead(connection: apsw.Connection, location: str, busy_timeout: float) -> None:
    wait = patience(busy_timeout)
    tries = 0
    while True:
        try:
            mode = connection.pragma("journal_mode", "wal")
            break
        except apsw.BusyError:  # SQLite does not ask the busy handler here
            if not wait(tries):
                raise
            tries += 1
    if mode != "wal":
        raise StoreUnavailableError(
            f"cannot use {location}: its file system cannot hold a write-ahead log (journal mode stayed {mode}); "
            "put it on a local disk, or use a file store (file:/dir)",
            location=location,
            transient=False,
        )


def set_up(connection: apsw.Connection, location: str, busy_timeout: float) -> None:
    write_ahead(connection, location, busy_timeout)
    for name, value in (
        ("synchronous", "full"),
        ("fullfsync", 1),  # macOS: reach the disk, not the drive's cache
        ("checkpoint_fullfsync", 1),
        ("wal_autocheckpoint", WAL_PAGES),
        ("journal_size_limit", WAL_BYTES),
        ("mmap_size", 0),
        ("trusted_schema", 0),
        ("cell_size_check", 1),
    ):
        connection.pragma(name, value)
    level = connection.pragma("synchronous")
    if level != 2:
        raise StoreUnavailableError(
            f"cannot use {location}: SQLite refused synchronous=FULL (it stayed {level}); see docs/stores.md",
            location=location,
            transient=False,
        )
