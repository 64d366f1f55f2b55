"""What the file or directory of an artifact holds: measured when it is published, compared when it is looked at again.

Links are never followed, below the path itself.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from tau.errors import ArtifactError
from tau.stores.disk import READ, Descriptor, sync
from tau.values import tags
from tau.values.stored import Inline, StoredValue
from tau.values.types.artifact import Artifact

_CHUNK = 1 << 20


class Odd(Exception):
    """Something other than what belongs there."""


class Entry(NamedTuple):
    """A file, or a directory after all that is in it, of an artifact: ``name`` is below the open directory ``parent``.

    ``path`` is relative to the artifact, empty for itself. ``number`` is the open directory where it is one.
    """

    path: str
    name: str
    parent: int | None
    number: int | None = None


def entries(path: str, directory: bool, parent: int | None = None) -> Iterator[Entry]:
    """All of an artifact at ``path``, in an order that is always the same."""
    if not directory:
        yield Entry("", path, parent)
        return
    status = os.lstat(path, dir_fd=parent)
    if not stat.S_ISDIR(status.st_mode):
        raise Odd(f"{os.path.basename(path)} is {_kind(status.st_mode)}")
    for where, folders, files, number in os.fwalk(path, onerror=_raise, dir_fd=parent):
        folders.sort()
        for name in sorted([*folders, *files]):
            yield Entry(os.path.relpath(os.path.join(where, name), path), name, number)
        yield Entry(os.path.relpath(where, path), where, parent, number)


def _raise(error: OSError) -> None:
    raise error


def _kind(mode: int) -> str:
    kinds = ((stat.S_ISDIR, "a directory"), (stat.S_ISLNK, "a symbolic link"), (stat.S_ISREG, "a file"))
    return next((name for is_kind, name in kinds if is_kind(mode)), "neither a file nor a directory")


def open_file(name: str, parent: int | None) -> Descriptor:
    """A file opened for reading. Raises `Odd` for anything else."""
    mode = os.lstat(name, dir_fd=parent).st_mode
    if not stat.S_ISREG(mode):
        raise Odd(f"{os.path.basename(name)} is {_kind(mode)}")
    return Descriptor(name, READ, dir_fd=parent)


def measure(path: str, directory: bool, parent: int | None = None, *, flush: bool = False) -> tuple[int, str, int]:
    """Size, digest and newest modification of a file or tree; with ``flush`` it is put on the disk."""
    if not directory:
        return _measure_file(path, parent, flush)
    total, newest, tree = 0, 0, hashlib.sha256()
    for entry in entries(path, directory, parent):
        if entry.number is not None:
            if flush:
                sync(entry.number)
            continue
        if stat.S_ISDIR(os.lstat(entry.name, dir_fd=entry.parent).st_mode):
            tree.update(of_directory(entry.path))
            continue
        size, digest, modified = _measure_file(entry.name, entry.parent, flush)
        tree.update(of_file(entry.path, bytes.fromhex(digest)))
        total, newest = total + size, max(newest, modified)
    return total, tree.hexdigest(), newest


def of_directory(path: str) -> bytes:
    """What goes into the digest of a tree for a directory in it."""
    relative = os.fsencode(path)
    return b"d%d:%b" % (len(relative), relative)


def of_file(path: str, digest: bytes) -> bytes:
    """The same for a file."""
    relative = os.fsencode(path)
    return b"f%d:%b%b" % (len(relative), relative, digest)


def _measure_file(name: str, parent: int | None, flush: bool) -> tuple[int, str, int]:
    content = hashlib.sha256()
    with open_file(name, parent) as number:
        if flush:
            sync(number)
        while data := os.read(number, _CHUNK):
            content.update(data)
        found = os.fstat(number)
    return found.st_size, content.hexdigest(), found.st_mtime_ns


def _glance(artifact: Artifact) -> tuple[int, int]:
    """Its size and newest modification, without reading what it holds."""
    total, newest = 0, 0
    for entry in entries(str(artifact.path), artifact.directory):
        if entry.number is None:
            found = os.lstat(entry.name, dir_fd=entry.parent)
            if stat.S_ISDIR(found.st_mode) and artifact.directory:
                continue
            if not stat.S_ISREG(found.st_mode):
                raise Odd(f"{os.path.basename(entry.name)} is {_kind(found.st_mode)}")
            total, newest = total + found.st_size, max(newest, found.st_mtime_ns)
    return total, newest


def trace(path: str, directory: bool) -> int:
    """A number that differs once the artifact was written to, a part of it renamed or its mode changed."""
    found = []
    for entry in entries(path, directory):
        if entry.number is None:
            at = os.lstat(entry.name, dir_fd=entry.parent)
            moved = () if stat.S_ISDIR(at.st_mode) else (at.st_size, at.st_mtime_ns, at.st_ctime_ns)
            found.append((entry.path, at.st_ino, at.st_mode, *moved))
    return hash(tuple(found))


def wrong_with(artifact: Artifact, *, thorough: bool = False) -> str:
    """Why an artifact is not what it was, empty where it is; ``thorough`` also reads one that looks unchanged."""
    try:
        if thorough or _glance(artifact) != (artifact.size_bytes, artifact.modified):
            size, digest, _ = measure(str(artifact.path), artifact.directory)
            if (size, digest) != (artifact.size_bytes, artifact.digest):
                return "is not what it was"
    except (FileNotFoundError, NotADirectoryError):
        return "is missing"
    except (OSError, Odd) as error:
        return f"cannot be read ({error})"
    return ""


def check(artifact: Artifact, *, thorough: bool = False) -> None:
    """Raise `ArtifactError` for one that is missing or altered; ``thorough`` also reads one that looks unchanged."""
    wrong = wrong_with(artifact, thorough=thorough)
    if wrong:
        raise ArtifactError(
            f"the artifact {artifact.name!r} {wrong}: {artifact.path}. Node {artifact.node!r} (visit {artifact.visit}) "
            f"of run {artifact.run_id!r} made it; bring it back from a copy, or start a new run, which makes it again",
            path=str(artifact.path),
            node=artifact.node,
            run_id=artifact.run_id,
        )


def check_all(cells: Iterable[Any], *, thorough: bool = False) -> None:
    """`check` for those among the values of a state; the others are not looked into."""
    for cell in cells:
        if isinstance(cell, StoredValue) and is_artifact(cell):
            check(cell.open()[0], thorough=thorough)


def is_artifact(cell: StoredValue) -> bool:
    if type(cell.whole) is not Inline:  # where `stored.make` puts every artifact: nothing is fetched to find them
        return False
    head = cell.whole.data[:6]
    width = {0xC7: 2, 0xC8: 3, 0xC9: 5}.get(head[0] if head else 0)  # the headers of an extension
    return width is not None and head[width : width + 1] == bytes((tags.ARTIFACT,))
