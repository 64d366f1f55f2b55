"""Artifacts: files that belong to the state, written under a temporary name and published whole.

An artifact lies in a directory of its own, ``<place>/<run>/<node>.<visit>/<position>-<random>/<name>``, so that no two
attempts ever meet. The position is that of the run's log when the attempt began: whoever owns the run later has a
higher one, so an owner that was superseded can never mistake the files of its heir for what a dead attempt left.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import stat
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tau.errors import ArtifactError, ConfigError, StoreError
from tau.stores.contract import Store
from tau.stores.disk import Descriptor, make_directories, sync, sync_directory
from tau.stores.failures import from_os
from tau.stores.names import directory_of, temporary
from tau.values import tags
from tau.values.stored import Cell, Inline
from tau.values.types.artifact import Artifact

_LONGEST = 150
_CHUNK = 1 << 20


def checked_file_name(name: Any) -> str:
    """``name`` if it is one of a file, and of nothing outside its directory. Raises `ConfigError`."""
    if type(name) is not str:
        raise ConfigError(f"the name of an artifact must be text, found {type(name).__name__}")
    wrong = "" if name else "it is empty"
    if name in (".", "..") or "/" in name or "\\" in name:
        wrong = "it must be a single name, not a path"
    elif any(ord(char) < 32 or char == "\x7f" or "\ud800" <= char <= "\udfff" for char in name):
        wrong = "it holds control characters or lone surrogates"
    elif len(name.encode()) > _LONGEST:
        wrong = f"it has more than {_LONGEST} bytes"
    if wrong:
        raise ConfigError(f"{ascii(name)[:80]} cannot name an artifact: {wrong}; use a name such as 'clean.nc'")
    return name


class Maker:
    """Makes the artifacts of one attempt at a visit, which began at ``position``, below ``place``. Thread-safe.

    ``kept`` gives the encodings in which artifacts of earlier attempts may be named. The other ones' files are removed
    when the first artifact is made: once, as the position moves on within an attempt, and its own files must stay.
    """

    def __init__(
        self, place: str, run_id: str, node: str, *, visit: int, position: int, kept: Callable[[], Iterable[bytes]]
    ) -> None:
        self.run_id = run_id
        self.node = node
        self.visit = visit
        self._position = position
        self._kept = kept
        self._visit = os.path.join(place, directory_of(run_id), f"{directory_of(node)}.{visit}")
        self._lock = threading.Lock()
        self._ready = False

    @contextmanager
    def writing(self, name: str, directory: bool, made: list[Artifact]) -> Iterator[Path]:
        """Give the temporary path of an artifact, and publish it after the block; it is added to ``made``."""
        own = os.path.join(self._visit, f"{self._position:016d}-{secrets.token_hex(6)}")
        draft = os.path.join(own, f"{temporary()}.{name}")
        with _typed(own, "make an artifact in"):
            self._begin()
            make_directories(own)
            if directory:
                os.mkdir(draft, 0o700)
        try:
            yield Path(draft)
            with _typed(own, "publish an artifact in"):
                made.append(self._publish(name, draft, own, directory))
        except BaseException:
            shutil.rmtree(own, ignore_errors=True)
            raise

    def discard(self, artifact: Artifact) -> None:
        """Remove an artifact of this visit that another one has replaced."""
        own = os.path.dirname(artifact.path)
        if os.path.dirname(own) == self._visit:
            shutil.rmtree(own, ignore_errors=True)

    def _publish(self, name: str, draft: str, own: str, directory: bool) -> Artifact:
        final = os.path.join(own, name)
        try:
            size, digest, modified = _measure(draft, directory, settle=True)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError, _Odd) as error:
            what = "a directory" if directory else "a file, or with directory=True a directory,"
            raise ArtifactError(
                f"node {self.node!r} left no sound artifact {name!r}: {error}; write {what} to exactly the path that "
                "ctx.artifact gives, and close it within the block",
                path=draft,
                node=self.node,
                run_id=self.run_id,
            ) from error
        os.rename(draft, final)
        sync_directory(own)
        return Artifact(
            name=name, path=Path(final), size_bytes=size, digest=digest, directory=directory, modified=modified,
            run_id=self.run_id, node=self.node, visit=self.visit,
        )  # fmt: skip

    def _begin(self) -> None:
        """Make the directory of the visit, durably, and remove what earlier attempts left there that nobody needs."""
        with self._lock:
            if self._ready:
                return
            make_directories(self._visit)
            kept = [*self._kept()]
            for name in os.listdir(self._visit):
                position, _, token = name.partition("-")
                earlier = position.isdecimal() and int(position) < self._position
                if earlier and not any(token.encode() in data for data in kept):
                    shutil.rmtree(os.path.join(self._visit, name), ignore_errors=True)
            self._ready = True


class _Odd(Exception):
    """Something other than what belongs there."""


def _measure(path: str, directory: bool, *, settle: bool) -> tuple[int, str, int]:
    """Size, digest and newest modification of a file or tree; ``settle`` makes it private and puts it on the disk."""
    if not directory:
        return _measure_file(path, settle)
    total, newest, tree = 0, 0, hashlib.sha256()
    for where, folders, files in os.walk(path, onerror=_raise):
        folders.sort()
        for name in sorted([*folders, *files]):
            found = os.path.join(where, name)
            kind = os.lstat(found).st_mode
            relative = os.fsencode(os.path.relpath(found, path))
            if stat.S_ISDIR(kind):
                tree.update(b"d%d:%b" % (len(relative), relative))
                continue
            size, digest, modified = _measure_file(found, settle)
            tree.update(b"f%d:%b%b" % (len(relative), relative, bytes.fromhex(digest)))
            total, newest = total + size, max(newest, modified)
        if settle:
            os.chmod(where, 0o700)
            sync_directory(where)
    return total, tree.hexdigest(), newest


def _raise(error: OSError) -> None:
    raise error


def _open(path: str) -> Descriptor:
    mode = os.lstat(path).st_mode
    if not stat.S_ISREG(mode):
        kinds = ((stat.S_ISDIR, "a directory"), (stat.S_ISLNK, "a symbolic link"))
        what = next((name for is_kind, name in kinds if is_kind(mode)), "neither a file nor a directory")
        raise _Odd(f"{os.path.basename(path)} is {what}")
    return Descriptor(path, os.O_RDONLY | os.O_NOFOLLOW)


def _measure_file(path: str, settle: bool) -> tuple[int, str, int]:
    content = hashlib.sha256()
    with _open(path) as number:
        if settle:
            os.fchmod(number, 0o600)
            sync(number)
        while data := os.read(number, _CHUNK):
            content.update(data)
        found = os.fstat(number)
    return found.st_size, content.hexdigest(), found.st_mtime_ns


def _glance(artifact: Artifact) -> tuple[int, int]:
    """Its size and newest modification, without reading what it holds."""
    path = str(artifact.path)
    if not artifact.directory:
        with _open(path) as number:
            found = os.fstat(number)
        return found.st_size, found.st_mtime_ns
    total, newest = 0, 0
    for where, _, files in os.walk(path, onerror=_raise):
        for name in files:
            found = os.lstat(os.path.join(where, name))
            total, newest = total + found.st_size, max(newest, found.st_mtime_ns)
    return total, newest


def check(artifact: Artifact, *, thorough: bool = False) -> None:
    """Raise `ArtifactError` for one that is missing or altered; ``thorough`` also reads one that looks sound."""
    path = str(artifact.path)
    try:
        wrong = ""
        if thorough or _glance(artifact) != (artifact.size_bytes, artifact.modified):
            size, digest, _ = _measure(path, artifact.directory, settle=False)
            if (size, digest) != (artifact.size_bytes, artifact.digest):
                wrong = "is not what it was"
    except (FileNotFoundError, NotADirectoryError):
        wrong = "is missing"
    except (OSError, _Odd) as error:
        wrong = f"cannot be read ({error})"
    if wrong:
        raise ArtifactError(
            f"the artifact {artifact.name!r} {wrong}: {path}. Node {artifact.node!r} (visit {artifact.visit}) of run "
            f"{artifact.run_id!r} made it; bring it back from a copy, or start a new run, which makes it again",
            path=path,
            node=artifact.node,
            run_id=artifact.run_id,
        )


def check_all(cells: Iterable[Any]) -> None:
    """`check` for those among the values of a state; the others are not looked into."""
    for cell in cells:
        if isinstance(cell, Cell) and _is_artifact(cell):
            check(cell.open()[0])


def _is_artifact(cell: Cell) -> bool:
    if type(cell.whole) is not Inline:  # where `cells.make` puts every artifact: nothing is fetched to find them
        return False
    head = cell.whole.data[:6]
    width = {0xC7: 2, 0xC8: 3, 0xC9: 5}.get(head[0])  # the headers of an extension
    return width is not None and head[width] == tags.ARTIFACT


def drop(store: Store, run_id: str, place: str | None, values: Iterable[Any]) -> None:
    """Delete a finished run's records, and its artifacts but for those that its final state refers to, which is fetched
    before."""
    needed = [value.data() for value in values if isinstance(value, Cell)]
    store.delete(run_id, keep_summary=True)
    remove(place, run_id, needed)


def remove(place: str | None, run_id: str, keep: Iterable[bytes] = ()) -> None:
    """Remove the artifacts of a run, but for those that are named in the encodings ``keep``."""
    root = os.path.join(place, directory_of(run_id)) if place is not None else ""
    if not root or not os.path.isdir(root):
        return
    kept = [*keep]
    with _typed(root, "delete artifacts in"):
        for visit in os.listdir(root):
            for name in os.listdir(os.path.join(root, visit)):
                token = name.rpartition("-")[2].encode()
                if not any(token in data for data in kept):
                    shutil.rmtree(os.path.join(root, visit, name))
            with suppress(OSError):  # where something is kept
                os.rmdir(os.path.join(root, visit))
        with suppress(OSError):
            os.rmdir(root)


@contextmanager
def _typed(place: str, doing: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if isinstance(error, StoreError):
            raise
        raise from_os(error, place, doing) from error
