"""What the operating system says, in the words of `tau.errors`."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from threading import Thread

from tau.errors import StoreError, StoreFullError, StoreUnavailableError
from tau.signals import is_of_handler
from tau.stores.contract import Batch

Commit = Callable[[Sequence[Batch]], list[int | Exception]]

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

TRANSIENT = frozenset({
    errno.EAGAIN, errno.EBUSY, errno.EINTR, errno.ESTALE, errno.ETIMEDOUT, errno.EPIPE, errno.ENOTCONN,
    errno.ECONNREFUSED, errno.ECONNRESET, errno.ECONNABORTED,
    errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTDOWN, errno.EHOSTUNREACH,
})  # fmt: skip
"""A server or a network that is away may come back."""

REMEDIES = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space or raise the quota",
    errno.EFBIG: "raise the file-size limit (ulimit -f)",
    errno.EACCES: "give this user permission, or choose another place",
    errno.EPERM: "give this user permission, or choose another place",
    errno.EROFS: "mount the file system for writing, or choose another place",
    errno.EMFILE: "close files or raise the limit of open files (ulimit -n)",
    errno.ENFILE: "the whole system has too many open files: close some",
    errno.ENOENT: "bring it back if it was there before, or choose another place",
    errno.EEXIST: "a part of the path is a file: choose another place",
    errno.ENOTDIR: "a part of the path is a file: choose another place",
    errno.EISDIR: "restore the file that was there, name a file in it, or use a file store (file:directory)",
    errno.ELOOP: "a symbolic link lies in the way: remove it",
    errno.EIO: "check the disk and the system log",
    errno.ESTALE: "the network file system lost the directory: mount it again",
    errno.ENAMETOOLONG: "choose a shorter path",
}


def is_foreign(error: OSError) -> bool:
    """Whether the operating system did not say this: a store's own error, or one without a number, such as the
    ``TimeoutError`` that the handler of a signal raises. It is passed on as it is."""
    return isinstance(error, StoreError) or error.errno is None or is_of_handler(error)


def from_os(error: OSError, location: str, doing: str) -> StoreError:
    """The store error for ``error``, met while ``doing`` something (as in "commit to") at ``location``."""
    inner = str(error.filename or "").startswith("+")  # a temporary name, which says nothing to a user
    where = f": {error.filename}" if error.filename and not inner else ""
    remedy = REMEDIES.get(error.errno or 0, "check the path, the disk and the system log")
    said = f"cannot {doing} {location}: {error.strerror or error}{where}; {remedy}"
    if error.errno in FULL:
        return StoreFullError(said, location=location)
    return StoreUnavailableError(said, location=location, transient=error.errno in TRANSIENT)


def start_thread(thread: Thread, location: str) -> None:
    """Start a thread that works for the store at ``location``. Raises `StoreUnavailableError` where none can be had.

    Who may be interrupted keeps ``thread`` before: an interrupt in the middle of this leaves it at work.
    """
    try:
        thread.start()
    except RuntimeError as error:
        remedy = "raise the limits of memory or of processes (ulimit -v, ulimit -u), or start fewer threads"
        said = f"cannot work with {location}: {error}; {remedy}"
        raise StoreUnavailableError(said, location=location, transient=False) from error


def apart(error: Exception, batches: Sequence[Batch], commit: Commit) -> list[int | Exception]:
    """What becomes of batches that could not be committed together. What failed as a whole is the result of each; where
    something in one of them was too much, each is committed on its own, so that its neighbours survive."""
    if len(batches) == 1 or (isinstance(error, StoreError) and not isinstance(error, StoreFullError)):
        return [error] * len(batches)
    return [result for batch in batches for result in commit([batch])]
