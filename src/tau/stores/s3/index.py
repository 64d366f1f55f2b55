"""The index of an S3 store: what a listing of runs needs not read again. docs/stores.md says why it is never wrong.

It is a cache beside the runs that only listings read and write. An entry counts where the newest pack of a run has the
name and the tag that it had when the entry was made.
"""

from __future__ import annotations

import itertools
from typing import Final
from zlib import crc32

import msgspec

from tau.errors import CorruptCheckpointError, UnsupportedFormatError
from tau.signals import tolerate
from tau.stores import names
from tau.stores.s3 import keys
from tau.stores.s3.failures import DRIVERS
from tau.stores.s3.objects import Objects, side_by_side
from tau.stores.s3.run_log import Listing, RunLog, listed
from tau.stores.summaries import Summary, possible, unreadable

MAGIC: Final = b"tauindx2"
_FEW: Final = 16


class Entry(msgspec.Struct, array_like=True, frozen=True):
    """The newest summary of a run, the pack that says so, and its tag."""

    folder: str
    top: str
    e_tag: str
    summary: Summary


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Entry]).decode


class Index:
    """The index of the store in ``objects``."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._known: dict[str, Entry] = {}

    def summaries(self) -> list[Summary]:
        """The newest summary of every run, deleted ones too; of one that is damaged, what can be said of it."""
        found: dict[str, Listing | None] = {}
        for folder, metas in itertools.groupby(self._objects.list(keys.LOG), lambda meta: meta.key.split("/")[1]):
            if keys.run_of(folder) is not None:
                try:
                    found[folder] = listed(metas, folder)
                except names.GapError:
                    found[folder] = None
        known = self._known
        unknown = [folder for folder, listing in found.items() if not _stands(known.get(folder), listing)]
        many = max(_FEW, len(found) // _FEW)
        fresh = len(unknown)
        if fresh >= many:
            known = self._read() | known
            unknown = [folder for folder in unknown if not _stands(known.get(folder), found[folder])]
        looked = dict(
            zip(unknown, side_by_side(lambda folder: self._look(folder, found[folder]), unknown), strict=True)
        )
        kept, summaries = dict[str, Entry](), list[Summary]()
        for folder in found:
            one = looked[folder] if folder in looked else known[folder]
            if isinstance(one, Entry):
                kept[folder] = one
                summaries.append(one.summary)
            elif one is not None:
                summaries.append(one)
        self._known = kept
        if len(looked) >= many:
            self._write(list(kept.values()))
        return summaries

    def _look(self, folder: str, listing: Listing | None) -> Entry | Summary | None:
        """Read a run, listed in the state that is to be told if that can still be read."""
        run_id = keys.run_of(folder)
        assert run_id is not None
        try:
            seen = RunLog(self._objects, folder).seen(listing=listing)
        except (CorruptCheckpointError, UnsupportedFormatError):
            return unreadable(run_id)
        if seen.summary is None:
            return None
        if keys.folder_of(seen.summary.run_id) != folder:  # a copy of another run's objects
            return unreadable(run_id)
        return Entry(folder, seen.top, seen.e_tag, seen.summary)

    def forget(self) -> None:
        """Begin anew, with what is stored."""
        self._known = {}

    def _read(self) -> dict[str, Entry]:
        """The entries by folder; none where there is no index, or it is not sound."""
        found = self._objects.get(keys.INDEX)
        data = b"" if found is None else found[0]
        body = memoryview(data)[12:]
        if data[:8] != MAGIC or int.from_bytes(data[8:12], "little") != crc32(body):
            return {}
        try:
            entries = {entry.folder: entry for entry in _decode(body)}
            for entry in entries.values():
                possible(entry.summary)
        except (ValueError, msgspec.MsgspecError, RecursionError):
            return {}
        return entries

    def _write(self, entries: list[Entry]) -> None:
        body = _encode(entries)
        with tolerate(*DRIVERS):  # who may only read has none; then a listing takes longer
            self._objects.put(keys.INDEX, MAGIC + crc32(body).to_bytes(4, "little") + body)


def _stands(entry: Entry | None, listing: Listing | None) -> bool:
    """Whether the run is as it was."""
    if entry is None or listing is None or listing.view.top is None:
        return False
    return entry.top == listing.view.top and entry.e_tag == listing.packs[entry.top].e_tag
