"""Admission alone: a run is put into the store, and left to a worker."""

from __future__ import annotations

import math
from datetime import datetime

from tau.engine.admission import admitted_record, differences_of, has_other_input
from tau.engine.effects import RunRequest
from tau.engine.provenance import provenance
from tau.errors import ConfigError, RunExistsError
from tau.host import Host
from tau.log.append import Append
from tau.log.journal import Journal
from tau.log.loading import admitted_input, load_to_write
from tau.log.records import Progress
from tau.state import State, cells_of
from tau.stores.contract import Batch, PositionConflict, Store

_YEARS = -62_135_596_800.0, 253_402_300_800.0  # what a summary can tell


def admit(
    store: Store, host: Host, request: RunRequest, given: State, not_before: float | datetime | None = None
) -> str:
    """See `StateGraph.admit`."""
    time = checked_time(not_before)
    request.values, request.provenance = cells_of(given), provenance()
    position: int | None = 0
    while position is not None:
        batch = admission(store, host, request, position, time)
        result = store.committer.commit(batch)
        if isinstance(result, Exception) and not isinstance(result, PositionConflict):
            raise result
        position = None if isinstance(result, int) else taken_at(store, request)
    return request.run_id


def admission(store: Store, host: Host, request: RunRequest, position: int, not_before: float | None) -> Batch:
    """The batch that admits a run of which nothing is stored after ``position``."""
    progress = Progress(
        graph=request.graph.name, created=request.now, next=request.graph.entry_point, seed=request.seed
    )
    record = admitted_record(request, progress)
    progress.status = "admitted"
    journal = Journal(store, request.run_id, host, host.owner(0.0), interval=1)
    append = Append((record,), progress, request.values, flush=True, expected=position, not_before=not_before)
    batch = journal.prepare(append)
    assert batch is not None
    return batch


def taken_at(store: Store, request: RunRequest) -> int | None:
    """Where a run that was deleted may begin anew; ``None`` where the id is that of a run with this input.

    Raises `RunExistsError` where it is another's, and what reading it raises.
    """
    found, _ = load_to_write(store, request.run_id)
    progress = found.progress
    if found.status == "deleted":
        return found.position
    differs: tuple[str, ...] = ()
    if progress is not None and progress.graph not in ("", request.graph.name):
        differs = (f"it is a run of graph {progress.graph!r}",)
    elif has_other_input(request, found):
        found.input = admitted_input(store, request.run_id)
        differs = differences_of(request, found)
    if not differs:
        return None
    raise RunExistsError(
        f"run {request.run_id!r} was admitted with another input ({'; '.join(differs)}), and inputs never change",
        hint="choose another run id, or delete that run first",
        run_id=request.run_id,
        status=found.status,
        differs=differs,
        resumable=found.status != "cancelled",
    )


def checked_time(time: object) -> float | None:
    """``not_before`` in Unix seconds. Raises `ConfigError`."""
    if isinstance(time, datetime):
        if time.tzinfo is None:
            raise ConfigError(f"not_before needs a time zone, as in datetime(..., tzinfo=UTC), found {time!r}")
        time = time.timestamp()
    if time is None:
        return None
    if isinstance(time, bool) or not isinstance(time, int | float) or not math.isfinite(time):
        raise ConfigError(f"not_before must be a datetime or a time in Unix seconds, found {time!r:.80}")
    if not _YEARS[0] <= time < _YEARS[1]:
        raise ConfigError(f"not_before must be in the years 1 to 9999, found {time!r} seconds since 1970")
    return float(time)
