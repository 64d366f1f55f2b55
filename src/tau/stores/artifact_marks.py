"""Marks of copies: files of a run lie in their place before its store knows the run, and a process that is killed in
between leaves them. A mark, ``<place>/<run>/+<maker>-copy-<nonce>``, is there before the first of them and is removed
when the run is there; the directories of its files have the beginning of the nonce in their names."""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress
from typing import Final

from msgspec import Struct

from tau.signals import tolerate
from tau.stores import names
from tau.stores.artifact_files import enter, remove_entry
from tau.stores.disk import Descriptor, read_file, sync

LEFT_AFTER: Final = 86_400.0
"""Seconds after which a mark that nobody touched is of a copy that is dead, where its maker cannot be asked for."""

_TOUCH: Final = 60.0  # seconds between two signs of life
_SHARED: Final = 12  # characters of the nonce that are in the names of files
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
_nonce_of = re.compile(r"\+[0-9a-f]{8}-\d+-[0-9a-f]+-copy-([0-9a-f]+)").fullmatch


class Mark:
    """The mark of a copy of a run below ``place``, whose records are sealed with that nonce; it is durable when this is
    made. Raises `OSError`."""

    def __init__(self, place: str, run_id: str, nonce: str) -> None:
        self._place = place
        self._run = names.directory_of(run_id)
        self._nonce = nonce
        self._name = names.temporary(f"copy-{nonce}")
        self._touched = time.monotonic()
        names.writing.add(self._name)
        with enter(place, (self._run,), make=True) as run:
            with Descriptor(self._name, _NEW, dir_fd=run) as number:
                os.write(number, run_id.encode("utf-8", "surrogatepass"))
                sync(number)
            sync(run)

    def token(self, random: str) -> str:
        """What tells an artifact of this copy from others, with that ``random`` part."""
        return self._nonce[:_SHARED] + random

    def touch(self) -> None:
        """Give a sign of life, if the last one is not of this minute."""
        now = time.monotonic()
        if now - self._touched >= _TOUCH:
            self._touched = now
            with tolerate(OSError), enter(self._place, (self._run,)) as run:
                os.utime(self._name, dir_fd=run)

    def remove(self) -> None:
        """The files belong to a run that is there, or are gone."""
        with tolerate(OSError), enter(self._place, (self._run,)) as run:
            os.unlink(self._name, dir_fd=run)
        self.leave()

    def leave(self) -> None:
        """Nothing is made under it any more; what is there is left to be judged."""
        names.writing.discard(self._name)


class Left(Struct, frozen=True):
    """A mark that was found. ``dead``: its maker is, for sure. ``old``: it gave no sign of life for a day, by the clock
    of the file system."""

    run_id: str
    nonce: str
    name: str
    dead: bool
    old: bool


def marks_in(place: str, run: str) -> list[Left]:
    """The marks in the directory of a run; none where it cannot be looked into, as that of another user. Raises
    nothing."""
    with tolerate(OSError), enter(place, (run,)) as number:
        named = [(name, found[1]) for name in os.listdir(number) if (found := _nonce_of(name))]
        return [_left(name, nonce, number) for name, nonce in sorted(named)]
    return []


def _left(name: str, nonce: str, run: int) -> Left:
    dead, old, run_id = names.is_stale(name, ()), False, ""
    with suppress(FileNotFoundError):
        run_id = read_file(name, dir_fd=run).decode("utf-8", "surrogatepass")
        old = not dead and _age(name, run) > LEFT_AFTER
    return Left(run_id, nonce, name, dead, old)


def _age(name: str, run: int) -> float:
    """Seconds since the last sign of life, by the one clock that gives a new file its time, too."""
    probe = names.temporary()
    try:
        with Descriptor(probe, _NEW, dir_fd=run) as number:
            now = os.fstat(number).st_mtime
    finally:
        with tolerate(FileNotFoundError):
            os.unlink(probe, dir_fd=run)
    return now - os.lstat(name, dir_fd=run).st_mtime


def clear(place: str, run: str, left: Left, *, files: bool) -> None:
    """Remove a mark that was found, the ``files`` of its copy before. Raises `OSError`."""
    with enter(place, (run,)) as number:
        for visit in os.listdir(number) if files else ():
            if visit[:1] == names.TEMPORARY:
                continue
            with enter(number, (visit,)) as inside:
                for own in os.listdir(inside):
                    token = own.partition("-")[2]
                    if len(token) > _SHARED and token.startswith(left.nonce[:_SHARED]):
                        remove_entry(own, inside)
            with tolerate(OSError):  # where something is kept
                os.rmdir(visit, dir_fd=number)
        with tolerate(FileNotFoundError):
            os.unlink(left.name, dir_fd=number)
    with tolerate(OSError), enter(place, ()) as number:
        os.rmdir(run, dir_fd=number)
