"""How an attempt at a run begins: a new run is admitted, an existing one is loaded, judged and claimed."""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping
from typing import Any, Final

from msgspec import Struct

from tau.engine.effects import Effect, Load, RunRequest
from tau.engine.provenance import differences
from tau.engine.verdicts import waiting_for
from tau.errors import (
    GraphChangedError,
    LeaseLostError,
    LimitExceededError,
    RunExistsError,
    RunOwnedError,
    UnserializableError,
)
from tau.graph.changes import Comparison, compare, only_misfits
from tau.graph.fingerprint import GraphFingerprint
from tau.log.append import Append
from tau.log.loading import EMPTIED, MOVED, LoadedRun, emptied, nothing_found, was_cancelled
from tau.log.pauses import waiting
from tau.log.records import Admitted, Claimed, Failed, Manifest, Progress, Scope, describe
from tau.log.subgraphs import claim_inside, redo_inside
from tau.state import cells_of
from tau.values.stored import StoredValue, digest

LONGEST_BACKOFF: Final = 300.0
"""The most seconds for which no worker takes a run that died again. It is 1 after the first crash in a row that counts,
and twice as long after each further one."""


class Opened(Struct):
    """A run that may go on, or is finished; ``found`` says how one that existed was found, ``changes`` how the graph
    differs from the one that made it, ``moved`` how the surroundings do."""

    progress: Progress
    values: dict[str, Any]
    found: LoadedRun | None = None
    changes: tuple[str, ...] = ()
    moved: dict[str, list[str]] = {}


def open_run(request: RunRequest, fresh: Progress) -> Generator[Effect, Any, Opened]:
    """Make the run this process's own, or refuse. A finished run of this graph is given back as it is."""
    if not request.resuming and (yield from _admit(request, fresh, 0)):
        return Opened(fresh, dict(request.values))
    take = request.resuming or request.if_exists == "resume"
    while True:
        found: LoadedRun = yield Load(request.run_id, take)
        if request.only_at not in (0, found.position):
            raise taken_meanwhile(request.run_id)
        if found.status == "deleted":
            if request.resuming:
                raise nothing_found(request.run_id, request.location, found.near)
            if (yield from _admit(request, fresh, found.position)):
                return Opened(fresh, dict(request.values))
            continue
        try:
            progress, changes = may_go_on(request, found)
        except LimitExceededError as error:
            if (yield from _fail(request, found, error)):
                raise
            continue
        if found.status == "finished":
            return Opened(progress, found.values, found, changes)
        moved = differences(progress.provenance, request.provenance)
        provenance = request.provenance if moved or not progress.provenance else {}
        claim = Claimed(on_change=request.on_change, changes=changes, rewind=found.rewind, provenance=provenance)
        claim.counted = not found.shared
        if (yield from _claim(request, found, progress, claim)):
            return Opened(progress, found.values, found, changes, moved)


def taken_meanwhile(run_id: str) -> RunOwnedError:
    """The error about a run that is not as the worker has found it."""
    return RunOwnedError(f"run {run_id!r} was taken or changed by another process", run_id=run_id)


def _fail(request: RunRequest, found: LoadedRun, error: LimitExceededError) -> Generator[Effect, Any, bool]:
    """Record that a run is killed each time that it is tried; ``False`` when another process was faster."""
    progress = found.progress
    assert progress is not None
    progress.status = "failed"
    record = Failed(node=progress.next or "", failure=describe(error), attempt=progress.crashes)
    try:
        yield Append((record,), progress, found.values, flush=True, expected=found.position)
    except LeaseLostError:
        return False
    return True


def _admit(request: RunRequest, progress: Progress, expected: int) -> Generator[Effect, Any, bool]:
    """Append the admission and the first claim; ``False`` when the run exists or another process was faster."""
    admitted = admitted_record(request, progress)
    try:
        yield Append((admitted, Claimed()), progress, request.values, flush=True, expected=expected)
    except LeaseLostError:
        return False
    progress.provenance = request.provenance  # later manifests repeat it, this one lies beside it
    return True


def admitted_record(request: RunRequest, progress: Progress) -> Admitted:
    """The first record of a run, by which ``progress`` begins."""
    progress.fingerprint = request.graph.fingerprint()
    progress.input_digest = input_digest(request.values)
    progress.tags = request.tags
    progress.preserve = request.preserve
    manifest = Manifest(progress, {key: cell.whole for key, cell in request.values.items()})
    return Admitted(manifest=manifest, provenance=request.provenance)


