"""Databases that were open when a child was forked off, so that the child can never use them.

That happens where a signal handler forks in the middle of a commit, which has to go on in the parent. In the child,
SQLite believes to hold locks that only the parent has, and so it would for every other connection to the same file.
Even closing one would write to what both share.
"""

from __future__ import annotations

import os
from contextlib import suppress

import apsw
from msgspec import Struct

from tau.errors import StoreUnavailableError
from tau.signals import tolerate
from tau.stores.sqlite.connection import identity
from tau.stores.sqlite.kept_locks import connections


class _Kept(Struct, gc=False):
    """A cycle that no collector sees: what is in it is never closed, not even when the interpreter ends."""

    connections: list[object]


_connections: list[object] = []
_files: set[tuple[int, int]] = set()
_connections.append(_Kept(_connections))


def leave(path: str, *, in_use: bool) -> bool:
    """In a child: leave all connections to ``path`` to the parent; whether there were any. One that is ``in_use``, by
    the thread that forked, is made to refuse whatever that thread still does with it."""
    found = connections(path)
    for connection in found:
        _connections.append(connection)
        if in_use:
            with suppress(apsw.Error):  # of another thread, which the child does not have
                connection.set_authorizer(_deny)
    if found:
        with tolerate(OSError):
            _files.add(identity(path))
    return bool(found)


def _deny(*_: object) -> int:
    return apsw.SQLITE_DENY


def holds(connection: apsw.Connection) -> bool:
    """Whether that connection is the parent's."""
    return any(each is connection for each in _connections)


def check(path: str, location: str) -> None:
    """Raise `StoreUnavailableError` where the file at ``path`` cannot be used in this process."""
    if _files and identity(path) in _files:
        raise refusal(location)


def refusal(location: str) -> StoreUnavailableError:
    return StoreUnavailableError(
        f"cannot use {location} in this process (pid {os.getpid()}): it was forked by a signal handler, or while a "
        "thread hung, in the middle of a commit to that file, and SQLite cannot be carried over; use the store in the "
        "parent, or in a process that is started anew (spawn)",
        location=location,
        transient=False,
    )
