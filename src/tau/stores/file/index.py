"""The index of a file store: what a listing needs not read again. docs/stores.md says why it is never wrong.

It is a cache beside the runs that only listings read and write. An entry counts where the run's directory and its
newest pack are, by inode and times, what they were when the entry was made, and had not changed for a while by then.
"""

from __future__ import annotations

import os
from typing import Final
from zlib import crc32

import msgspec

from tau.errors import CorruptCheckpointError, TauError, UnsupportedFormatError
from tau.signals import pass_on, tolerate
from tau.stores import names
from tau.stores.contract import Summary
from tau.stores.disk import Descriptor
from tau.stores.file.directory import DIRECTORY, Directory
from tau.stores.file.run_directory import RunDirectory
from tau.stores.summaries import possible, unreadable

NAME: Final = "index"
MAGIC: Final = b"tauindx2"  # 1 is of versions that left out what they did not know of a summary
SETTLED: Final = 2_000_000_000
"""Nanoseconds after which a further change has another time, on every file system."""

_FEW = 16

Mark = tuple[int, int, int]


class Entry(msgspec.Struct, array_like=True, frozen=True):
    """The newest summary of a run, and the marks of its directory and of the pack that says so."""

    directory: str
    mark: Mark
    pack: str
    pack_mark: Mark
    summary: Summary


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Entry]).decode


class Index:
    """The index of the store in ``root`` whose runs are in ``runs``."""

    def __init__(self, root: str, runs: str) -> None:
        self._root = root
        self._runs = runs

    def summaries(self) -> list[Summary]:
        """The newest summary of every run, deleted ones too; of one that is damaged, what can be said of it."""
        known, kept, unknown = self._read(), list[Entry](), list[str]()
        directories = [name for name in os.listdir(self._runs) if names.run_of(name) is not None]
        for name in directories:
            entry = known.get(name)
            if entry is not None and self._stands(entry):
                kept.append(entry)
            else:
                unknown.append(name)
        found = [entry.summary for entry in kept]
        many = max(_FEW, len(directories) // _FEW)
        now, fresh = self._now() if len(unknown) >= many else None, 0
        for name in unknown:
            summary, entry = self._look(name, now)
            found += [summary] if summary is not None else []
            if entry is not None:
                kept.append(entry)
                fresh += 1
        if fresh >= many:
            self._write(kept)
        return found

    def _stands(self, entry: Entry) -> bool:
        """Whether the run is as it was. The directory is opened, so that a network file system asks its server."""
        try:
            with Descriptor(os.path.join(self._runs, entry.directory), DIRECTORY) as number:
                pack = os.stat(entry.pack, dir_fd=number, follow_symlinks=False)
                return _mark(pack) == entry.pack_mark and _mark(os.fstat(number)) == entry.mark
        except OSError as error:
            pass_on(error)
            return False

    def _look(self, name: str, now: int | None) -> tuple[Summary | None, Entry | None]:
        """Read a run; the entry of one that has not changed for a while by the file system's time ``now``, which was
        asked for before."""
        run_id = names.run_of(name)
        assert run_id is not None
        try:
            with RunDirectory(os.path.join(self._runs, name)) as run:
                directory = _mark(os.fstat(run.descriptor))
                seen = run.seen()
                if seen.summary is None:
                    return None, None
                if names.directory_of(seen.summary.run_id) != name:  # a copy of another run's directory
                    return unreadable(run_id), None
                entry = None
                if now is not None and directory[2] < now - SETTLED:
                    with tolerate(OSError):  # merged meanwhile
                        pack = _mark(os.stat(seen.top, dir_fd=run.descriptor, follow_symlinks=False))
                        if pack[2] < now - SETTLED:
                            entry = Entry(name, directory, seen.top, pack, seen.summary)
                return seen.summary, entry
        except FileNotFoundError:
            return None, None
        except (CorruptCheckpointError, UnsupportedFormatError, NotADirectoryError, PermissionError):
            return unreadable(run_id), None

    def _now(self) -> int | None:
        """The time by the file system's clock; ``None`` where nothing can be written, and so no index."""
        name = names.temporary()
        names.writing.add(name)
        try:
            with Directory(self._root) as root:
                try:
                    with Descriptor(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, dir_fd=root.descriptor) as number:
                        return os.fstat(number).st_ctime_ns
                finally:
                    root.remove(name)
        except OSError as error:
            pass_on(error)
            return None
        finally:
            names.writing.discard(name)

    def _read(self) -> dict[str, Entry]:
        """The entries by directory; none where there is no index, or it is not sound."""
        try:
            with open(os.path.join(self._root, NAME), "rb", opener=_opener) as file:
                data = file.read()
            body = memoryview(data)[12:]
            if data[:8] != MAGIC or int.from_bytes(data[8:12], "little") != crc32(body):
                return {}
            entries = {entry.directory: entry for entry in _decode(body)}
            for entry in entries.values():
                possible(entry.summary)
        except (OSError, ValueError, msgspec.MsgspecError, RecursionError) as error:
            pass_on(error)
            return {}
        return entries

    def _write(self, entries: list[Entry]) -> None:
        body = _encode(entries)
        with tolerate(OSError, TauError), Directory(self._root) as root:  # without an index a listing takes longer
            root.publish(NAME, [MAGIC + crc32(body).to_bytes(4, "little"), body], replace=True, durable=False)


def _opener(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)


def _mark(found: os.stat_result) -> Mark:
    return found.st_ino, found.st_mtime_ns, found.st_ctime_ns
