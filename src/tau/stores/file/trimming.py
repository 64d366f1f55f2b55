"""Dropping what lies before a manifest of a run, in a directory of files.

A cover with the same bounds as what it stands for takes its place, in which the records that are dropped are empty. So
the protocol of merges holds, whatever others do at the same moment, and earlier versions go on from the manifest.
"""

from __future__ import annotations

from collections.abc import Iterable

from tau.stores import names
from tau.stores.contract import PositionConflict
from tau.stores.disk import sync
from tau.stores.file.run_directory import RunDirectory
from tau.stores.packs import build


def trim(run: RunDirectory, run_id: str, first: int, blobs: Iterable[bytes], expected: int) -> None:
    """See `Store.trim`. Blobs that have files of their own stay until the run is deleted: a commit that is made at this
    moment may link to one."""
    seen = run.settled()
    if seen.position != expected:
        raise PositionConflict(run_id, expected, seen.position)
    view, dropped = run.view(), set(blobs)
    packs = [(cover.name, cover.last) for cover in view.chain]
    for name in view.slots[:-1]:
        with run.open(name) as pack:
            packs.append((name, pack.head.last))
    below = [name for name, last in packs if last < first]
    if not below:
        return
    records: list[bytes] = []
    held: dict[bytes, bytes] = {}
    start, head = view.floor + 1, None
    for name in below:
        with run.open(name) as pack:
            head = pack.head
            records += [b""] * (head.last - max(head.first, start + len(records)) + 1)
            for digest, data in pack.blobs():
                if digest not in dropped:
                    held.setdefault(digest, data)
    assert head is not None
    pieces = build(run_id, start, head.token, head.summary, records=records, blobs=list(held.items()))
    run.publish(names.cover(start, head.last), pieces, replace=True)
    sync(run.descriptor)  # the cover must be there to stay before a name that it covers may go
    end = names.slot(head.last)
    for name in below:
        if len(name) == len(end):
            run.remove(name)
