"""How an attempt at a run begins: a new run is admitted, an existing one is loaded, judged and claimed."""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct

from tau.engine.effects import Effect, Job, Load
from tau.engine.provenance import differences
from tau.errors import (
    GraphChangedError,
    LeaseLostError,
    LimitExceededError,
    RunCancelledError,
    RunExistsError,
    RunFinishedError,
    RunWaitingError,
)
from tau.graph.changes import Comparison, compare
from tau.graph.fingerprint import GraphFingerprint
from tau.log.journal import Append
from tau.log.loading import Found, not_found
from tau.log.records import Admitted, Claimed, Manifest, Progress
from tau.values.stored import Cell, digest


class Opened(Struct):
    """A run that may go on, or is finished; ``found`` says how one that existed was found, ``changes`` how the graph
    differs from the one that made it, ``moved`` how the surroundings do."""

    progress: Progress
    values: dict[str, Any]
    found: Found | None = None
    changes: tuple[str, ...] = ()
    moved: dict[str, list[str]] = {}


def open_run(job: Job, fresh: Progress) -> Generator[Effect, Any, Opened]:
    """Make the run this process's own, or refuse. A finished run of this graph is given back as it is."""
    if not job.resuming and (yield from _admit(job, fresh, 0)):
        return Opened(fresh, dict(job.values))
    take = job.resuming or job.if_exists == "resume"
    while True:
        found: Found = yield Load(job.run_id, take)
        if found.status == "deleted":
            if job.resuming:
                raise not_found(job.run_id, job.location)
            if (yield from _admit(job, fresh, found.position)):
                return Opened(fresh, dict(job.values))
            continue
        progress, changes = may_go_on(job, found)
        if found.status == "finished":
            return Opened(progress, found.values, found, changes)
        moved = differences(progress.provenance, job.provenance)
        provenance = job.provenance if moved or not progress.provenance else {}
        claim = Claimed(on_change=job.on_change, changes=changes, rewind=found.rewind, provenance=provenance)
        if (yield from _claim(job, found, progress, claim)):
            return Opened(progress, found.values, found, changes, moved)


def _admit(job: Job, progress: Progress, expected: int) -> Generator[Effect, Any, bool]:
    """Append the admission and the first claim; ``False`` when the run exists or another process was faster."""
    progress.fingerprint = job.graph.fingerprint()
    progress.input_digest = input_digest(job.values)
    progress.tags = job.tags
    progress.keep = job.preserve
    manifest = Manifest(progress, {key: cell.whole for key, cell in job.values.items()})
    admitted = Admitted(manifest=manifest, provenance=job.provenance)
    try:
        yield Append((admitted, Claimed()), progress, job.values, flush=True, expected=expected)
    except LeaseLostError:
        return False
    progress.provenance = job.provenance  # later manifests repeat it, this one lies beside it
    return True


def may_go_on(job: Job, found: Found) -> tuple[Progress, tuple[str, ...]]:
    """Where the run goes on, a crash that this ends being counted, and how the graph changed since; raises why it
    cannot."""
    progress = _judge(job, found)
    changes = _compare(job, progress)
    if found.status != "finished":
        _count_crash(job, found, progress)
    return progress, changes


def _judge(job: Job, found: Found) -> Progress:
    """Refuse what cannot go on."""
    run_id, progress = job.run_id, found.progress
    if not job.resuming:
        _check_same_input(job, found)
    if found.status == "cancelled":
        raise RunCancelledError(f"run {run_id!r} was cancelled; start a new run", run_id=run_id)
    if progress is None:
        when = datetime.fromtimestamp(found.updated, UTC)
        raise RunFinishedError(
            f"failed to load checkpoint: run {run_id!r} finished at {when:%Y-%m-%d %H:%M:%S} UTC and its checkpoints "
            "were deleted (preserve=False); keep results with preserve=True",
            run_id=run_id,
            finished_at=when,
        )
    if found.status == "waiting":
        raise RunWaitingError(f"run {run_id!r} waits for an answer; give it, then resume", run_id=run_id)
    return progress


