"""Directories that survive a power cut."""

from __future__ import annotations

import os
import sys
import weakref
from typing import Final

if sys.platform == "darwin":
    import fcntl

    def sync(descriptor: int) -> None:
        """Put the file or directory on the disk; on macOS ``fsync`` alone stops at the drive's cache."""
        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)

else:

    def sync(descriptor: int) -> None:
        """Put the file or directory on the disk."""
        os.fsync(descriptor)


READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
"""Open what should be a file for reading: no link is followed, and a pipe in its place holds nobody up."""

_open: dict[int, tuple[weakref.ref[Descriptor], list[int]]] = {}


class Descriptor:
    """An open file or directory; a context manager.

    One that nothing refers to any more is closed when the next one is opened, or a connection to SQLite: Ctrl-C may
    come between `os.open` and any ``with`` or ``try``, and what it raises in a finaliser is lost.
    """

    def __init__(self, path: str, flags: int, *, dir_fd: int | None = None) -> None:
        close_forgotten()
        self._number = number = [-1]
        _open[id(number)] = weakref.ref(self), number
        number[0] = os.open(path, flags | os.O_CLOEXEC, 0o600, dir_fd=dir_fd)

    @property
    def number(self) -> int:
        return self._number[0]

    def __enter__(self) -> int:
        return self._number[0]

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        _close(self._number)


def read_file(path: str, *, dir_fd: int | None = None) -> bytes:
    """What is in a file; nothing where that is a pipe. Raises ``FileNotFoundError`` and other `OSError`."""
    with Descriptor(path, READ, dir_fd=dir_fd) as number, open(number, "rb", buffering=0, closefd=False) as file:
        return file.read() or b""


def _close(number: list[int]) -> None:
    found, number[0] = number[0], -1  # first: a number that was closed may be another file's by now
    if found >= 0:
        os.close(found)
    _open.pop(id(number), None)


def close_forgotten() -> None:
    """Close what Ctrl-C has left open; called when the store is used again."""
    for holder, number in [*_open.values()]:
        if holder() is None and _open.pop(id(number), None) is not None:  # for one thread only
            _close(number)


def sync_directory(path: str) -> None:
    with Descriptor(path, os.O_RDONLY | os.O_DIRECTORY) as number:
        sync(number)


def make_directories(path: str) -> None:
    """Create ``path`` and its missing parents, private to this user, each durable before the next."""
    if os.path.isdir(path):
        return
    parent = os.path.dirname(path)
    make_directories(parent)
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        if not os.path.isdir(path):
            raise
    sync_directory(parent)
