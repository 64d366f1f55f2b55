"""Artifacts of a run that is put into a store, or forked: copies, or links to the same read-only files."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from tau.errors import ArtifactError, ConfigError
from tau.signals import pass_on, tolerate
from tau.stores.artifact_content import Odd, entries, measure, open_file
from tau.stores.artifact_files import checked_file_name, enter, remove_entry, typed
from tau.stores.artifact_marks import Mark
from tau.stores.disk import Descriptor, sync
from tau.stores.names import directory_of, temporary
from tau.values.types.artifact import Artifact

_CHUNK: Final = 1 << 20
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW


class Piece(Struct, frozen=True):
    """A file of an artifact, or a directory in one: ``path`` is relative to it, empty for itself. ``modified`` is in
    nanoseconds, ``mode`` the permissions of a file, ``read`` gives what it holds, ``source`` is where it lies, if that
    can be linked."""

    path: str
    directory: bool = False
    modified: int = 0
    mode: int = 0o400
    read: Callable[[], Iterable[bytes]] = lambda: ()
    source: str = ""


def pieces_of(artifact: Artifact) -> Iterator[Piece]:
    """What an artifact consists of, where it lies, in the order in which its digest is made. This and reading it raise
    `ArtifactError` where it is taken away meanwhile."""
    root = str(artifact.path)
    with _there(artifact):
        if not artifact.directory:
            yield _file("", root, artifact, os.lstat(root))
            return
        yield Piece("", directory=True)
        for entry in entries(root, directory=True):
            if entry.number is None:
                found = os.lstat(entry.name, dir_fd=entry.parent)
                is_directory = stat.S_ISDIR(found.st_mode)
                path = os.path.join(root, entry.path)
                yield Piece(entry.path, True) if is_directory else _file(entry.path, path, artifact, found)


def _file(name: str, path: str, artifact: Artifact, found: os.stat_result) -> Piece:
    def read() -> Iterator[bytes]:
        with _there(artifact), open_file(path, None) as number:
            while data := os.read(number, _CHUNK):
                yield data

    return Piece(name, False, found.st_mtime_ns, stat.S_IMODE(found.st_mode), read, path)


@contextmanager
def _there(artifact: Artifact) -> Iterator[None]:
    try:
        yield
    except (OSError, Odd) as error:
        pass_on(error)
        raise unlike(artifact, f"it was altered or taken away as it was read ({error})") from error


class ArtifactCopies:
    """Puts artifacts below ``place`` for a run whose first record there has that ``position`` and ``nonce``, each once.

    A deletion of the run takes them with it. From the first one on they are marked, until `keep` says that the run is
    there, or `discard` removes those that were made; what a killed process leaves `tau gc` finds by the mark.
    """

    def __init__(
        self, place: Callable[[], str | None], run_id: str, position: int, *, nonce: str, link: bool = False
    ) -> None:
        self._place_of = place
        self._place = ""
        self._run_id = run_id
        self._run = directory_of(run_id)
        self._position = position
        self._nonce = nonce
        self._mark: Mark | None = None
        self._link = link
        self._made: list[tuple[tuple[str, ...], str]] = []
        self._known: dict[str, Artifact] = {}

    def __len__(self) -> int:
        return len(self._known)

    def put(self, artifact: Artifact, pieces: Iterable[Piece]) -> Artifact:
        """Publish a copy; the reference to it. Raises `ArtifactError` where it is not what the reference says,
        `ConfigError` where there is no place for it, `StoreError`."""
        known = self._known.get(str(artifact.path))
        if known is None:
            with typed(self._ready(), "put an artifact into"):
                known = self._known[str(artifact.path)] = self._put(artifact, pieces)
        return known

    def _ready(self) -> str:
        if not self._place:
            place = self._place_of()
            if place is None:
                raise ConfigError(
                    "the run has artifacts, and this store has no place for files: name a directory for them",
                    hint="artifacts=..., as in CheckpointConfig(artifacts=...)",
                )
            self._place = os.path.abspath(place)
        return self._place

    def _put(self, artifact: Artifact, pieces: Iterable[Piece]) -> Artifact:
        name = checked_file_name(artifact.name)
        below = (self._run, f"{directory_of(artifact.node)}.{artifact.visit}")
        if self._mark is None:
            self._mark = Mark(self._place, self._run_id, self._nonce)
        own = f"{self._position:016d}-{self._mark.token(secrets.token_hex(6))}"
        draft = f"{temporary()}.{name}"
        self._made.append((below, own))
        with enter(self._place, below, make=True) as visit, enter(visit, (own,), make=True) as number:
            try:
                for piece in pieces:
                    _write(piece, (draft, *_parts(piece.path)), number, self._link, self._mark)
                size, digest, modified = measure(draft, artifact.directory, number, flush=True)
            except Odd as error:
                raise unlike(artifact, str(error)) from error
            if (size, digest) != (artifact.size_bytes, artifact.digest):
                raise unlike(artifact, "it was altered")
            os.rename(draft, name, src_dir_fd=number, dst_dir_fd=number)
            sync(number)
        return replace(artifact, path=Path(self._place, *below, own, name), modified=modified)

    def keep(self) -> None:
        """The run is there, and what was put there is its own."""
        if self._mark is not None:
            self._mark.remove()

    def discard(self) -> None:
        """Remove what was put there."""
        gone = True
        for below, own in self._made:
            try:
                with enter(self._place, below) as visit:
                    remove_entry(own, visit)
            except OSError as error:
                pass_on(error)
                gone = gone and isinstance(error, FileNotFoundError)
        self._made.clear()
        if gone:
            self.keep()

    def close(self) -> None:
        """Nothing more is put there; what was neither kept nor discarded is left to `tau gc`."""
        if self._mark is not None:
            self._mark.leave()


def unlike(artifact: Artifact, why: str) -> ArtifactError:
    """What is raised where an artifact is not what its reference says."""
    return ArtifactError(
        f"the artifact {artifact.name!r} that node {artifact.node!r} (visit {artifact.visit}) of run "
        f"{artifact.run_id!r} made is not what the run says: {why}; bring it back from a copy",
        path=str(artifact.path),
        node=artifact.node,
        run_id=artifact.run_id,
    )


def _parts(path: str) -> tuple[str, ...]:
    """The names in a relative path. Raises `Odd` for one that leads out of its artifact."""
    parts = tuple(path.split("/")) if path else ()
    if any(part in ("", ".", "..") or "\0" in part for part in parts):
        raise Odd(f"{path!r} leads out of its artifact")
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        raise Odd(f"{path!r} cannot be the name of a file") from None
    return parts


def _write(piece: Piece, names: tuple[str, ...], parent: int, link: bool, mark: Mark) -> None:
    with enter(parent, names[:-1]) as number:
        name = names[-1]
        if piece.directory:
            with suppress(FileExistsError):
                os.mkdir(name, 0o700, dir_fd=number)
            return
        if link and piece.source:
            with suppress(OSError):  # as between file systems, or on one without links
                os.link(piece.source, name, dst_dir_fd=number, follow_symlinks=False)
                return
        with Descriptor(name, _NEW, dir_fd=number) as file:
            for data in piece.read():
                mark.touch()
                _write_all(file, data)
            os.utime(file, ns=(piece.modified, piece.modified))
            with tolerate(OSError):  # on file systems without such bits
                os.fchmod(file, (piece.mode | 0o400) & 0o555)


def _write_all(file: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(file, left) :]
