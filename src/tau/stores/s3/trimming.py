"""Dropping what lies before a manifest of a run, in a bucket.

A cover of all from the beginning on takes the place of the packs in which that lies. Its records below the manifest are
empty. So it is a merge like any other, whatever others do at the same moment.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from tau.stores import names
from tau.stores.contract import PositionConflict
from tau.stores.packs import build
from tau.stores.s3 import keys
from tau.stores.s3.run_changes import RunChanges
from tau.stores.s3.run_log import LOOKS, Changed


def trim(run: RunChanges, run_id: str, first: int, blobs: Iterable[bytes], expected: int) -> None:
    """See `Store.trim`. Blobs that have objects of their own stay until the run is deleted: a commit that is made at
    this moment may count on one."""
    dropped = set(blobs)
    for _ in range(LOOKS):
        seen = run.settled()
        if seen.position != expected:
            raise PositionConflict(run_id, expected, seen.position)
        with suppress(Changed):
            return _trim(run, seen.floor, first, dropped)
    raise run.missing("a pack of the listing")


def _trim(run: RunChanges, floor: int, first: int, dropped: set[bytes]) -> None:
    listing = run.listing()
    view = listing.view
    if view.floor != floor:
        raise Changed("the deletion")
    ends = {cover.name: cover.last for cover in view.chain if cover.first < first}
    below = [*ends, *(name for name in view.slots[:-1] if int(name[1:]) < first)]
    records: list[bytes] = []
    held: dict[bytes, bytes] = {}
    start, head = floor + 1, None
    for name, pack in zip(below, run.open_all(listing, below), strict=True):
        at, head = start + len(records), pack.head
        if name not in ends and head.first != at:
            raise Changed(f"position {at}")
        end = ends.get(name, head.last)
        records += [b""] * (min(first - 1, end) - at + 1)
        records += [record for _, record in pack.records(start + len(records) - 1, end)]
        held.update((digest, data) for digest, data in pack.blobs() if digest not in dropped)
    if head is None:
        return
    cover = names.cover(start, start + len(records) - 1)
    pieces = build(head.run_id, start, head.token, head.summary, records=records, blobs=list(held.items()))
    run.objects.put(keys.pack(run.folder, cover), b"".join(pieces))
    if run.listing().view.floor > floor:  # deleted: nothing of that life may come back
        run.remove(cover)
        return
    for name in sorted(below, key=lambda name: name in ends):  # slots oldest first, one after the other, as in a merge
        if name != cover and name[:17] <= cover[:17]:
            run.remove(name)
