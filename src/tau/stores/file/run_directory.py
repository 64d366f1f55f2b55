"""One run's directory in a file store: what it means, and how it changes without any lock.

The argument why this is safe stands in docs/stores.md; in short: the exclusive link to a name made of the expected
position decides between writers, and no position loses its name before a cover of it is there to stay.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple

import msgspec

from tau.errors import CorruptCheckpointError, StoreUnavailableError
from tau.signals import tolerate
from tau.stores import names
from tau.stores.contract import Batch, Summary, deletion
from tau.stores.disk import READ, Descriptor, read_file, sync
from tau.stores.file.directory import DIRECTORY, Directory, remove_stale
from tau.stores.file.pack import FilePack
from tau.stores.packs import (
    DELETION,
    MERGE_LIMIT,
    blob_frame,
    build,
    by_size,
    checked,
    frame_size,
    last_at_most,
    without_dropped,
)

MERGE_AFTER = 64  # commits
LOOKS = 200


class Mark(msgspec.Struct, frozen=True):
    """The renewals of an owner: how many, and the position at which it let go (-1: it did not)."""

    nonce: str
    renewals: int
    released: int = -1


class Seen(NamedTuple):
    """The state of a run: the newest summary and token, what is deleted, how many commits wait to be merged, and the
    pack that says so."""

    position: int
    floor: int
    slots: int
    summary: Summary | None
    token: bytes = b""
    top: str = ""

    @property
    def broken_off(self) -> bool:
        """Whether the newest commit is a deletion whose tombstone is not there yet."""
        return self.token.startswith(DELETION)


class Changed(Exception):
    """A file of the listing is gone: others have merged or deleted meanwhile. Look again."""


class RunDirectory(Directory):
    """An open run directory; a context manager. ``FileNotFoundError`` for a run that never existed."""

    def __init__(self, path: str, run_id: str | None = None) -> None:
        super().__init__(path)
        self.run_id = run_id

    # Reading

    def view(self) -> names.View:
        for _ in range(LOOKS):
            with suppress(names.GapError):
                return names.view_of(os.listdir(self.descriptor))
        try:
            return names.view_of(os.listdir(self.descriptor))
        except names.GapError as gap:
            raise self._missing(str(gap)) from gap

    def open(self, name: str) -> FilePack:
        try:
            return FilePack(self.descriptor, name, self.path, self.run_id)
        except FileNotFoundError as error:
            raise Changed(name) from error

    def seen(self) -> Seen:
        for _ in range(LOOKS):
            view = self.view()
            if view.top is None:
                return Seen(0, 0, 0, None)
            with suppress(Changed), self.open(view.top) as pack:
                summary = pack.head.summary
                if summary.owner is None and view.temporary:  # perhaps nothing will ever commit here and clean up
                    self.clean()
                return Seen(pack.head.last, view.floor, len(view.slots), summary, pack.head.token, view.top)
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
                if pack.head.token.startswith(DELETION):
                    found.clear()
                else:
                    found += pack.records(after)
        return without_dropped(found)

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
            opened = Descriptor(name, READ, dir_fd=self.descriptor)
        except FileNotFoundError:
            return None
        with opened as number, open(number, "rb", closefd=False) as file:
            frame = file.read(frame_size(digest))
            return checked(digest, frame, file.read(), os.path.join(self.path, name))

    def _missing(self, what: str) -> CorruptCheckpointError:
        return CorruptCheckpointError(
            f"{self.path} is damaged: {what} is missing; restore the directory from a backup", what=self.path
        )

    # Writing

    def append(self, batch: Batch, seen: Seen) -> Seen | None:
        """Commit the batch at the position of ``seen``; ``None`` if another process had that position first."""
        after = self._append(batch, seen)
        if after is not None:
            sync(self.descriptor)
        return after

    def _append(self, batch: Batch, seen: Seen) -> Seen | None:
        first = batch.expected + 1
        large, small = by_size(batch.blobs)
        try:
            for digest, data in large:
                self._keep(seen.floor, digest, data)
        except FileNotFoundError:
            if self.view().floor > seen.floor:  # deleted at this moment, and its directory of blobs with it
                return None
            raise
        name = names.slot(first)
        pieces = build(batch.run_id, first, batch.token, batch.summary, records=batch.records, blobs=small)
        if not self.publish(name, pieces):
            self._refused(seen, large)
            return None
        packs = names.packs(os.listdir(self.descriptor))
        # The name may have been free because its commit was merged away: then a cover of it is there.
        newest = packs[-1] if packs else ""
        if newest < name:
            raise StoreUnavailableError(
                f"cannot commit to {self.path}: the system said that it made {name}, and it is not there; check the "
                "disk and the system log",
                location=self.path,
                transient=False,
            )
        stands = newest == name or self._stands(name, batch)
        # A deletion takes a position. By a version of tau that did not know this, it leaves only its tombstone below.
        if not stands or seen.floor < names.floor_of(packs) <= batch.expected:
            self.remove(name)
            self._refused(seen, large)
            return None
        return Seen(batch.summary.position, seen.floor, seen.slots + 1, None)

    def _refused(self, seen: Seen, large: list[tuple[bytes, bytes]]) -> None:
        if large and self.view().floor > seen.floor:  # of a life that was deleted: nothing of it may come back
            self._remove_directory(names.blob_directory(seen.floor))

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
            self.publish(name, [blob_frame(digest, data), data], replace=True)
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
        for name in names.packs(os.listdir(self.descriptor)):
            if len(name) == len(end) and name <= end:
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

    def delete(self, keep_summary: bool, expected: int | None = None) -> int:
        """See `Store.delete`; the position up to which nothing is left."""
        for _ in range(LOOKS):
            try:
                seen = self.settled()
            except CorruptCheckpointError:
                if keep_summary or expected is not None:
                    raise
                return self._delete_unread()
            if seen.summary is None:
                return 0
            after = deletion(seen.summary, keep_summary, expected, empty=seen.floor == seen.position)
            if after is None:
                return seen.position
            batch = Batch(after.run_id, seen.position, DELETION + seen.token, (b"",), (), after)
            if self._append(batch, seen) is not None:
                self._bury(after, seen.token)
                return after.position
        raise self._busy()

    def _delete_unread(self) -> int:
        """Put a tombstone over all that is there, whatever it says."""
        assert self.run_id is not None
        for _ in range(LOOKS):
            sizes: dict[str, int] = {}
            for name in names.packs(os.listdir(self.descriptor)):
                with suppress(FileNotFoundError):  # merged away meanwhile
                    sizes[name] = os.stat(name, dir_fd=self.descriptor, follow_symlinks=False).st_size
            position = last_at_most(sizes)
            self._bury(Summary(run_id=self.run_id, graph="", status="deleted", position=position, base=0), b"")
            if names.packs(os.listdir(self.descriptor))[-1] == names.tombstone(position):
                return position
        raise self._busy()

    def _busy(self) -> StoreUnavailableError:
        return StoreUnavailableError(
            f"cannot delete {self.path}: another process commits there all the time; cancel the run, then delete it",
            location=self.path,
        )

    def settled(self) -> Seen:
        """What `seen` sees, after a deletion that was broken off is completed."""
        seen = self.seen()
        if not seen.broken_off or seen.summary is None:
            return seen
        self._bury(seen.summary, seen.token.removeprefix(DELETION))
        return self.seen()

    def _bury(self, summary: Summary, token: bytes) -> None:
        """Put a tombstone over all up to the commit that a deletion is, and remove what lies below."""
        name = names.tombstone(summary.position)
        # With the token of the newest commit before: its writer may not have looked yet whether it stands.
        self.publish(name, build(summary.run_id, summary.position + 1, token, summary, records=()), replace=True)
        sync(self.descriptor)
        listing = os.listdir(self.descriptor)
        packs = names.packs(listing)
        for found in packs:
            if found < name:
                self.remove(found)
        if packs[-1] > name:
            return  # begun anew already, perhaps with blobs in a directory of before; the next deletion gets them
        for found in names.blob_directories(listing):
            if found < names.blob_directory(summary.position):
                self._remove_directory(found)

    def _remove_directory(self, name: str) -> None:
        with suppress(FileNotFoundError):
            with Descriptor(name, DIRECTORY, dir_fd=self.descriptor) as descriptor:
                for found in os.listdir(descriptor):
                    os.unlink(found, dir_fd=descriptor)
            os.rmdir(name, dir_fd=self.descriptor)

    def clean(self) -> None:
        """Remove what writers that died left half written, here and in the directories of blobs; never fails."""
        super().clean()
        with tolerate(OSError):
            for name in names.blob_directories(os.listdir(self.descriptor)):
                with Descriptor(name, DIRECTORY, dir_fd=self.descriptor) as descriptor:
                    remove_stale(descriptor, os.listdir(descriptor))

    def settle(self) -> None:
        """Make durable what an earlier attempt left in the directory, by a new file and a new descriptor."""
        top = self.view().top
        if top is not None:
            self.publish(top, [b"sync"])  # the name is taken: nothing stays but the sync
            sync(self.descriptor)

    # Leases

    def mark(self) -> Mark | None:
        try:
            data = read_file("lease", dir_fd=self.descriptor)
        except FileNotFoundError:
            return None
        try:
            return msgspec.json.decode(data, type=Mark)
        except msgspec.DecodeError:
            return None  # it is not synced, so a power cut may leave it empty; the position still tells of life

    def set_mark(self, mark: Mark) -> None:
        self.publish("lease", [msgspec.json.encode(mark)], replace=True, durable=False)
