"""One run's objects in an S3 store: how they change without any lock. docs/stores.md says why no commit is lost."""

from __future__ import annotations

from tau.errors import CorruptCheckpointError, StoreUnavailableError
from tau.stores import names
from tau.stores.contract import Batch, Summary, deletion
from tau.stores.packs import DELETION, MERGE_LIMIT, blob_frame, build, by_size, last_at_most
from tau.stores.s3 import keys
from tau.stores.s3.objects import side_by_side
from tau.stores.s3.run_log import LOOKS, Changed, Listing, RunLog, Seen
from tau.stores.server_store import digest_of


class RunChanges(RunLog):
    """See `RunLog`."""

    def append(self, batch: Batch, seen: Seen) -> Seen | None:
        """Commit the batch at the position of ``seen``; ``None`` if another process had that position first, or the
        run is not what it was."""
        first = batch.expected + 1
        large, small = by_size(batch.blobs)
        side_by_side(lambda blob: self._keep(seen.floor, blob), large)
        name = names.slot(first)
        pieces = build(batch.run_id, first, batch.token, batch.summary, records=batch.records, blobs=small)
        e_tag = self.objects.create(keys.pack(self.folder, name), b"".join(pieces))
        if e_tag is None or not self._stands(name, batch, seen):
            if e_tag is not None:
                self.remove(name)
            if large and self.listing().view.floor > seen.floor:  # deleted: nothing of that life may come back
                self._remove_blobs(seen.floor + 1)
            return None
        last = digest_of(batch.records[-1])
        return Seen(batch.summary.position, seen.floor, seen.slots + 1, batch.summary, batch.token, name, e_tag, last)

    def _keep(self, floor: int, blob: tuple[bytes, bytes]) -> None:
        digest, data = blob
        self.objects.exchange(keys.blob(self.folder, floor, digest), blob_frame(digest, data) + data, None)

    def _stands(self, name: str, batch: Batch, seen: Seen) -> bool:
        """Whether our commit is part of the log. Its name may have been free because it was merged away or deleted;
        then the commit before it lost its name first. And a server that forgets may have lost that one."""
        if len(seen.top) == len(name) and self.objects.tag(keys.pack(self.folder, seen.top)) == seen.e_tag:
            return True
        listing = self.listing()
        view = listing.view
        if view.slots == (name,) and view.covered == batch.expected:
            return True
        return self._is_in_log(listing, batch, seen)

    def _is_in_log(self, listing: Listing, batch: Batch, seen: Seen) -> bool:
        """Whether its records are there, behind the one that was ``seen`` there."""
        for _ in range(LOOKS):
            view = listing.view
            if view.floor > batch.expected:  # deleted: ours, or the one that had this position before us?
                try:
                    return self.open(listing, names.tombstone(view.floor)).head.token == batch.token
                except Changed:
                    listing = self.listing()
                    continue
            try:
                found = self._records(listing, batch.expected - 1 if seen.last else batch.expected)
                if seen.last and (not found or digest_of(found.pop(0)[1]) != seen.last):
                    return False
                return [record for _, record in found[: len(batch.records)]] == list(batch.records)
            except Changed:
                listing = self.listing()
        return False

    def merge(self) -> None:
        """Put all commits but the newest into one cover, together with the covers below that are no larger."""
        listing = self.listing()
        view = listing.view
        for name in view.redundant:
            if name != names.slot(view.floor):  # the commit that a deletion is keeps its name, see docs/stores.md
                self.remove(name)
        records: list[bytes] = []
        blobs: dict[bytes, bytes] = {}
        head = None
        for pack in self.open_all(listing, view.slots[:-1]):
            if pack.head.first != view.covered + 1 + len(records):
                raise Changed(f"position {view.covered + 1 + len(records)}")
            head = pack.head
            records += [record for _, record in pack.records()]
            blobs.update(pack.blobs())
        if head is None:
            return
        first = self._absorb(listing, records, blobs)
        pieces = build(head.run_id, first, head.token, head.summary, records=records, blobs=list(blobs.items()))
        self.objects.create(keys.pack(self.folder, names.cover(first, head.last)), b"".join(pieces))
        for name in view.slots[:-1]:  # oldest first, one after the other: `_stands` counts on that
            self.remove(name)

    def _absorb(self, listing: Listing, records: list[bytes], blobs: dict[bytes, bytes]) -> int:
        """Put the records of covers below in front, as long as they are not many more; the first position then."""
        first = listing.view.covered + 1
        for cover in reversed(listing.view.chain):
            count = cover.last - cover.first + 1
            if count > len(records) or listing.packs[cover.name].size > MERGE_LIMIT:
                break
            pack = self.open(listing, cover.name)
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
                self._sweep(seen.floor)
                return seen.position
            batch = Batch(after.run_id, seen.position, DELETION + seen.token, (b"",), (), after)
            if self.append(batch, seen) is not None:
                self._bury(after, seen.token)
                return after.position
        raise self._busy()

    def _delete_unread(self) -> int:
        """Put a tombstone over all that is there, whatever it says."""
        assert self.run_id is not None
        for _ in range(LOOKS):
            position = last_at_most(self._names())
            self._bury(Summary(run_id=self.run_id, graph="", status="deleted", position=position, base=0), b"")
            if max(self._names()) == names.tombstone(position):
                return position
        raise self._busy()

    def _names(self) -> dict[str, int]:
        """The names of all packs and their sizes, whatever they mean."""
        start = len(keys.log(self.folder))
        found = {keys.mirrored(each.key[start:]): each.size for each in self.objects.list(keys.log(self.folder))}
        return {name: found[name] for name in names.packs(list(found))}

    def _busy(self) -> StoreUnavailableError:
        return StoreUnavailableError(
            f"cannot delete {self.where}: another process commits there all the time; cancel the run, then delete it",
            location=self.where,
        )

    def settled(self) -> Seen:
        """What `seen` sees, after a deletion that was broken off is completed."""
        seen = self.seen(to_commit=True)
        if not seen.broken_off or seen.summary is None:
            return seen
        self._bury(seen.summary, seen.token.removeprefix(DELETION))
        return self.seen(to_commit=True)

    def _bury(self, summary: Summary, token: bytes) -> None:
        """Put a tombstone over all up to the commit that a deletion is, and remove what lies below."""
        # With the token of the newest commit before: its writer may not have looked yet whether it stands.
        pieces = build(summary.run_id, summary.position + 1, token, summary, records=())
        self.objects.put(keys.pack(self.folder, names.tombstone(summary.position)), b"".join(pieces))
        self._sweep(summary.position)

    def _sweep(self, position: int) -> None:
        """Remove what lies below the tombstone of that position."""
        name, packs = names.tombstone(position), self._names()
        for found in packs:  # oldest first, one after the other: `_stands` counts on that
            if found < name and found != names.slot(position):
                self.remove(found)
        if max(packs) == name:  # else begun anew already
            self._remove_blobs(position)
            self.objects.remove(keys.lease(self.folder))

    def remove(self, name: str) -> None:
        """Remove a pack."""
        self.objects.remove(keys.pack(self.folder, name))

    def _remove_blobs(self, below: int) -> None:
        """Remove the large blobs of lives that ended before that position."""
        for found in self.objects.list(keys.blobs(self.folder)):
            floor = keys.floor_of(found.key, self.folder)
            if floor is not None and floor < below:
                self.objects.remove(found.key)
