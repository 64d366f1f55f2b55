"""Directories that survive a power cut."""

from __future__ import annotations

import os
import sys

if sys.platform == "darwin":
    import fcntl

    def sync(descriptor: int) -> None:
        """Put the file or directory on the disk; on macOS ``fsync`` alone stops at the drive's cache."""
        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)

else:

    def sync(descriptor: int) -> None:
        """Put the file or directory on the disk."""
        os.fsync(descriptor)


class Descriptor:
    """An open file or directory; a context manager.

    It is closed with its last reference at the latest: Ctrl-C may come between `os.open` and any ``with`` or ``try``.
    """

    number = -1

    def __init__(self, path: str, flags: int, *, dir_fd: int | None = None) -> None:
        self.number = os.open(path, flags | os.O_CLOEXEC, 0o600, dir_fd=dir_fd)

    def __enter__(self) -> int:
        return self.number

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        number, self.number = self.number, -1  # first: a number that was closed may be another file's by now
        if number >= 0:
            os.close(number)

    def __del__(self) -> None:
        if self.number >= 0:
            os.close(self.number)


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
