"""Packs: what holds commits, and covers of many commits, in files and objects. docs/stores.md has the layout byte for
byte."""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from struct import Struct as Layout
from zlib import crc32

import msgspec

from tau.errors import CorruptCheckpointError, UnsupportedFormatError
from tau.stores.contract import Summary
from tau.stores.summaries import possible

MAGIC = b"taupack"
VERSION = b"1"
FRAME = Layout("<8sII")  # magic and version, CRC-32 of the head, its length
RECORD = Layout("<QI")  # end in the body, CRC-32
BLOB = Layout("<8sQQII")  # start of the digest, offset in the body, size, size of the digest, CRC-32 of digest and data
FIRST_READ = 4096
BLOB_MAGIC = b"taublob1"
LARGE = 128 * 1024  # a blob of this size gets a file or object of its own, so that merging never copies it
MERGE_LIMIT = 8 * 1024 * 1024  # a cover that has grown to this many bytes is not copied again
DELETION = b"deletion after "  # begins the token of the commit that a deletion is; what follows is the token before it

Blobs = list[tuple[bytes, bytes]]


class Head(msgspec.Struct, array_like=True, frozen=True):
    """``records`` and ``blobs`` are tables of `RECORD` and `BLOB`, the latter sorted; ``size`` is that of the body."""

    run_id: str
    first: int
    last: int
    token: bytes
    summary: Summary
    size: int
    records: bytes
    blobs: bytes


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Head).decode


def build(
    run_id: str,
    first: int,
    token: bytes,
    summary: Summary,
    *,
    records: Sequence[bytes],
    blobs: Sequence[tuple[bytes, bytes]] = (),
) -> list[bytes]:
    """The pieces of a pack with the records from position ``first`` on, in the order in which they are written."""
    end = 0
    table = []
    for record in records:
        end += len(record)
        table.append(RECORD.pack(end, crc32(record)))
    pieces = list(records)
    entries = []
    for digest, data in blobs:
        entries.append(BLOB.pack(digest[:8], end, len(data), len(digest), crc32(data, crc32(digest))))
        pieces += (digest, data)
        end += len(digest) + len(data)
    entries.sort()
    last = first + len(records) - 1
    head = _encode(Head(run_id, first, last, token, summary, end, b"".join(table), b"".join(entries)))
    return [FRAME.pack(MAGIC + VERSION, crc32(head), len(head)) + head, *pieces]


def by_size(blobs: Iterable[tuple[bytes, bytes]]) -> tuple[Blobs, Blobs]:
    """Those that do not lie in a pack, and those that do."""
    large: Blobs = []
    small: Blobs = []
    for blob in blobs:
        (large if len(blob[1]) >= LARGE else small).append(blob)
    return large, small


def blob_frame(digest: bytes, data: bytes) -> bytes:
    """What stands before the data of a large blob."""
    return BLOB_MAGIC + crc32(data, crc32(digest)).to_bytes(4, "little") + len(digest).to_bytes(4, "little") + digest


def frame_size(digest: bytes) -> int:
    """How many bytes `blob_frame` has."""
    return len(BLOB_MAGIC) + 8 + len(digest)


def checked(digest: bytes, frame: bytes, data: bytes, path: str) -> bytes:
    """The data of a large blob, behind that frame. Raises `CorruptCheckpointError`."""
    if frame != blob_frame(digest, data):
        raise CorruptCheckpointError(
            f"{path} is damaged: its checksum does not match; restore it from a backup", what=path
        )
    return data