def _check_same_input(job: Job, found: Found) -> None:
    run_id = job.run_id
    differs = _differences(job, found) if has_other_input(job, found) else ()
    if job.if_exists != "resume":
        other = f", with another input ({'; '.join(differs)})" if differs else ""
        ways = "resume it without one" if differs else "resume it, pass if_exists='resume'"
        raise RunExistsError(
            f"run {run_id!r} already exists{other} with status {found.status}; {ways}, choose another run id, or "
            "delete that run first",
            run_id=run_id,
            status=found.status,
            differs=differs,
        )
    if differs:
        raise RunExistsError(
            f"run {run_id!r} was admitted with another input ({'; '.join(differs)}), and inputs never change; "
            "resume it without one, choose another run id, or delete that run first",
            run_id=run_id,
            status=found.status,
            differs=differs,
        )


def has_other_input(job: Job, found: Found) -> bool:
    """Whether the run that was found had another input than this job."""
    return found.progress is not None and found.progress.input_digest != input_digest(job.values)


def _differences(job: Job, found: Found) -> tuple[str, ...]:
    """What is not as it was admitted, key by key; never the values, which may be secret."""
    before, now = found.input, job.values
    if before is None:
        return ("which keys differ cannot be read any more",)
    differs = [f"{key!r} is new" for key in now if key not in before]
    differs += [f"{key!r} is left out" for key in before if key not in now]
    differs += [f"{key!r} differs" for key in now if key in before and now[key].data() != before[key].data()]
    return tuple(differs) or ("its keys are the same, as they were replaced by hand",)


def _compare(job: Job, progress: Progress) -> tuple[str, ...]:
    """How the graph changed since; raises where that stands in the way."""
    comparison = changes_since(progress, job.graph.fingerprint(progress.fingerprint))
    lost = comparison.foreign or (progress.next is not None and progress.next not in job.graph.nodes)
    if comparison.blocking and (job.on_change == "error" or lost):
        now = "this graph" if comparison.foreign else "the graph as it is now"
        ways = tuple(way for way in comparison.ways if not (lost and way.startswith("on_change=")))
        lines = [f"run {job.run_id!r} cannot be resumed with {now}:", *comparison.blocking]
        here = ways if job.resuming else tuple(_by_resume(job.run_id, way) for way in ways)
        raise GraphChangedError(
            "\n- ".join(lines) + f"\nWhat to do: {'; or '.join(here)}",
            run_id=job.run_id,
            changes=tuple(comparison.blocking),
            ways=ways,
        )
    return (*comparison.blocking, *comparison.notes)


def _by_resume(run_id: str, way: str) -> str:
    """A way on as the caller of ``execute`` can go it, which has no ``on_change``."""
    return re.sub(r"on_change='\w+'", lambda found: f"graph.resume({run_id!r}, {found[0]})", way)


def _count_crash(job: Job, found: Found, progress: Progress) -> None:
    crashed = found.status == "running"
    progress.crashes += crashed
    progress.stuck = progress.stuck + 1 if crashed else 0
    if progress.stuck > job.max_crashes:
        raise LimitExceededError(
            f"run {job.run_id!r} was killed {progress.stuck} times in a row at node {progress.next!r}, the limit is "
            f"{job.max_crashes}; find out what kills it, then resume with a larger CheckpointConfig(max_crashes=...)",
            limit=job.max_crashes,
            run_id=job.run_id,
        )


def _claim(job: Job, found: Found, progress: Progress, claim: Claimed) -> Generator[Effect, Any, bool]:
    """Take the run over; ``False`` when another process was faster."""
    current = job.graph.fingerprint(progress.fingerprint)
    claim.fingerprint = current if progress.fingerprint != current else None
    progress.fingerprint, progress.graph, progress.status = current, job.graph.name, "running"
    progress.provenance = claim.provenance or progress.provenance
    try:
        yield Append((claim,), progress, found.values, flush=True, expected=found.position)
    except LeaseLostError:
        return False
    return True


def input_digest(values: Mapping[str, Cell]) -> bytes:
    """What tells one input from another."""
    return digest(b"".join(digest(key.encode()) + digest(values[key].data()) for key in sorted(values)))


def changes_since(progress: Progress, current: GraphFingerprint) -> Comparison:
    """How the graph differs from the one that made the run; in nothing for a state that was saved by hand."""
    stored = progress.fingerprint
    if stored is None:
        return Comparison(notes=[], blocking=[])
    return compare(
        current=current,
        graph_name=progress.graph,
        admitted=stored,
        finished={name: stored.nodes[name] for name in progress.visits if name in stored.nodes},
        edges_taken=progress.taken,
        pending=progress.next,
        has_items=progress.items > 0,
    )
