"""Who has a file open for writing: asked of the kernel, and named from ``/proc``."""

from __future__ import annotations

import errno
import fcntl
import gc
import io
import os
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any, Final

from tau.signals import pass_on, tolerate
from tau.stores.disk import Descriptor

_PATIENCE: Final = 1.0  # seconds; a child between fork and exec has all that its parent had open
_LEASE: Final[Any] = getattr(fcntl, "F_SETLEASE", None)
_SIGNAL: Final[Any] = getattr(fcntl, "F_SETSIG", None)


def is_written(number: int) -> bool | None:
    """Whether any process has the file open, or mapped, for writing; ``None`` where the file system cannot tell.

    ``number`` is a descriptor of it for reading.
    """
    if _LEASE is None or _SIGNAL is None:
        return None
    try:
        # Who opens the file while the lease is held has the kernel tell us: by a signal that is ignored, not by
        # SIGIO, which would end the process.
        fcntl.fcntl(number, _SIGNAL, signal.SIGURG)
        fcntl.fcntl(number, _LEASE, fcntl.F_RDLCK)
    except OSError as error:
        return True if error.errno == errno.EAGAIN else None
    fcntl.fcntl(number, _LEASE, fcntl.F_UNLCK)
    return False


def held(paths: Iterable[str]) -> dict[str, str]:
    """Those of the files that are open for writing, and in what process.

    What the collector can close is closed first. Other processes are waited for, for a moment.
    """
    found = _held(paths)
    if found:
        _flush(set(found.values()))
        gc.collect()
        end = time.monotonic() + _PATIENCE
        while (found := _held(found)) and not any(found.values()) and time.monotonic() < end:
            time.sleep(0.01)
    return {path: f"this process ({who})" if who else _other(path) for path, who in found.items()}


def _held(paths: Iterable[str]) -> dict[str, str]:
    """Those of the files that are open for writing, and how this process has them open, empty where it has not."""
    found: dict[str, str] = {}
    own: dict[object, str] | None = None
    for path in paths:
        own = _writing("self") if own is None else own
        with tolerate(OSError), Descriptor(path, os.O_RDONLY | os.O_NOFOLLOW) as number:
            who = next((own[key] for key in _keys(path, number) if key in own), "")
            if is_written(number) or who:
                found[path] = who
    return found


def _flush(holders: set[str]) -> None:
    """Write what Python's files hold back: of several that it collects together, the inner one may be closed first."""
    for one in gc.get_objects():
        if issubclass(type(one), io.TextIOWrapper | io.BufferedWriter | io.BufferedRandom):
            with suppress(Exception):
                if f"descriptor {one.fileno()}" in holders:
                    one.flush()


def _other(path: str) -> str:
    """Which other process has the file open for writing."""
    with tolerate(OSError), Descriptor(path, os.O_RDONLY | os.O_NOFOLLOW) as number:
        keys = _keys(path, number)
        for pid in filter(str.isdecimal, _listed("/proc")):
            if not _writing(pid).keys().isdisjoint(keys):
                name = _read(f"/proc/{pid}/comm").strip()
                child = ", which was started by this one and has what was open then, as the workers of a pool do"
                return f"process {pid} ({name}{child if os.getpid() in _ancestors(pid) else ''})"
    return "another process"


def _keys(path: str, number: int) -> tuple[object, object]:
    status = os.fstat(number)
    return (status.st_dev, status.st_ino), os.path.realpath(path)


def _writing(pid: str) -> dict[object, str]:
    """What a process has open for writing, by device and inode, or mapped, by path; and how."""
    found: dict[object, str] = {}
    for number in _listed(f"/proc/{pid}/fd"):
        with tolerate(OSError, ValueError, IndexError):
            flags = int(_read(f"/proc/{pid}/fdinfo/{number}").split("flags:", 1)[1].split(None, 1)[0], 8)
            if flags & os.O_ACCMODE != os.O_RDONLY:
                status = os.stat(f"/proc/{pid}/fd/{number}")
                found[status.st_dev, status.st_ino] = f"descriptor {number}"
    for line in _read(f"/proc/{pid}/maps").splitlines():
        fields = line.split(None, 5)
        if len(fields) == 6 and fields[1].startswith("rw-s"):
            found.setdefault(fields[5], "a memory map")
    return found


def _ancestors(pid: str) -> Iterator[int]:
    while True:
        fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
        if len(fields) < 2 or fields[1] == "0":
            return
        pid = fields[1]
        yield int(pid)


def _listed(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except OSError as error:
        pass_on(error)
        return []


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError as error:
        pass_on(error)
        return ""