def without_dropped(found: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    """The records of a run, from the first one on that was not dropped."""
    if not found or found[0][1]:
        return found
    return found[next((number for number, (_, data) in enumerate(found) if data), len(found)) :]


def last_at_most(sizes: Mapping[str, int]) -> int:
    """A position at or above the last one in packs of these names and sizes that cannot be read: what the name of a
    cover says, and of a slot, which says only its first one, no more than that and its size."""
    return max((int(name[1:17]) + (size if len(name) == 17 else 0) for name, size in sizes.items()), default=0)


class Pack(ABC):
    """One pack, to be read. ``path`` says where it is.

    Everything that is handed out was checked: the head at once, records and blobs each when read.
    """

    def __init__(self, name: str, path: str, run_id: str | None = None) -> None:
        self.name = name
        self.path = path
        self.head = self._head(run_id)

    @abstractmethod
    def _part(self, size: int, offset: int) -> bytes:
        """At most so many bytes from there on, and at least one unless that is the end."""

    @abstractmethod
    def _length(self) -> int:
        """How many bytes it has."""

    def _head(self, run_id: str | None) -> Head:
        start = self._part(FIRST_READ, 0)
        if len(start) < FRAME.size or start[:7] != MAGIC:
            raise self.damaged("it does not begin like a pack")
        magic, checksum, size = FRAME.unpack_from(start)
        if magic[7:] != VERSION:
            raise UnsupportedFormatError(
                f"{self.path} has format {magic[7:]!r}, this version of tau knows {VERSION!r}; use the version that "
                "wrote it",
                found=magic[7:],
                supported=VERSION,
            )
        self._body = FRAME.size + size
        length = self._length()
        if length < self._body:
            raise self.damaged("it is cut off")
        data = memoryview(start)[FRAME.size : self._body]
        if len(data) < size:
            data = memoryview(self._part(size, FRAME.size))
        if crc32(data) != checksum:
            raise self.damaged("the checksum of its head does not match")
        try:
            head = _decode(data)
        except msgspec.DecodeError as error:
            raise self.damaged(f"its head does not decode ({error})") from error
        try:
            possible(head.summary)
        except ValueError as error:
            raise self.damaged(str(error)) from error
        if run_id not in (None, head.run_id):
            raise self.damaged(f"it belongs to run {head.run_id!r}")
        if head.first != self._named() or len(head.records) != RECORD.size * (head.last - head.first + 1):
            raise self.damaged("it holds other positions than its name says")
        if length != self._body + head.size:
            raise self.damaged("it does not have the length that its head says")
        return head

    def _named(self) -> int:
        return int(self.name[18:] if len(self.name) > 17 else self.name[1:])

    def records(self, after: int = 0, upto: int | None = None) -> list[tuple[int, bytes]]:
        """The (position, record) pairs above ``after``, up to ``upto`` if given. Raises `CorruptCheckpointError`."""
        first = max(after + 1, self.head.first)
        last = self.head.last if upto is None else min(upto, self.head.last)
        if first > last:
            return []
        low, high = first - self.head.first, last - self.head.first + 1
        entries = list(RECORD.iter_unpack(self.head.records[low * RECORD.size : high * RECORD.size]))
        start = RECORD.unpack_from(self.head.records, (low - 1) * RECORD.size)[0] if low else 0
        data = self._read(start, entries[-1][0] - start)
        found = []
        begin = 0
        for position, (end, checksum) in enumerate(entries, first):
            record = data[begin : end - start]
            if crc32(record) != checksum:
                raise self.damaged(f"the checksum of record {position} does not match", position)
            found.append((position, record))
            begin = end - start
        return found

    def blob(self, digest: bytes) -> bytes | None:
        """The data under ``digest``, or ``None``. Raises `CorruptCheckpointError`."""
        table, size = self.head.blobs, BLOB.size
        key = digest[:8].ljust(8, b"\0")
        at = bisect_left(range(len(table) // size), key, key=lambda i: table[i * size : i * size + 8])
        while table[at * size : at * size + 8] == key:
            found = self._blob(at)
            if found[0] == digest:
                return found[1]
            at += 1
        return None

    def blobs(self) -> list[tuple[bytes, bytes]]:
        """All (digest, data) pairs. Raises `CorruptCheckpointError`."""
        return [self._blob(at) for at in range(len(self.head.blobs) // BLOB.size)]

    def _blob(self, at: int) -> tuple[bytes, bytes]:
        _, offset, size, digest_size, checksum = BLOB.unpack_from(self.head.blobs, at * BLOB.size)
        data = self._read(offset, digest_size + size)
        if crc32(data) != checksum:
            raise self.damaged("the checksum of a blob does not match")
        return data[:digest_size], data[digest_size:]

    def _read(self, offset: int, size: int) -> bytes:
        parts: list[bytes] = []
        while size:
            part = self._part(size, self._body + offset)
            if not part:
                raise self.damaged("it is cut off")
            parts.append(part)
            offset += len(part)
            size -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def damaged(self, why: str, position: int | None = None) -> CorruptCheckpointError:
        return CorruptCheckpointError(
            f"{self.path} is damaged: {why}; restore it from a backup", position=position, what=self.path
        )
