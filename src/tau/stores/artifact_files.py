"""Artifacts: files that belong to the state, written under a temporary name and published whole.

An artifact lies in a directory of its own, ``<place>/<run>/<node>.<visit>/<position>-<random>/<name>``, so that no two
attempts ever meet; a place that is configured, and may serve several stores, has one ``s-<store>`` for each. The
position is that of the run's log when the attempt began: a later owner has a higher one, so a superseded owner can
never mistake the files of the owner after it for what a dead attempt left.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from tau import forks
from tau.errors import ArtifactError, ConfigError
from tau.signals import pass_on, tolerate
from tau.stores.artifact_content import Odd, entries, measure, open_file, trace, wrong_with
from tau.stores.contract import PositionConflict, Store
from tau.stores.disk import Descriptor, make_directories, sync
from tau.stores.failures import from_os, is_foreign
from tau.stores.names import TEMPORARY, directory_of, temporary
from tau.stores.open_writers import held, is_written
from tau.values.stored import StoredValue
from tau.values.types.artifact import Artifact

_LONGEST = 150


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


class Draft(NamedTuple):
    """An artifact that is being made: its directory, by name and by identity, and its temporary name in it."""

    name: str
    directory: bool
    own: str
    identity: tuple[int, int]
    temporary: str


class AttemptFiles:
    """The artifacts of one attempt at a visit, which began at ``position``, below ``place``. Thread-safe.

    ``kept`` gives the encodings in which artifacts of earlier attempts may be named. The other ones' files are removed
    when the first artifact is made: once, as the position moves on within an attempt, and its own files must stay.
    """

    def __init__(
        self, place: str, run_id: str, node: str, *, visit: int, position: int, kept: Callable[[], Iterable[bytes]]
    ) -> None:
        self.run_id = run_id
        self.node = node
        self.visit = visit
        self._place = os.path.abspath(place)
        self._below = (directory_of(run_id), f"{directory_of(node)}.{visit}")
        self._position = position
        self._kept = kept
        self._lock = threading.Lock()
        self._ready = False
        self._traces: dict[Path, int] = {}

    @property
    def _path(self) -> str:
        return os.path.join(self._place, *self._below)

    @contextmanager
    def writing(self, name: str, directory: bool, made: list[Artifact]) -> Iterator[Path]:
        """Give the temporary path of an artifact, and publish it after the block; it is added to ``made``."""
        with typed(self._path, "make an artifact in"):
            draft = self._draft(name, directory)
        process = forks.process
        try:
            yield Path(self._path, draft.own, draft.temporary)
            if process is not forks.process:
                raise forks.refusal(self.run_id, f"publish the artifact {name!r}")
            with typed(self._path, "publish an artifact in"):
                made.append(self._publish(draft))
        except BaseException:
            if process is forks.process:  # what a child of fork leaves behind is its parent's
                with tolerate(OSError):
                    self._remove(draft.own)
            raise

    def wrong_with(self, artifact: Artifact) -> str:
        """Why an artifact of this visit is not what it was when its block ended, empty where it is."""
        try:
            touched = self._traces.get(artifact.path) != trace(str(artifact.path), artifact.directory)
        except (OSError, Odd):
            touched = True
        return wrong_with(artifact, thorough=touched)

    def discard(self, artifact: Artifact) -> None:
        """Remove an artifact of this visit that another one has replaced."""
        visit, own = os.path.split(os.path.dirname(artifact.path))
        if visit == self._path:
            with tolerate(OSError):
                self._remove(own)

    def prune(self, name: str, keep_last: int, needed: list[bytes]) -> None:
        """Remove artifacts of that name of earlier visits of the node, but for those of so many newest visits, this one
        counted, and those that are named in the encodings ``needed``."""
        with tolerate(OSError), enter(self._place, self._below[:1]) as run:
            kept = 1
            for visit in self._earlier_visits(run):
                with tolerate(OSError), enter(run, (visit,)) as number:
                    found = [own for own in os.listdir(number) if _exists(os.path.join(own, name), number)]
                    if kept >= keep_last:
                        for own in found:
                            if not any(own.rpartition("-")[2].encode() in data for data in needed):
                                remove_entry(own, number)
                    kept += bool(found)
                with tolerate(OSError):  # where something is kept
                    os.rmdir(visit, dir_fd=run)

    def _earlier_visits(self, run: int) -> list[str]:
        """The directories of earlier visits of the node, newest first."""
        prefix, _, _ = self._below[1].rpartition(".")
        visits = (name.rpartition(".") for name in os.listdir(run))
        numbers = [int(visit) for node, _, visit in visits if node == prefix and visit.isdecimal()]
        return [f"{prefix}.{visit}" for visit in sorted(numbers, reverse=True) if visit < self.visit]

    def _draft(self, name: str, directory: bool) -> Draft:
        own = f"{self._position:016d}-{secrets.token_hex(6)}"
        draft = f"{temporary()}.{name}"
        self._begin()
        with enter(self._place, self._below, make=True) as visit, enter(visit, (own,), make=True) as number:
            if directory:
                os.mkdir(draft, dir_fd=number)
            found = os.fstat(number)
        return Draft(name, directory, own, (found.st_dev, found.st_ino), draft)

    def _publish(self, draft: Draft) -> Artifact:
        own = os.path.join(self._path, draft.own)
        path = os.path.join(own, draft.temporary)
        try:
            with enter(self._place, (*self._below, draft.own)) as number:
                found = os.fstat(number)
                if (found.st_dev, found.st_ino) != draft.identity:
                    raise Odd(f"{own} was replaced")
                self._close(draft, path, freeze(draft.temporary, draft.directory, number))
                size, digest, modified = measure(draft.temporary, draft.directory, number, flush=True)
                os.rename(draft.temporary, draft.name, src_dir_fd=number, dst_dir_fd=number)
                sync(number)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError, Odd) as error:
            what = "a directory" if draft.directory else "a file, or with directory=True a directory,"
            raise self._unsound(
                f"did not leave a usable artifact {draft.name!r}: {_found(error, draft)}; write {what} to exactly the "
                "path that ctx.artifact gives, and close it within the block",
                path,
            ) from error
        final = Path(own, draft.name)
        self._traces[final] = trace(str(final), draft.directory)
        return Artifact(
            name=draft.name, path=final, size_bytes=size, digest=digest, directory=draft.directory,
            modified=modified, run_id=self.run_id, node=self.node, visit=self.visit,
        )  # fmt: skip

    def _close(self, draft: Draft, path: str, suspects: list[str]) -> None:
        """Refuse what could still be written to, now or later from a buffer."""
        for inner, who in held(os.path.normpath(os.path.join(path, suspect)) for suspect in suspects).items():
            inside = f" ({os.path.relpath(inner, path)} in it)" if draft.directory else ""
            raise self._unsound(
                f"left the artifact {draft.name!r}{inside} open for writing in {who}, so that it may lack what is "
                "still to be written; close it within the block, delete there an array that is mapped to it, and wait "
                "for the threads and processes that write to it",
                path,
            )

    def _unsound(self, text: str, path: str) -> ArtifactError:
        return ArtifactError(f"node {self.node!r} {text}", path=path, node=self.node, run_id=self.run_id)

    def _begin(self) -> None:
        """Make the directory of the visit, durably, and remove what earlier attempts left there that is not needed."""
        with self._lock:
            if self._ready:
                return
            kept = [*self._kept()]
            with enter(self._place, self._below, make=True) as visit:
                for name in os.listdir(visit):
                    position, _, token = name.partition("-")
                    earlier = position.isdecimal() and int(position) < self._position
                    if earlier and not any(token.encode() in data for data in kept):
                        with tolerate(OSError):
                            remove_entry(name, visit)
            self._ready = True

    def _remove(self, own: str) -> None:
        with enter(self._place, self._below) as visit:
            remove_entry(own, visit)


def _found(error: Exception, draft: Draft) -> str:
    """What was found instead of an artifact, without its temporary name."""
    if isinstance(error, FileNotFoundError):
        return "nothing was written there"
    if isinstance(error, IsADirectoryError | NotADirectoryError):
        return f"what was written there is a {'directory' if isinstance(error, IsADirectoryError) else 'file'}"
    return str(error).replace(draft.temporary, repr(draft.name))


def freeze(path: str, directory: bool, parent: int | None = None) -> list[str]:
    """Take the write bits from the files of an artifact; its directories stay writable, so that it can be removed.

    Returns the files, relative to ``path``, that may be open for writing. Raises `Odd` for what is not a file, and for
    a file that has another name elsewhere, as both would change together.
    """
    suspects = []
    for entry in entries(path, directory, parent):
        if entry.number is not None:
            _set_mode(entry.number, stat.S_IMODE(os.fstat(entry.number).st_mode) | 0o700)
        elif not (directory and stat.S_ISDIR(os.lstat(entry.name, dir_fd=entry.parent).st_mode)):
            with open_file(entry.name, entry.parent) as number:
                found = os.fstat(number)
                if found.st_nlink > 1:
                    raise Odd(f"{os.path.basename(entry.name)} is a hard link to a file that has another name too")
                _set_mode(number, stat.S_IMODE(found.st_mode) & ~0o222)
                if is_written(number) is not False:
                    suspects.append(entry.path)
    return suspects


def _set_mode(number: int, mode: int) -> None:
    try:
        os.fchmod(number, mode)
    except OSError as error:  # as on file systems without such bits, or where the file is another user's
        if error.errno not in (errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL):
            raise


def place_of(store: Store | None, configured: str | None) -> str | None:
    """Where the artifacts of a run in the store go: beside it, or at the configured place under a name of the store's
    own, as several stores may be given one place."""
    if store is None or configured is None or configured == store.artifacts:
        return configured
    return os.path.join(configured, f"s-{store.identity()}")


def drop(
    store: Store, run_id: str, configured: str | None, values: Iterable[Any], *, position: int, created: float
) -> None:
    """Delete the records of the run, created then, that finished at ``position``, and its artifacts but for those that
    its final state refers to, which is fetched before. Nothing is touched where another process deleted it or began it
    anew meanwhile."""
    needed = [value.data() for value in values if isinstance(value, StoredValue)]
    if store.forgets and ((summary := store.summary(run_id)) is None or summary.created != created):
        return
    place, named = None, b""
    if configured is not None and os.path.isdir(configured):
        place = place_of(store, configured)
        if place != configured and os.path.isdir(os.path.join(configured, directory_of(run_id))):
            named = b"".join(record for _, record in store.read(run_id))
    with suppress(PositionConflict):
        store.delete_at(run_id, position, keep_summary=True)
        remove(place, run_id, needed, upto=position)
        if named:  # where earlier versions put artifacts, whichever store the run was in
            remove(configured, run_id, needed, upto=position, only=named)


def remove(
    place: str | None, run_id: str, keep: Iterable[bytes] = (), *, upto: int | None = None, only: bytes | None = None
) -> None:
    """Remove the artifacts of a run, but for those that are named in the encodings ``keep``.

    With ``upto``, the position at which it was deleted, newer ones stay: they belong to a run that was begun anew. With
    ``only`` those stay, too, that are not named in it. Marks of copies stay, as newer files may be theirs.
    """
    if place is None:
        return
    kept = [*keep]

    def clear(name: str, visit: int) -> None:
        position, _, text = name.partition("-")
        token = text.encode()
        newer = upto is not None and position.isdecimal() and int(position) > upto
        foreign = only is not None and token not in only
        if not newer and not foreign and not any(token in data for data in kept):
            remove_entry(name, visit)

    def clear_visit(name: str, run: int) -> None:
        if name[:1] != TEMPORARY:
            _clear(name, run, clear)

    with typed(place, "delete artifacts in"), suppress(FileNotFoundError), enter(place, ()) as number:
        _clear(directory_of(run_id), number, clear_visit)


def _clear(name: str, parent: int, each: Callable[[str, int], None]) -> None:
    """Do that to each entry of a directory, and remove it where it is empty then; whatever is not a directory goes."""
    if not _is_directory(name, parent):
        remove_entry(name, parent)
        return
    with enter(parent, (name,)) as number:
        for inner in os.listdir(number):
            each(inner, number)
    with tolerate(OSError):  # where something is kept
        os.rmdir(name, dir_fd=parent)


def remove_entry(name: str, parent: int) -> None:
    """Remove a tree, or whatever else has that name in the open directory; a link goes, what it leads to stays."""
    if _is_directory(name, parent):
        shutil.rmtree(name, dir_fd=parent)
    else:
        os.unlink(name, dir_fd=parent)


def _exists(name: str, parent: int) -> bool:
    try:
        os.lstat(name, dir_fd=parent)
    except OSError as error:
        pass_on(error)
        return False
    return True


def _is_directory(name: str, parent: int) -> bool:
    return stat.S_ISDIR(os.lstat(name, dir_fd=parent).st_mode)


def enter(start: str | int, below: Iterable[str], *, make: bool = False) -> Descriptor:
    """The directory ``below`` the place, or open directory, ``start``; no link is followed on the way from there.

    With ``make`` what is missing is made, private to this user and durable before what is in it.
    """
    if isinstance(start, str):
        if make:
            make_directories(start)
        found = Descriptor(start, os.O_RDONLY | os.O_DIRECTORY)
    else:
        found = Descriptor(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=start)
    for name in below:
        with found as parent:
            if make:
                with suppress(FileExistsError):
                    os.mkdir(name, 0o700, dir_fd=parent)
                    sync(parent)
            if stat.S_ISLNK(os.lstat(name, dir_fd=parent).st_mode):
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), name)
            found = Descriptor(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
    return found


@contextmanager
def typed(place: str, doing: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if is_foreign(error):
            raise
        raise from_os(error, place, doing) from error
