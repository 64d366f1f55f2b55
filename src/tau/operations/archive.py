"""Archives: a run in one file. A zip file of members that are not compressed, which docs/format.md describes."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import IO, Any, Final

import msgspec
from msgspec import Struct

from tau.errors import CorruptCheckpointError, UnsupportedFormatError
from tau.log.blobs import Blob
from tau.log.contained import NamedBlobs, is_possible
from tau.log.encoding import unpack_blob, unseal
from tau.log.relocation import Relocation
from tau.operations.stored_run import Entry
from tau.signals import pass_on
from tau.stores.artifact_content import of_directory, of_file
from tau.stores.artifact_copies import Piece, unlike
from tau.stores.disk import READ, Descriptor
from tau.values.encoding import MAX_BYTES
from tau.values.stored import Part
from tau.values.types.artifact import Artifact
from tau.version import __version__

FORMAT: Final = 1
LOG: Final = "log"
INDEX: Final = "tau-run.json"

_RECORD: Final = struct.Struct(">cQQ")  # "r", position, length
_BLOB: Final = struct.Struct(">c20sQ")  # "b", name, length
_SEAL: Final = 64
_CHUNK: Final = 1 << 20
_END: Final = 253_402_300_800.0  # seconds until the year 10000
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)


class FileEntry(Struct, frozen=True, kw_only=True):
    """A file of an artifact, or a directory in one, by its path in it; ``member`` holds what is in a file."""

    path: str
    directory: bool = False
    member: str = ""
    size_bytes: int = 0
    modified: int = 0
    mode: int = 0


class ArtifactEntry(Struct, frozen=True, kw_only=True):
    """An artifact, by the path that its references have in the log."""

    path: str
    name: str
    size_bytes: int
    sha256: str
    directory: bool
    files: list[FileEntry]


class Index(Struct, frozen=True, kw_only=True):
    """What an archive holds."""

    format: int
    tau: str
    run_id: str
    graph: str
    status: str
    position: int
    records: int
    blobs: int
    not_before: float | None
    artifacts: list[ArtifactEntry]


class ArchiveWriter:
    """Writes an archive into a file that can be read, too: entries first, then artifacts, then the index."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._zip = zipfile.ZipFile(file, "w", zipfile.ZIP_STORED)
        self.records = self.blobs = 0

    def log(self, entries: Iterable[Entry], relocation: Relocation) -> None:
        """Write each, and show it to ``relocation``, which finds the artifacts."""
        with self._member(LOG) as log:
            for entry in entries:
                log.write(_RECORD.pack(b"r", entry.position, len(entry.data)) + entry.data)
                self.records += 1
                for blob in entry.blobs:
                    log.write(_BLOB.pack(b"b", blob.part.digest, len(blob.stored)) + blob.stored)
                    self.blobs += 1
                    relocation.blob(blob.part, blob.content)
                relocation.record(entry.record)

    def artifact(self, number: int, artifact: Artifact, pieces: Iterable[Piece]) -> ArtifactEntry:
        """Write what it consists of. Raises `ArtifactError` where that is not what its reference says."""
        files, tree, whole, total = [], hashlib.sha256(), "", 0
        for piece in pieces:
            if piece.directory:
                tree.update(of_directory(piece.path) if piece.path else b"")
                files.append(FileEntry(path=piece.path, directory=True))
                continue
            member, size, content = f"artifacts/{number}/{len(files)}", 0, hashlib.sha256()
            with self._member(member) as file:
                for data in piece.read():
                    size += file.write(data)
                    content.update(data)
            tree.update(of_file(piece.path, content.digest()))
            whole, total = content.hexdigest(), total + size
            files.append(
                FileEntry(path=piece.path, member=member, size_bytes=size, modified=piece.modified, mode=piece.mode)
            )
        if (total, tree.hexdigest() if artifact.directory else whole) != (artifact.size_bytes, artifact.digest):
            raise unlike(artifact, "it was altered")
        return ArtifactEntry(
            path=str(artifact.path), name=artifact.name, size_bytes=artifact.size_bytes, sha256=artifact.digest,
            directory=artifact.directory, files=files,
        )  # fmt: skip

    def close(self, index: Index) -> None:
        """Write the index, and the digest of the whole as the last thing."""
        with self._member(INDEX) as member:  # in ASCII: names of files may hold what is no Unicode
            member.write(json.dumps(msgspec.to_builtins(index), indent=1).encode())
        self._zip.comment = b"0" * _SEAL
        self._zip.close()
        end = self._file.seek(0, os.SEEK_END) - _SEAL
        digest = _digest(self._file, end)
        self._file.seek(end)
        self._file.write(digest)
        self._file.flush()

    def abandon(self) -> None:
        """Write nothing more: what there is is no archive."""
        self._zip.fp = None

    @contextmanager
    def _member(self, name: str) -> Iterator[IO[bytes]]:
        with self._zip.open(zipfile.ZipInfo(name, _EPOCH), "w", force_zip64=True) as member:
            yield member


def index_of(run_id: str, **fields: Any) -> Index:
    """The index of an archive that this version writes."""
    return Index(format=FORMAT, tau=__version__, run_id=run_id, **fields)


def _digest(file: IO[bytes], end: int) -> bytes:
    """The SHA-256 of what comes before ``end``, in hexadecimal."""
    content = hashlib.sha256()
    file.seek(0)
    while end and (data := file.read(min(_CHUNK, end))):
        content.update(data)
        end -= len(data)
    return content.hexdigest().encode()


