"""The stores in the working directory, for a hint where the one that was looked into has nothing."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from contextlib import suppress

from tau.late_imports import load_module

LOOKED_AT = 1_000
"""Of a directory, so many entries are looked at."""
NAMED = 5
_SQLITE = b"SQLite format 3\0"
_TAU = b"tau1"
"""What is at byte 68 of a SQLite file of tau's: its application id."""
_LOG = 1 << 20
"""So much of a write-ahead log is read."""


def stores_beside(location: str) -> list[str]:
    """The first few stores in the working directory as the values of ``--store``, but for the one at ``location``.
    Raises nothing."""
    found = []
    with suppress(OSError):
        for url, path in _stores():
            if not location.endswith(f":{path}") and not location.endswith(f"//{path}"):
                found.append(url)
            if len(found) == NAMED:
                break
    return found


def said_beside(location: str) -> str:
    """The same as a hint; empty where there are none."""
    found = stores_beside(location)
    return f"in this directory: {', '.join(f'--store {shlex.quote(one)}' for one in found)}" if found else ""


def _stores() -> Iterator[tuple[str, str]]:
    load_module("tau.stores.file.store")
    from tau.stores.file.store import MARKED, MARKER

    here = os.path.realpath(os.curdir)
    with os.scandir(here) as entries:
        names = sorted(entry.name for entry, _ in zip(entries, range(LOOKED_AT), strict=False))
    for name in names:
        path = os.path.join(here, name)
        if name.endswith(".db") and _is_of_tau(path):
            yield f"sqlite:///{name}", path
        elif os.path.isdir(path) and _begins(os.path.join(path, MARKER), len(MARKED)) == MARKED:
            yield f"file:{name}", path


def _is_of_tau(path: str) -> bool:
    """Whether a SQLite file has tau's application id: in its first page, or the write-ahead log's copies of that."""
    page = _begins(path, 72)
    if page[:16] != _SQLITE or page[68:] == _TAU:
        return page[:16] == _SQLITE
    log = _begins(f"{path}-wal", _LOG)
    step = 24 + int.from_bytes(log[8:12], "big")
    frames = (log[at : at + 24 + 72] for at in range(32, len(log), step))
    return any(frame[:4] == b"\0\0\0\1" and frame[24 + 68 :] == _TAU for frame in frames)


def _begins(path: str, size: int) -> bytes:
    """The first bytes of a regular file; none where it cannot be read."""
    with suppress(OSError):
        if os.path.isfile(path):  # a pipe would wait for who writes
            with open(path, "rb") as file:
                return file.read(size)
    return b""
