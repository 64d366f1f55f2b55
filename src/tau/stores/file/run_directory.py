"""One run's directory in a file store: what it means, and how it changes without any lock.

The argument why this is safe stands in docs/stores.md; in short: the exclusive link to a name made of the expected
position decides between writers, and no position loses its name before a cover of it is there to stay.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import NamedTuple
from zlib import crc32

import msgspec

from tau.errors import CorruptCheckpointError, StoreUnavailableError
from tau.stores import names
from tau.stores.contract import Batch, Summary, emptied
from tau.stores.disk import Descriptor, sync
from tau.stores.file.pack import Pack, build

LARGE = 128 * 1024  # a blob of this size gets a file of its own, so that merging never copies it
MERGE_AFTER = 64  # commits
MERGE_LIMIT = 8 * 1024 * 1024  # a cover that has grown to this many bytes is not copied again
LOOKS = 200
BLOB_MAGIC = b"taublob1"
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


class Mark(msgspec.Struct, frozen=True):
    """The renewals of an owner: how many, and the position at which it let go (-1: it did not)."""

    nonce: str
    renewals: int
    released: int = -1


class Seen(NamedTuple):
    """The state of a run: the newest summary and token, what is deleted, and how many commits wait to be merged."""

    position: int
    floor: int
    slots: int
    summary: Summary | None
    token: bytes = b""


class Changed(Exception):
    """A file of the listing is gone: others have merged or deleted meanwhile. Look again."""


class RunDirectory:
    """An open run directory; a context manager. ``FileNotFoundError`` for a run that never existed."""

    def __init__(self, path: str, run_id: str | None = None) -> None:
        self.path = path
        self.run_id = run_id
        self._open = Descriptor(path, DIRECTORY)
        self.descriptor = self._open.number

    def __enter__(self) -> RunDirectory:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    # Reading

    def view(self) -> names.View:
        for _ in range(LOOKS):
            with suppress(names.GapError):
                return names.view_of(os.listdir(self.descriptor))
        try:
            return names.view_of(os.listdir(self.descriptor))
        except names.GapError as gap:
            raise self._missing(str(gap)) from gap

    def open(self, name: str) -> Pack:
        try:
            return Pack(self.descriptor, name, self.path, self.run_id)
        except FileNotFoundError as error:
            raise Changed(name) from error

    def seen(self) -> Seen:
        for _ in range(LOOKS):
            view = self.view()
            if view.top is None:
                return Seen(0, 0, 0, None)
            with suppress(Changed), self.open(view.top) as pack:
                summary = pack.head.summary
                if summary.owner is None and view.temporary:  # perhaps nobody will ever commit here and clean up
                    self.clean()
                return Seen(pack.head.last, view.floor, len(view.slots), summary, pack.head.token)
        raise self._missing("the newest pack")

    def records(self, after: int) -> list[tuple[int, bytes]]:
        for _ in range(LOOKS):
            with suppress(Changed):
                return self._records(self.view(), after)
        raise self._missing("a pack of the listing")

    def _records(self, view: names.View, after: int) -> list[tuple[int, bytes]]:
        after = max(after, view.floor)
        found: list[tuple[int, bytes]] = []
        for cover in view.chain:
            if cover.last > after:
                with self.open(cover.name) as pack:
                    found += pack.records(max(after, cover.first - 1), cover.last)
        end = view.covered
        for name in view.slots:
            with self.open(name) as pack:
                if pack.head.first != end + 1:
                    raise self._missing(f"position {end + 1}")
                end = pack.head.last
                found += pack.records(after)
        return found

    def blobs(self, digests: Iterable[bytes]) -> dict[bytes, bytes]:
        wanted = list(digests)
        for _ in range(LOOKS):
            with suppress(Changed):
                return self._blobs(self.view(), wanted)
        raise self._missing("a pack of the listing")

    def _blobs(self, view: names.View, wanted: list[bytes]) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = {}
        for directory in view.blob_directories:
            for digest in wanted:
                data = None if digest in found else self._large(directory, digest)
                if data is not None:
                    found[digest] = data
        packs = [*reversed(view.slots), *(cover.name for cover in reversed(view.chain))]
        for name in packs:
            missing = [digest for digest in wanted if digest not in found]
            if not missing:
                break
            with self.open(name) as pack:
                found.update((digest, data) for digest in missing if (data := pack.blob(digest)) is not None)
        return found

    def _large(self, directory: str, digest: bytes) -> bytes | None:
        name = f"{directory}/{names.blob_file(digest)}"
        try:
            descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self.descriptor)
        except FileNotFoundError:
            return None
        with os.fdopen(descriptor, "rb") as file:
            frame = file.read(len(BLOB_MAGIC) + 8 + len(digest))
            data = file.read()
        if frame != _blob_frame(digest, data):
            path = os.path.join(self.path, name)
            raise CorruptCheckpointError(
                f"{path} is damaged: its checksum does not match; restore it from a backup", what=path
            )
        return data

    def _missing(self, what: str) -> CorruptCheckpointError:
        return CorruptCheckpointError(
            f"{self.path} is damaged: {what} is missing; restore the directory from a backup", what=self.path
        )

    # Writing

    def publish(self, name: str, pieces: Sequence[bytes], *, replace: bool = False, durable: bool = True) -> bool:
        """Write a file whole under a name; ``False`` if the name is taken and ``replace`` is not asked for."""
        folder, slash, last = name.rpartition("/")
        unique = names.temporary("" if replace else last)
        temporary = folder + slash + unique
        here = self.descriptor
        names.writing.add(unique)
        try:
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW
            with Descriptor(temporary, flags, dir_fd=here) as descriptor:
                write(descriptor, pieces)
                if durable:
                    sync(descriptor)
            if replace:
                os.rename(temporary, name, src_dir_fd=here, dst_dir_fd=here)
                return True
            return self._link(temporary, name)
        finally:
            try:
                self._discard(temporary)
            except KeyboardInterrupt:
                self._discard(temporary)
                raise
            finally:
                names.writing.discard(unique)

    def _discard(self, temporary: str) -> None:
        # What was to be published stands or does not; a file left over changes nothing, and a later look removes it.
        with suppress(OSError):
            os.unlink(temporary, dir_fd=self.descriptor)

    def _link(self, temporary: str, name: str) -> bool:
        here = self.descriptor
        try:
            os.link(temporary, name, src_dir_fd=here, dst_dir_fd=here, follow_symlinks=False)
        except OSError as error:
            # Over NFS the reply to a link that was made may be lost, and a second try meets the first one's name.
            try:
                if os.stat(temporary, dir_fd=here, follow_symlinks=False).st_nlink == 2:
                    return True
            except FileNotFoundError:  # somebody cleaned up, and did so because the name was taken
                return False
            if isinstance(error, FileExistsError):
                return False
            raise
        return True

    def remove(self, name: str) -> None:
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self.descriptor)

    def append(self, batch: Batch, seen: Seen) -> Seen | None:
        """Commit the batch at the position of ``seen``; ``None`` if somebody else had that position first."""
        first = batch.expected + 1
        large = [(digest, data) for digest, data in batch.blobs if len(data) >= LARGE]
        small = [(digest, data) for digest, data in batch.blobs if len(data) < LARGE]
        for digest, data in large:
            self._keep(seen.floor, digest, data)
        name = names.slot(first)
        pieces = build(batch.run_id, first, batch.token, batch.summary, records=batch.records, blobs=small)
        if not self.publish(name, pieces):
            return None
        listing = os.listdir(self.descriptor)
        # The name may have been free because its commit was merged away: then a cover of it is there.
        newest = max(listing, default="")
        if newest < name:
            raise StoreUnavailableError(
                f"cannot commit to {self.path}: the system said that it made {name}, and it is not there; check the "
                "disk and the system log",
                location=self.path,
                transient=False,
            )
        if newest != name and not self._stands(name, batch):
            self.remove(name)
            return None
        floor = seen.floor
        if large:
            floor = self.view().floor
            if seen.floor < floor <= batch.expected:  # deleted meanwhile: its directory of blobs is on the way out
                for digest, data in large:
                    self._keep(floor, digest, data)
        sync(self.descriptor)
        return Seen(batch.summary.position, floor, seen.slots + 1, None)

    def _stands(self, name: str, batch: Batch) -> bool:
        """Whether our commit is part of the log although something newer is there, too."""
        for _ in range(LOOKS):
            view = self.view()
            if name in view.slots:
                return True
            with suppress(Changed):
                if view.floor > batch.expected:  # deleted: ours, or the one that had this position before us?
                    with self.open(names.tombstone(view.floor)) as pack:
                        return pack.head.token == batch.token
                found = self._records(view, batch.expected)[: len(batch.records)]
                return [record for _, record in found] == list(batch.records)
        raise self._missing(name)

    def _keep(self, floor: int, digest: bytes, data: bytes) -> None:
        directory = names.blob_directory(floor)
        with suppress(FileExistsError):
            os.mkdir(directory, 0o700, dir_fd=self.descriptor)
        name = f"{directory}/{names.blob_file(digest)}"
        try:
            os.stat(name, dir_fd=self.descriptor, follow_symlinks=False)
        except FileNotFoundError:
            self.publish(name, [_blob_frame(digest, data), data], replace=True)
        with Descriptor(directory, DIRECTORY, dir_fd=self.descriptor) as descriptor:
            sync(descriptor)

    def merge(self) -> None:
        """Put all commits but the newest into one cover, together with the covers below that are no larger."""
        view = self.view()
        for name in view.redundant:  # what the merge before this one made needless; see docs/stores.md on why so late
            self.remove(name)
        records: list[bytes] = []
        blobs: dict[bytes, bytes] = {}
        head = None
        for name in view.slots[:-1]:
            with self.open(name) as pack:
                if pack.head.first != view.covered + 1 + len(records):
                    raise self._missing(f"position {view.covered + 1 + len(records)}")
                head = pack.head
                records += [record for _, record in pack.records()]
                blobs.update(pack.blobs())
        if head is None:
            return
        first = self._absorb(view, records, blobs)
        pieces = build(head.run_id, first, head.token, head.summary, records=records, blobs=list(blobs.items()))
        self.publish(names.cover(first, head.last), pieces)
        sync(self.descriptor)  # the cover must be there to stay before a name that it covers may go
        end = names.slot(head.last)
        for name in sorted(os.listdir(self.descriptor)):
            if len(name) == len(end) and name[0] == "p" and name <= end:
                self.remove(name)

    def _absorb(self, view: names.View, records: list[bytes], blobs: dict[bytes, bytes]) -> int:
        """Put the records of covers below in front, as long as they are not many more; the first position then."""
        first = view.covered + 1
        for cover in reversed(view.chain):
            with self.open(cover.name) as pack:
                count = cover.last - cover.first + 1
                if count > len(records) or pack.head.size > MERGE_LIMIT:
                    break
                records[:0] = [record for _, record in pack.records(cover.first - 1, cover.last)]
                for digest, data in pack.blobs():
                    blobs.setdefault(digest, data)
                first = cover.first
        return first

    def delete(self, keep_summary: bool) -> None:
        seen = self.seen()
        if seen.summary is None:
            return
        name = names.tombstone(seen.position)
        summary = emptied(seen.summary, keep_summary)
        # With the token of the newest commit: its writer may not have looked yet whether it stands.
        self.publish(name, build(summary.run_id, seen.position + 1, seen.token, summary, records=()), replace=True)
        sync(self.descriptor)
        listing = sorted(os.listdir(self.descriptor))
        for found in listing:
            if found[0] == "p" and found < name:
                self.remove(found)
        if listing[-1] > name:
            return  # somebody commits again, perhaps with blobs in a directory of before; the next deletion gets them
        for found in listing:
            if found.startswith("blobs-") and found < names.blob_directory(seen.position):
                self._remove_directory(found)

    def _remove_directory(self, name: str) -> None:
        with suppress(FileNotFoundError):
            with Descriptor(name, DIRECTORY, dir_fd=self.descriptor) as descriptor:
                for found in os.listdir(descriptor):
                    os.unlink(found, dir_fd=descriptor)
            os.rmdir(name, dir_fd=self.descriptor)

    def clean(self) -> None:
        """Remove what writers that died left half written, here and in the directories of blobs; never fails."""
        with suppress(OSError):
            listing = os.listdir(self.descriptor)
            _remove_stale(self.descriptor, listing)
            for name in listing:
                if name.startswith("blobs-"):
                    with Descriptor(name, DIRECTORY, dir_fd=self.descriptor) as descriptor:
                        _remove_stale(descriptor, os.listdir(descriptor))

    def settle(self) -> None:
        """Make durable what an earlier attempt left in the directory, by a new file and a new descriptor."""
        top = self.view().top
        if top is not None:
            self.publish(top, [b"sync"])  # the name is taken: nothing stays but the sync
            sync(self.descriptor)

    # Leases

    def mark(self) -> Mark | None:
        try:
            descriptor = os.open("lease", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self.descriptor)
        except FileNotFoundError:
            return None
        with os.fdopen(descriptor, "rb") as file:
            data = file.read()
        try:
            return msgspec.json.decode(data, type=Mark)
        except msgspec.DecodeError:
            return None  # it is not synced, so a power cut may leave it empty; the position still tells of life

    def set_mark(self, mark: Mark) -> None:
        self.publish("lease", [msgspec.json.encode(mark)], replace=True, durable=False)


def _remove_stale(directory: int, listing: Sequence[str]) -> None:
    for name in listing:
        if name[0] == names.TEMPORARY and names.is_stale(name, listing):
            with suppress(OSError):  # also where this user may only read: what is left over harms nobody
                os.unlink(name, dir_fd=directory)


def write(descriptor: int, pieces: Sequence[bytes]) -> None:
    """Write all of it; what is small in one call, what is large without a copy."""
    if sum(map(len, pieces)) <= 65_536:
        pieces = [b"".join(pieces)]
    for piece in pieces:
        rest = memoryview(piece)
        while rest:
            rest = rest[os.write(descriptor, rest) :]


def _blob_frame(digest: bytes, data: bytes) -> bytes:
    return BLOB_MAGIC + crc32(data, crc32(digest)).to_bytes(4, "little") + len(digest).to_bytes(4, "little") + digest
