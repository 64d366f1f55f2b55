"""Whether the files of a database still are those that the connections here have open, where others look for them."""

from __future__ import annotations

import os
import time
from typing import Final

from tau.errors import StoreUnavailableError
from tau.signals import pass_on
from tau.stores.sqlite.connection import beside, identity

_NOTE_CHANGES: Final = frozenset({"btrfs", "ext2", "ext3", "ext4", "f2fs", "overlay", "tmpfs", "xfs", "zfs"})
"""File systems on which the change time of a directory says when a name in it last got, or lost, its file."""

_SETTLED: Final = 100_000_000
"""So many nanoseconds after a change, another one has another time: the clock of file systems moves every 10 ms."""

_Directory = tuple[int, int, int]


class Place:
    """The database at ``path``, its write-ahead log and the index of that, as they were when they were opened."""

    def __init__(self, path: str, location: str) -> None:
        self._path, self._location = path, location
        self._directory = os.path.dirname(path)
        self._identity: tuple[int, int] | None = None
        self._beside: tuple[tuple[int, int] | None, ...] = (None, None)
        self._notes_changes = False
        self.quiet: _Directory | None = None
        """The directory, where a change would be seen by one look at it."""

    @property
    def is_known(self) -> bool:
        """Whether the database was opened, and not left since."""
        return self._identity is not None

    def open(self, file_system: str) -> None:
        """The file of the name now is the database; ``file_system`` is the kind that it lies on."""
        self.quiet, self._notes_changes = None, file_system in _NOTE_CHANGES
        self._identity = identity(self._path)

    def open_log(self) -> None:
        """The files of the names beside it now are its log."""
        self.quiet = None
        self._beside = beside(self._path)

    def leave(self) -> None:
        """The next one may be another database."""
        self.quiet = self._identity = None

    def has_lost_log(self) -> bool:
        """Whether the log was removed or replaced. Raises as `check`.

        One call of the system where nothing has changed in the directory since all names were looked at.
        """
        directory = self._look() if self._notes_changes else None
        if directory is not None and directory == self.quiet:
            return False
        self.quiet = None
        self.check()
        if not self.is_in_place():
            return True
        if directory is not None and directory[2] + _SETTLED < time.time_ns():
            self.quiet = directory
        return False

    def check(self) -> None:
        """Raises `StoreUnavailableError` where the database was deleted or replaced."""
        try:
            found: tuple[int, int] | None = identity(self._path)
        except FileNotFoundError:
            found = None
        if found != self._identity:
            what = "deleted" if found is None else "replaced by another file"
            raise StoreUnavailableError(
                f"{self._location} was {what} while it was in use; bring the old file back, or close the store "
                "to begin with what is there now",
                location=self._location,
                transient=False,
            )

    def is_in_place(self) -> bool:
        """Whether the log and its index, where others look for them, still are those of the connections here."""
        found = beside(self._path)
        return found == self._beside or all(then in (None, now) for then, now in zip(self._beside, found, strict=True))

    def is_replaced(self) -> bool:
        """Whether another database, or another log, is in the place."""
        try:
            return identity(self._path) != self._identity or not self.is_in_place()
        except OSError:
            return True

    def has_another_log(self) -> bool:
        """Whether somebody has gone on with a log, or an index, of his own."""
        return any(now not in (None, then) for then, now in zip(self._beside, beside(self._path), strict=True))

    def _look(self) -> _Directory | None:
        try:
            found = os.stat(self._directory)
        except OSError as error:
            pass_on(error)
            return None
        return found.st_dev, found.st_ino, found.st_ctime_ns
