"""What copies of runs, imports and forks leave that were killed before the run was there."""

from __future__ import annotations

from tau.errors import CorruptCheckpointError, UnsupportedFormatError
from tau.log.encoding import unseal
from tau.log.records import Admitted
from tau.stores.artifact_files import typed
from tau.stores.artifact_marks import Left, clear, marks_in
from tau.stores.contract import Batch, PositionConflict, Store, Summary
from tau.stores.names import directory_of


def remove_left(store: Store, place: str, run: str) -> None:
    """Remove the files of copies that are dead from the directory ``run`` of artifacts, and their marks.

    Before the files of one go of which that is not certain, the position is taken at which it would commit, so one that
    lives is refused. One of which it cannot be told whether the run is its own stays. Raises `StoreError`.
    """
    marks = marks_in(place, run)
    busy = any(not (one.dead or one.old) for one in marks)
    for one in marks:
        files: bool | None = None
        if not one.run_id:  # killed before there could be files
            files = False if one.dead or one.old else None
        elif directory_of(one.run_id) == run and (one.dead or (one.old and not busy)):
            files = _is_over(store, one, busy)
        if files is not None:
            with typed(place, "remove what was left in"):
                clear(place, run, one, files=files)


def _is_over(store: Store, left: Left, busy: bool) -> bool | None:
    """Whether the files of a copy are nobody's; ``None`` where that cannot be told, or known at this moment."""
    try:
        found = store.summary(left.run_id)
        if found is not None and found.status != "deleted":
            return _is_foreign(store, left)
        if found is not None and found.base > 0:
            if busy:
                return True if left.dead else None
            store.delete_at(left.run_id, found.position)
        elif not left.dead:
            if store.forgets or not store.keeps_history:
                return None
            _take(store, left.run_id, 0 if found is None else found.position)
    except (CorruptCheckpointError, UnsupportedFormatError, PositionConflict):
        return None
    return True


def _is_foreign(store: Store, left: Left) -> bool | None:
    """Whether the run that is there was put there, or begun, by another."""
    for position, data in store.scan(left.run_id):
        record = unseal(left.run_id, position, data)
        if record.token == f"{left.nonce}-1".encode():
            return False
        return True if isinstance(record, Admitted) else None  # else its beginning was cut off
    return None


def _take(store: Store, run_id: str, position: int) -> None:
    """Move the position of a run that is not there. Raises `PositionConflict`, `StoreError`."""
    summary = Summary(run_id=run_id, graph="", status="deleted", position=position + 1, base=position + 1)
    result = store.committer.commit(Batch(run_id, position, b"left", (b"left",), (), summary))
    if isinstance(result, Exception):
        raise result
    store.delete_at(run_id, position + 1)
