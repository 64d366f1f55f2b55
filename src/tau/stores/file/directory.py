"""A directory in which files appear whole, under a name that was free."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from typing import Self

from tau import forks
from tau.signals import pass_on, tolerate
from tau.stores import names
from tau.stores.disk import Descriptor, sync

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


class Directory:
    """An open directory; a context manager."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._process = forks.process
        self._open = Descriptor(path, DIRECTORY)
        self.descriptor = self._open.number

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def publish(self, name: str, pieces: Sequence[bytes], *, replace: bool = False, durable: bool = True) -> bool:
        """Write a file whole under a name; ``False`` if the name is taken and ``replace`` is not asked for."""
        folder, slash, last = name.rpartition("/")
        unique = names.temporary("" if replace else last)
        temporary = folder + slash + unique
        here = self.descriptor
        names.writing.add(unique)
        try:
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW
            with Descriptor(temporary, flags, dir_fd=here) as descriptor:
                write(descriptor, pieces, self._process)
                if durable:
                    sync(descriptor)
            if replace:
                os.rename(temporary, name, src_dir_fd=here, dst_dir_fd=here)
                return True
            return self._link(temporary, name)
        finally:
            try:
                self._discard(temporary)
            except KeyboardInterrupt:
                self._discard(temporary)
                raise
            finally:
                names.writing.discard(unique)

    def _discard(self, temporary: str) -> None:
        # What was to be published stands or does not; a file left over changes nothing, and a later look removes it.
        with tolerate(OSError):
            if self._process is forks.process:  # else a handler forked: it is the parent's, who is not done with it
                os.unlink(temporary, dir_fd=self.descriptor)

    def _link(self, temporary: str, name: str) -> bool:
        here = self.descriptor
        if self._process is not forks.process:
            raise forks.refusal("", "commit")
        try:
            os.link(temporary, name, src_dir_fd=here, dst_dir_fd=here, follow_symlinks=False)
        except OSError as error:
            pass_on(error)
            # Over NFS the reply to a link that was made may be lost, and a second try meets the first one's name.
            try:
                if os.stat(temporary, dir_fd=here, follow_symlinks=False).st_nlink == 2:
                    return True
            except FileNotFoundError:  # another process cleaned up, because the name was taken
                return False
            if isinstance(error, FileExistsError):
                return False
            raise
        return True

    def has(self, name: str) -> bool:
        return name in os.listdir(self.descriptor)

    def remove(self, name: str) -> None:
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self.descriptor)

    def clean(self) -> None:
        """Remove what writers that died left half written; never fails."""
        with tolerate(OSError):
            remove_stale(self.descriptor, os.listdir(self.descriptor))


def remove_stale(directory: int, listing: Sequence[str]) -> None:
    for name in listing:
        if name[0] == names.TEMPORARY and names.is_stale(name, listing):
            with tolerate(OSError):  # also where this user may only read: what is left over does no harm
                os.unlink(name, dir_fd=directory)


def write(descriptor: int, pieces: Sequence[bytes], process: object) -> None:
    """Write all of it, in this process only; what is small in one call, what is large without a copy."""
    if sum(map(len, pieces)) <= 65_536:
        pieces = [b"".join(pieces)]
    for piece in pieces:
        rest = memoryview(piece)
        while rest and process is forks.process:  # with no call in between, where a handler could fork
            rest = rest[os.write(descriptor, rest) :]