def may_go_on(request: RunRequest, found: LoadedRun) -> tuple[Progress, tuple[str, ...]]:
    """Where the run goes on, a crash that this ends being counted, and how the graph changed since; raises why it
    cannot."""
    progress = _judge(request, found)
    changes = _compare(request, progress, found)
    if found.status != "finished":
        _count_crash(request, found, progress)
        claim_inside(found.subgraphs, found.status == "running")
        if request.on_change == "redo":
            redo_inside(found.subgraphs)
    return progress, changes


def _judge(request: RunRequest, found: LoadedRun) -> Progress:
    """Refuse what cannot go on."""
    run_id, progress = request.run_id, found.progress
    if not request.resuming:
        _check_id_and_input(request, found)
    if found.status == "cancelled":
        raise was_cancelled(run_id, found.cancelled)
    if progress is None:
        raise emptied(run_id, found.status, found.updated)
    if found.status == "waiting" and not found.overdue:
        raise waiting_for(run_id, [one.name for one in waiting(found.pauses)])
    return progress


def _check_id_and_input(request: RunRequest, found: LoadedRun) -> None:
    """Refuse an id that is in use, unless its run is to be resumed and was admitted with this input."""
    run_id = request.run_id
    resumable = found.status != "cancelled" and found.progress is not None
    differs = differences_of(request, found) if has_other_input(request, found) else ()
    if request.if_exists == "resume" and not (differs and resumable):
        return
    if request.if_exists == "resume":
        said = f"run {run_id!r} was admitted with another input ({'; '.join(differs)}), and inputs never change"
    elif resumable:
        other = f", and its input was different ({'; '.join(differs)})" if differs else ""
        said = f"run {run_id!r} already exists with status {found.status}{other}"
    else:
        reason = found.cancelled if MOVED.match(found.cancelled) else "cancelled"
        gone = f"{reason}, so it cannot be resumed" if found.status == "cancelled" else f"{found.status}, {EMPTIED}"
        said = f"run {run_id!r} already exists: it is {gone}"
    ways = ["resume it without an input" if differs else "resume it, pass if_exists='resume'"] if resumable else []
    raise RunExistsError(
        said,
        hint=", ".join([*ways, "choose another run id, or delete that run first"]),
        run_id=run_id,
        status=found.status,
        differs=differs if resumable else (),
        resumable=resumable,
    )


def has_other_input(request: RunRequest, found: LoadedRun) -> bool:
    """Whether the run that was found had another input than this job."""
    progress = found.progress
    return progress is not None and (_has_other_values(request, progress) or _has_other_seed(request, progress))


def _has_other_values(request: RunRequest, progress: Progress) -> bool:
    """A run that was admitted without a schema, or under another one, had the input as it was given."""
    if progress.input_digest == input_digest(request.values):
        return False
    if not request.unfitted:
        return True
    try:
        return progress.input_digest != input_digest({**request.values, **cells_of(request.unfitted)})
    except (UnserializableError, LimitExceededError):  # then it was never admitted
        return True


def _has_other_seed(request: RunRequest, progress: Progress) -> bool:
    return request.seed_is_given and progress.seed != request.seed


def differences_of(request: RunRequest, found: LoadedRun) -> tuple[str, ...]:
    """What is not as it was admitted, key by key; never the values, which may be secret."""
    before, now, progress = found.input, request.values, found.progress
    differs = ["the seed differs"] if progress is not None and _has_other_seed(request, progress) else []
    if progress is not None and not _has_other_values(request, progress):
        return tuple(differs)
    if before is None:
        return (*differs, "which keys differ cannot be read any more")
    differs += [f"{key!r} is new" for key in now if key not in before]
    differs += [f"{key!r} is left out" for key in before if key not in now]
    differs += [f"{key!r} differs" for key in now if key in before and now[key].data() != before[key].data()]
    return tuple(differs) or ("its keys are the same, as they were replaced by hand",)