class ArchivedRun:
    """See `RunSource`. A context manager; all of the file is read when it is opened.

    Raises `CorruptCheckpointError` for a file that is no archive, or was cut or altered, `UnsupportedFormatError` for
    one of a newer version, `OSError`.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._open = Descriptor(path, READ)
        try:
            self._file: IO[bytes] = open(self._open.number, "rb", closefd=False)  # noqa: SIM115 - closed with it
            with self._sound():
                self._check_whole()
                self._zip = zipfile.ZipFile(self._file)
                self.index = self._index()
                self._check_members()
        except BaseException:
            self.close()
            raise
        self.run_id = self.index.run_id
        self.not_before = self.index.not_before
        self._artifacts = {one.path: one for one in self.index.artifacts}

    def __enter__(self) -> ArchivedRun:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._open.close()

    def entries(self) -> Iterator[Entry]:
        """See `RunSource.entries`."""
        with self._sound(), self._zip.open(LOG) as log:
            left, named, records, blobs = self._zip.getinfo(LOG).file_size, NamedBlobs(), 0, 0
            while left:
                position, data = self._record(log, left)
                left -= _RECORD.size + len(data)
                record = unseal(self.run_id, position, data)
                held = []
                for _, part in named.new_in(record):
                    blob = self._blob(log, left, part)
                    left -= _BLOB.size + len(blob.stored)
                    held.append(blob)
                records, blobs = records + 1, blobs + len(held)
                yield Entry(position, data, record, held)
            if (records, blobs) != (self.index.records, self.index.blobs):
                raise ValueError(f"it holds {records} records and {blobs} blobs")
            _at_end(log)

    def pieces(self, artifact: Artifact) -> Iterable[Piece] | None:
        """See `RunSource.pieces`."""
        found = self._artifacts.get(str(artifact.path))
        return None if found is None else map(self._piece, found.files)

    def _piece(self, entry: FileEntry) -> Piece:
        return Piece(entry.path, entry.directory, entry.modified, entry.mode, lambda: self._content(entry))

    def _content(self, entry: FileEntry) -> Iterator[bytes]:
        with self._sound(), self._zip.open(entry.member) as member:
            while data := member.read(_CHUNK):
                yield data

    def _record(self, log: IO[bytes], left: int) -> tuple[int, bytes]:
        kind, position, size = _RECORD.unpack(_read(log, _RECORD.size, left))
        if kind != b"r":
            raise ValueError("its log does not hold what it should")
        return position, _read(log, size, left - _RECORD.size)

    def _blob(self, log: IO[bytes], left: int, part: Part) -> Blob:
        kind, name, size = _BLOB.unpack(_read(log, _BLOB.size, left))
        if kind != b"b" or name != part.digest or not is_possible(part):
            raise ValueError("its log does not hold what it should")
        stored = _read(log, size, left - _BLOB.size)
        return Blob(part, unpack_blob(self.run_id, name, part.size, stored), stored)

    def _check_whole(self) -> None:
        end = self._file.seek(0, os.SEEK_END) - _SEAL
        if end < 0 or _digest(self._file, end) != self._file.read(_SEAL):
            raise ValueError("it is not an archive of a run, or was cut or altered: its checksum does not match")

    def _index(self) -> Index:
        if INDEX not in self._zip.NameToInfo:
            raise ValueError(f"it has no member {INDEX}")
        self._check_stored(self._zip.getinfo(INDEX))
        text = json.loads(self._zip.read(INDEX))
        found = text.get("format") if isinstance(text, dict) else None
        if isinstance(found, int) and found > FORMAT:
            raise UnsupportedFormatError(
                f"the archive {self.path} has format {found}, this version of tau reads {FORMAT}; use the version that "
                "wrote it, or a newer one",
                found=found,
                supported=FORMAT,
            )
        index = msgspec.convert(text, Index)
        if index.format < 1:
            raise ValueError(f"its index has format {index.format}")
        if index.not_before is not None and not 0 <= index.not_before < _END:
            raise ValueError("its index has a time that no calendar has")
        if any(abs(one.modified) >= _END * 1e9 for each in index.artifacts for one in each.files):
            raise ValueError("its index has a file with a time that no calendar has")
        return index

    def _check_members(self) -> None:
        """Only what belongs there, each once, none compressed: so nothing is longer than it says, or than the file."""
        sizes = {one.member: one.size_bytes for each in self.index.artifacts for one in each.files if one.member}
        found = self._zip.infolist()
        expected = {INDEX, LOG, *sizes}
        if {one.filename for one in found} != expected or len(found) != len(expected):
            raise ValueError("it has other members than its index says")
        for info in found:
            self._check_stored(info)
            if info.file_size != sizes.get(info.filename, info.file_size):
                raise ValueError(f"its member {info.filename!r} has another size than its index says")

    def _check_stored(self, info: zipfile.ZipInfo) -> None:
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1 or info.file_size != info.compress_size:
            raise ValueError(f"its member {info.filename!r} is compressed or encrypted")

    @contextmanager
    def _sound(self) -> Iterator[None]:
        try:
            yield
        except (zipfile.BadZipFile, msgspec.ValidationError, ValueError, struct.error, zlib.error, EOFError,
                NotImplementedError, RuntimeError, KeyError, OverflowError) as error:  # fmt: skip
            pass_on(error)
            if isinstance(error, UnsupportedFormatError | GeneratorExit):
                raise
            raise CorruptCheckpointError(
                f"the archive {self.path} cannot be used: {error}; make it anew with tau export", what=self.path
            ) from error


def _read(log: IO[bytes], size: int, left: int) -> bytes:
    """So many bytes. Raises ``ValueError`` where there cannot be as many."""
    if size > left or size > 2 * MAX_BYTES:
        raise ValueError("its log is cut off")
    data = log.read(size)
    if len(data) != size:
        raise ValueError("its log is cut off")
    return data


def _at_end(member: IO[bytes]) -> None:
    """Read to the end, where the checksum is compared."""
    if member.read(1):
        raise ValueError("its log goes on")
