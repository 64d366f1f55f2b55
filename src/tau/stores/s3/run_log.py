"""One run's objects in an S3 store: what they mean. `run_changes` has how they change."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

from tau.errors import CorruptCheckpointError
from tau.stores import names
from tau.stores.contract import Summary
from tau.stores.packs import DELETION, Pack, checked, frame_size, without_dropped
from tau.stores.s3 import keys
from tau.stores.s3.objects import Meta, Objects, side_by_side
from tau.stores.server_store import digest_of

LOOKS: Final = 20


_EXPIRED: Final = "an expiry rule of the bucket may have removed them"
_BEFORE: Final = "what lies before"
_STRAY: Final = (
    f"{_EXPIRED}; but if the service itself was put back to an earlier moment, an owner of before has left that "
    "object there: remove it, and the run goes on from the position before"
)


class Listing(NamedTuple):
    """What a listing of a run shows: its packs by their names, and what these mean."""

    packs: dict[str, Meta]
    view: names.View


class Seen(NamedTuple):
    """The state of a run: the newest summary and token, what is deleted, how many commits wait to be merged, the pack
    that says so and its tag, and the digest of the newest record where that was asked for."""

    position: int
    floor: int
    slots: int
    summary: Summary | None
    token: bytes = b""
    top: str = ""
    e_tag: str = ""
    last: bytes = b""

    @property
    def broken_off(self) -> bool:
        """Whether the newest commit is a deletion whose tombstone is not there yet."""
        return self.token.startswith(DELETION)


class Changed(Exception):
    """An object of the listing is gone: others have merged or deleted meanwhile. Look again."""


class ObjectPack(Pack):
    """One pack that was listed. Raises `Changed` where it is not there any more."""

    def __init__(self, objects: Objects, found: Meta, name: str, run_id: str | None) -> None:
        self._objects = objects
        self._found = found
        data = objects.begin(found)
        if data is None:
            raise Changed(name)
        self._data = data
        super().__init__(name, objects.where(found.key), run_id)

    def _part(self, size: int, offset: int) -> bytes:
        if offset + size <= len(self._data) or len(self._data) == self._found.size:
            return self._data[offset : offset + size]
        if offset >= self._found.size:
            return b""
        data = self._objects.part(self._found, offset, min(size, self._found.size - offset))
        if data is None:
            raise Changed(self.name)
        return data

    def _length(self) -> int:
        return self._found.size


class RunLog:
    """The log of the run that is called ``folder``; ``run_id`` is checked where it is known."""

    def __init__(self, objects: Objects, folder: str, run_id: str | None = None) -> None:
        self.objects = objects
        self.folder = folder
        self.run_id = run_id
        self.where = objects.where(keys.log(folder))

    def listing(self) -> Listing:
        """What is there now."""
        for _ in range(LOOKS - 1):
            with suppress(names.GapError):
                return listed(self.objects.list(keys.log(self.folder)), self.folder)
        try:
            return listed(self.objects.list(keys.log(self.folder)), self.folder)
        except names.GapError as gap:
            raise self.missing(str(gap)) from gap

    def open(self, listing: Listing, name: str) -> ObjectPack:
        return ObjectPack(self.objects, listing.packs[name], name, self.run_id)

    def open_all(self, listing: Listing, several: Sequence[str]) -> list[ObjectPack]:
        """Those packs; `objects.WIDTH` are fetched at a time."""
        return side_by_side(lambda name: self.open(listing, name), several)

    def seen(self, known: Seen | None = None, *, listing: Listing | None = None, to_commit: bool = False) -> Seen:
        """How the run is now, or is by a ``listing``; ``known`` spares a request where it is still so. ``to_commit``:
        with the newest record."""
        for _ in range(LOOKS):
            listing = listing or self.listing()
            view = listing.view
            if view.top is None:
                return Seen(0, 0, 0, None)
            e_tag = listing.packs[view.top].e_tag
            if known is not None and known.summary is not None and (known.top, known.e_tag) == (view.top, e_tag):
                return known._replace(floor=view.floor, slots=len(view.slots))
            with suppress(Changed):
                pack = self.open(listing, view.top)
                head = pack.head
                newest = pack.records(head.last - 1) if to_commit else []
                last = digest_of(newest[0][1]) if newest else b""
                return Seen(head.last, view.floor, len(view.slots), head.summary, head.token, view.top, e_tag, last)
            listing = None
        raise self.missing("the newest pack")

    def records(self, after: int) -> list[tuple[int, bytes]]:
        """The (position, record) pairs above ``after``."""
        problem = ""
        for _ in range(LOOKS):
            try:
                return self._records(self.listing(), after)
            except Changed as changed:
                problem = str(changed)
        raise self.missing(problem, why=_STRAY if problem.startswith(_BEFORE) else _EXPIRED)

    def _records(self, listing: Listing, after: int) -> list[tuple[int, bytes]]:
        """Raises `Changed` where something is gone, or in between."""
        view = listing.view
        after = max(after, view.floor)
        covers = [cover for cover in view.chain if cover.last > after]
        # The slot in which ``after`` lies is read as well: only it tells where it ends.
        start = max((at for at, name in enumerate(view.slots) if int(name[1:]) <= after), default=0)
        opened = self.open_all(listing, [*(cover.name for cover in covers), *view.slots[start:]])
        found: list[tuple[int, bytes]] = []
        for cover, pack in zip(covers, opened, strict=False):
            found += pack.records(max(after, cover.first - 1), cover.last)
        slots = opened[len(covers) :]
        _check_order(slots, view.covered if start == 0 else None)
        for pack in slots:
            if pack.head.token.startswith(DELETION):
                found.clear()
            else:
                found += pack.records(after)
        return without_dropped(found)

    def blobs(self, digests: Iterable[bytes]) -> dict[bytes, bytes]:
        """Those of the blobs that the run holds."""
        wanted = list(dict.fromkeys(digests))
        if not wanted:
            return {}
        for _ in range(LOOKS):
            with suppress(Changed):
                return self._blobs(self.listing(), wanted)
        raise self.missing("a pack of the listing")

    def _blobs(self, listing: Listing, wanted: list[bytes]) -> dict[bytes, bytes]:
        view = listing.view
        if view.top is None:
            return {}
        slots = self.open_all(listing, view.slots)
        _check_order(slots, view.covered)
        found = _held(reversed(slots), wanted)
        for cover in reversed(view.chain):
            if len(found) < len(wanted):
                found = _held([self.open(listing, cover.name)], wanted) | found
        missing = [digest for digest in wanted if digest not in found]
        if missing:
            large = {found.key for found in self.objects.list(keys.blobs(self.folder))}
            there = {digest: keys.blob(self.folder, view.floor, digest) for digest in missing}
            there = {digest: key for digest, key in there.items() if key in large}
            for digest, data in zip(there, side_by_side(self._large, list(there.items())), strict=True):
                if data is not None:
                    found[digest] = data
        return found

    def _large(self, one: tuple[bytes, str]) -> bytes | None:
        digest, key = one
        got = self.objects.get(key)
        if got is None:
            return None
        size = frame_size(digest)
        return checked(digest, got[0][:size], got[0][size:], self.objects.where(key))

    def missing(self, what: str, why: str = _EXPIRED) -> CorruptCheckpointError:
        return CorruptCheckpointError(
            f"{self.where} is damaged: {what} is missing; restore its objects from a backup ({why})",
            run_id=self.run_id or "",
            what=self.where,
        )


def _check_order(slots: Iterable[Pack], end: int | None) -> None:
    """Raises `Changed` where they do not follow each other, and the position ``end`` if that is known."""
    for pack in slots:
        if end is not None and pack.head.first != end + 1:
            raise Changed(f"{_BEFORE} {pack.path}, from position {end + 1} on,")
        end = pack.head.last


def _held(packs: Iterable[Pack], wanted: Iterable[bytes]) -> dict[bytes, bytes]:
    """Those of the blobs that the packs hold; the first one that has it counts."""
    found: dict[bytes, bytes] = {}
    for pack in packs:
        for digest in wanted:
            data = None if digest in found else pack.blob(digest)
            if data is not None:
                found[digest] = data
    return found


def listed(found: Iterable[Meta], folder: str) -> Listing:
    """What the listed objects of a run mean. Raises `names.GapError`."""
    start = len(keys.log(folder))
    packs = {keys.mirrored(each.key[start:]): each for each in found}
    return Listing(packs, names.view_of(list(packs)))
