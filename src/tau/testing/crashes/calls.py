"""The calls by which a store changes something in the middle of a commit, counted, and a kill before one of them.

Two ways lead there, and neither needs rights or a library that is preloaded. What a store calls from Python (files,
sockets, a driver) is seen by the interpreter's own profiler, in the thread that commits and only meanwhile; of a driver
in C, which it does not see into, the moments before a request and after its answer. What SQLite writes goes through a
VFS that passes everything on.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from tau.late_imports import load_module

_FROM = frozenset({"posix", "_io", "_socket", "socket", "_ssl", "ssl", "_sqlite3", ""})
_CHANGES = frozenset(
    {
        *("open", "write", "writev", "pwrite", "pwritev", "fsync", "fdatasync", "truncate", "ftruncate"),
        *("link", "symlink", "rename", "replace", "unlink", "remove", "mkdir", "rmdir"),
        *("send", "sendall", "sendto", "sendmsg"),
        *("execute", "executemany", "executescript", "put", "delete"),
    }
)
_TALKS = ("tau.stores.postgres.connection", "wait")
"""The function that sends a request of psycopg and waits for its answer."""
_ENDS = ("call", "return")


def die() -> None:
    """End this process as a kill from outside does: nothing is flushed, no handler runs."""
    os.kill(os.getpid(), signal.SIGKILL)


class Calls:
    """Counts the calls of one commit; ends the process before the one with the number ``at``."""

    def __init__(self, at: int = 0) -> None:
        self.at = at
        self.count = 0

    def note(self) -> None:
        """Such a call is about to be made."""
        self.count += 1
        if self.count == self.at:
            die()


_current: Calls | None = None  # of the one commit that is under way in this process


@contextmanager
def counted(calls: Calls) -> Iterator[None]:
    """Count what the block, a commit, changes; to be used for one commit at a time in a process."""
    global _current  # noqa: PLW0603

    def look(frame: FrameType, event: str, called: Any) -> None:
        if event == "c_call":
            if getattr(called, "__name__", "") in _CHANGES and _home(called) in _FROM:
                calls.note()
        elif frame.f_code.co_name == _TALKS[1] and frame.f_globals.get("__name__") == _TALKS[0] and event in _ENDS:
            calls.note()

    before = sys.getprofile()
    _current = calls
    sys.setprofile(look)
    try:
        yield
    finally:
        sys.setprofile(before)
        _current = None


def _home(called: Any) -> str:
    """The package that a function of C belongs to, or the type that it is a method of; empty for the functions of
    obstore, which name none."""
    owner = getattr(called, "__self__", None)
    if owner is None:
        return str(getattr(called, "__module__", None) or "").partition(".")[0]
    module = getattr(called, "__module__", None) or getattr(type(owner), "__module__", None) or ""
    return str(module).partition(".")[0]


_vfs: Any = None


def watch_sqlite() -> None:
    """Let every connection that apsw opens in this process from now on tell its writes, for as long as it lives."""
    global _vfs  # noqa: PLW0603
    if _vfs is not None:
        return
    load_module("apsw")
    import apsw

    below = apsw.vfs_names()[0]

    class File(apsw.VFSFile):
        def xWrite(self, data: Any, offset: int) -> None:
            _note()
            super().xWrite(data, offset)

        def xSync(self, flags: int) -> None:
            _note()
            super().xSync(flags)

        def xTruncate(self, size: int) -> None:
            _note()
            super().xTruncate(size)

    class Vfs(apsw.VFS):
        def xOpen(self, name: Any, flags: list[int]) -> Any:
            return File(below, name, flags)

        def xDelete(self, name: str, sync: bool) -> None:
            _note()
            super().xDelete(name, sync)

    _vfs = Vfs("tau-crash-test", below, makedefault=True)


def _note() -> None:
    if _current is not None:
        _current.note()