def _compare(request: RunRequest, progress: Progress, found: LoadedRun) -> tuple[str, ...]:
    """How the graph changed since; raises where that stands in the way."""
    comparison = changes_since(found, request.graph.fingerprint(progress.fingerprint))
    lost = comparison.foreign or comparison.lost
    if comparison.blocking and (request.on_change == "error" or lost):
        now = "this graph" if comparison.foreign else "the graph as it is now"
        ways = tuple(way for way in comparison.ways if not (lost and way.startswith("on_change=")))
        lines = [f"run {request.run_id!r} cannot be resumed with {now}:", *comparison.blocking]
        here = ways if request.resuming else tuple(_by_resume(request.run_id, way) for way in ways)
        raise GraphChangedError(
            "\n- ".join(lines) + f"\nWhat to do: {'; or '.join(here)}",
            run_id=request.run_id,
            changes=tuple(comparison.blocking),
            ways=ways,
        )
    return (*comparison.blocking, *comparison.notes)


def _by_resume(run_id: str, way: str) -> str:
    """A way on as the caller of ``execute`` can go it, which has no ``on_change``."""
    return re.sub(r"on_change='\w+'", lambda found: f"graph.resume({run_id!r}, {found[0]})", way)


def _count_crash(request: RunRequest, found: LoadedRun, progress: Progress) -> None:
    crashed = found.status == "running"
    progress.crashes += crashed
    progress.stuck = progress.stuck + (not found.shared) if crashed else 0
    if progress.stuck > request.max_crashes:
        raise LimitExceededError(
            f"run {request.run_id!r} was killed {progress.stuck} times in a row at node {progress.next!r}, the limit "
            f"is {request.max_crashes}, so it fails; find out what kills it, then resume the run; "
            "CheckpointConfig(max_crashes=...) is how often it may happen",
            limit=request.max_crashes,
            run_id=request.run_id,
        )


def _claim(request: RunRequest, found: LoadedRun, progress: Progress, claim: Claimed) -> Generator[Effect, Any, bool]:
    """Take the run over; ``False`` when another process was faster."""
    current = request.graph.fingerprint(progress.fingerprint)
    claim.fingerprint = current if progress.fingerprint != current else None
    progress.fingerprint, progress.graph, progress.status = current, request.graph.name, "running"
    progress.provenance = claim.provenance or progress.provenance
    try:
        backoff = min(2.0 ** min(progress.stuck - 1, 30), LONGEST_BACKOFF) if progress.stuck else 0.0
        yield Append((claim,), progress, found.values, flush=True, expected=found.position, backoff=backoff)
    except LeaseLostError:
        return False
    return True


def input_digest(values: Mapping[str, StoredValue]) -> bytes:
    """What tells one input from another."""
    return digest(b"".join(digest(key.encode()) + values[key].digest() for key in sorted(values)))


def changes_since(found: LoadedRun, current: GraphFingerprint) -> Comparison:
    """How the graph differs from the one that made the run, the misfits of its state included; else in nothing for a
    state that was saved by hand. The graphs inside the node in flight are judged as the whole is."""
    progress = found.progress
    stored = progress.fingerprint if progress is not None else None
    if progress is None or stored is None:
        return only_misfits(found.misfits)
    return _changes(progress, stored, current, found, ())


def _changes(
    progress: Progress, stored: GraphFingerprint, current: GraphFingerprint, run: LoadedRun, scope: Scope
) -> Comparison:
    found = compare(
        current=current,
        graph_name=progress.graph if not scope else current.name,
        admitted=stored,
        finished={name: stored.nodes[name] for name in progress.visits if name in stored.nodes},
        edges_taken=progress.taken,
        pending=progress.next,
        has_items=progress.items > 0,
        misfits=run.misfits if not scope else {},
    )
    node = progress.next or ""
    found.lost = bool(node) and node not in current.nodes
    then, now = stored.inner.get(node), current.inner.get(node)
    if found.foreign or then is None or now is None:
        return found
    graphs, visit = {one.name: one.graph for one in now.branches}, progress.visits.get(node, 0) + 1
    for one in then.branches:
        inside = (*scope, (node, visit, one.name))
        if (part := run.subgraphs.get(inside)) is not None and one.name in graphs:
            inner = _changes(part.progress, one.graph, graphs[one.name], run, inside)
            where = f"in node {'/'.join(filter(None, (node, one.name)))!r}, "
            found.notes += [where + sentence for sentence in inner.notes]
            found.blocking += [where + sentence for sentence in inner.blocking]
            found.ways += [way for way in inner.ways if way not in found.ways]
            found.lost = found.lost or inner.lost
    return found
