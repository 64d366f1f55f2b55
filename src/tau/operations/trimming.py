"""The history of a run, cut at its newest manifest."""

from __future__ import annotations

from contextlib import suppress

from tau.errors import CheckpointNotFoundError, CorruptCheckpointError, UnsupportedFormatError
from tau.log.contained import NamedBlobs
from tau.log.encoding import unseal
from tau.log.loading import load
from tau.stores.contract import PositionConflict, Store, Summary


def trim_run(store: Store, row: Summary, *, dry_run: bool = False) -> bool:
    """Whether something was dropped, or would be: the records of a run before its newest manifest, and the blobs that
    only these name. A run that has an owner, has moved on, or is not sound from there on is left as it is: it may need
    what lies before.

    Raises `StoreError`, also where the store cannot do it.
    """
    if row.owner is not None or row.base <= 1 or row.status in ("running", "deleted"):
        return False
    with suppress(CorruptCheckpointError, UnsupportedFormatError, CheckpointNotFoundError, PositionConflict):
        found, replay = load(store, row.run_id)
        if replay is None or replay.damage or found.position != row.position or replay.base != row.base:
            return False
        blobs = _only_before(store, row)
        if blobs is None:
            return False
        if not dry_run:
            store.trim(row.run_id, row.base, blobs, expected=row.position)
        return True
    return False


def _only_before(store: Store, row: Summary) -> list[bytes] | None:
    """The blobs that no record from the newest manifest on names; ``None`` where nothing lies before that. What a
    damaged record names is not known, and stays."""
    before, needed, is_longer = NamedBlobs(), set[bytes](), False
    found: list[bytes] = []
    for position, data in store.scan(row.run_id):
        if position >= row.base:
            record = unseal(row.run_id, position, data)
            needed.update(part.digest for _, part in NamedBlobs().new_in(record))
            continue
        is_longer = True
        with suppress(CorruptCheckpointError, UnsupportedFormatError):
            found += [part.digest for _, part in before.new_in(unseal(row.run_id, position, data))]
    return [name for name in found if name not in needed] if is_longer else None
