"""Leases in an S3 store: the newest summary says who owns the run, every commit is a sign of life, and an object counts
the renewals between commits. It is replaced only by who knows what is in it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from tau.errors import StoreUnavailableError
from tau.stores.s3 import keys
from tau.stores.s3.objects import Objects, side_by_side
from tau.stores.summaries import Lease, Owner, Summary

_TRIES: Final = 20


class Mark(msgspec.Struct, frozen=True):
    """The renewals of an owner: how many, and the position at which it let go (-1: it did not)."""

    nonce: str
    renewals: int
    released: int = -1


def read(objects: Objects, summary: Summary | None) -> tuple[Lease | None, Mark, str | None]:
    """The lease on a run, the mark of its owner, and the tag of the object that the mark is in."""
    if summary is None or summary.owner is None:
        return None, Mark("", 0), None
    found = objects.get(keys.lease(keys.folder_of(summary.run_id)))
    lease, mark = _judged(summary, summary.owner, b"" if found is None else found[0])
    return lease, mark, None if found is None else found[1]


def several(objects: Objects, summaries: Iterable[Summary]) -> dict[str, Lease]:
    """The leases on many runs: one listing, and what changed since the last one."""
    owned = [(summary, summary.owner) for summary in summaries if summary.owner is not None]
    listed = {meta.key: meta for meta in objects.list(keys.LEASES)} if owned else {}

    def lease_of(one: tuple[Summary, Owner]) -> Lease | None:
        meta = listed.get(keys.lease(keys.folder_of(one[0].run_id)))
        return _judged(*one, (None if meta is None else objects.begin(meta)) or b"")[0]

    found = zip(owned, side_by_side(lease_of, owned), strict=True)
    return {summary.run_id: lease for (summary, _), lease in found if lease is not None}


def change(objects: Objects, summary: Summary | None, nonce: str, *, release: bool) -> bool:
    """Renew the lease or let go of it; ``False`` where ``nonce`` does not hold it. Raises `StoreUnavailableError`."""
    for _ in range(_TRIES):
        lease, mark, e_tag = read(objects, summary)
        if summary is None or lease is None or lease.nonce != nonce:
            return False
        after = Mark(nonce, mark.renewals, summary.position) if release else Mark(nonce, mark.renewals + 1)
        key = keys.lease(keys.folder_of(summary.run_id))
        if objects.exchange(key, msgspec.json.encode(after), e_tag) is not None:
            return True
    raise StoreUnavailableError(
        f"cannot change the lease on a run in {objects.location}: others write {objects.where(key)} all the time",
        location=objects.location,
    )


def _judged(summary: Summary, owner: Owner, data: bytes) -> tuple[Lease | None, Mark]:
    try:
        mark = msgspec.json.decode(data, type=Mark) if data else Mark("", 0)
    except msgspec.DecodeError:
        mark = Mark("", 0)  # the position still tells of life
    if mark.nonce != owner.nonce:
        mark = Mark(owner.nonce, 0)
    held = mark.released < summary.position
    return Lease(owner.nonce, summary.position + mark.renewals, None) if held else None, mark
