"""Forks: a new run that begins where another one was, under the graph as it is now."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from tau.engine.admission import changes_since
from tau.engine.effects import RunRequest
from tau.engine.provenance import provenance
from tau.errors import ConfigError, CorruptCheckpointError, GraphChangedError
from tau.graph.changes import Comparison
from tau.graph.edges import ANYWHERE
from tau.host import Host
from tau.log.blobs import read_blobs
from tau.log.contained import NamedBlobs
from tau.log.encoding import pack_blob, unseal
from tau.log.incoming import Incoming, receiving
from tau.log.loading import BlobLoader, LoadedRun, emptied, not_found, was_deleted
from tau.log.records import (
    Admitted,
    AnyRecord,
    CheckpointRecord,
    Claimed,
    Interrupted,
    Item,
    Manifest,
    Planned,
    Progress,
)
from tau.log.relocation import Relocation
from tau.log.replay import Replay
from tau.log.subgraphs import manifest_inside
from tau.node.seeds import of_run
from tau.stores.artifact_content import check_all, wrong_with
from tau.stores.artifact_copies import ArtifactCopies, pieces_of
from tau.stores.artifact_files import place_of
from tau.stores.contract import Store, Summary
from tau.values.stored import StoredValue
from tau.values.types.artifact import Artifact


class _Point(Struct):
    """Where a run is forked: what its log adds up to ``at`` that position, after which of the ``begun`` node in flight
    something may be finished; ``newest`` if nothing came after it. ``values`` are those of the newest manifest or
    checkpoint: what came with an answer since is asked anew."""

    replay: Replay
    at: int
    begun: int
    newest: bool
    values: dict[str, StoredValue]

    @property
    def progress(self) -> Progress:
        assert self.replay.progress is not None
        return self.replay.progress


def fork(
    store: Store,
    host: Host,
    request: RunRequest,
    run_id: str,
    *,
    at: int | None,
    changes: Mapping[str, StoredValue],
    replays: str = "",
) -> str:
    """See `StateGraph.fork`. The new run is that of ``request``; ``replays``: it is to replay the other one."""
    point = _find(store, run_id, at)
    comparison = _compared(request, point)
    check_all({**point.values, **changes}.values())
    incoming = Incoming(store, request.run_id, host)
    copies = ArtifactCopies(
        lambda: place_of(store, request.artifacts), request.run_id, incoming.start + 1, nonce=incoming.nonce, link=True
    )
    with receiving(incoming, copies):
        relocation = Relocation(partial(_link, copies))
        for record, blobs in _records(
            store, request, point, changes, now=host.now(), comparison=comparison, replays=replays
        ):
            moved = [*blobs(relocation)]
            relocation.record(record)
            incoming.add(record, moved)
        incoming.finish()
    return request.run_id


def _find(store: Store, run_id: str, at: int | None) -> _Point:
    summary = store.summary(run_id)
    if summary is None or summary.status == "deleted":
        raise not_found(run_id, store)
    if summary.base == 0:
        raise emptied(run_id, summary.status, summary.updated)
    if at is not None and at < summary.base:
        return _read(store, summary, 0, at)
    try:
        return _read(store, summary, summary.base - 1, at)
    except CorruptCheckpointError:
        if summary.base == 1:
            raise
        return _read(store, summary, 0, at)


def _read(store: Store, summary: Summary, after: int, at: int | None) -> _Point:
    run_id = summary.run_id
    replay, first, begun = Replay(run_id, BlobLoader(store, run_id)), 0, 0
    values: dict[str, StoredValue] | None = None
    until = summary.position if at is None else at
    for position, data in store.scan(run_id, after):
        if position > until:
            break
        if values is None and replay.pauses:  # an answer may change what its node has not finished
            values = dict(replay.values)
        record = replay.add(position, data)
        first = first or position
        if record is None:
            continue
        if replay.base == position or (isinstance(record, CheckpointRecord) and not record.scope):
            begun, values = position, None
    sound = replay.applied if replay.damage else replay.position
    if at is not None and (replay.position != at or sound != at):
        if (gone := was_deleted(store, run_id)) is not None:
            raise gone
        raise ConfigError(
            f"run {run_id!r} has no readable entry {at}: its history is {first or summary.base} to {summary.position}; "
            "tau history shows it"
        )
    if replay.progress is None:
        raise was_deleted(store, run_id) or CorruptCheckpointError(f"run {run_id!r} cannot be read", run_id=run_id)
    return _Point(replay, sound, begun, until >= summary.position, replay.values if values is None else values)


def _compared(request: RunRequest, point: _Point) -> Comparison:
    """How the graph differs from that of the run; a run of another graph is refused."""
    progress = point.progress
    found = LoadedRun(progress.status, point.at, progress, point.values, subgraphs=point.replay.subgraphs)
    comparison = changes_since(found, request.graph.fingerprint(progress.fingerprint))
    if comparison.foreign:
        raise GraphChangedError(
            f"run {point.replay.run_id!r} cannot be forked with this graph: {'; '.join(comparison.blocking)}",
            run_id=point.replay.run_id,
            changes=tuple(comparison.blocking),
            ways=tuple(comparison.ways),
        )
    return comparison


_Blobs = Callable[[Relocation], Iterator[tuple[bytes, bytes]]]


def _records(
    store: Store,
    request: RunRequest,
    point: _Point,
    changes: Mapping[str, StoredValue],
    *,
    now: float,
    comparison: Comparison,
    replays: str,
) -> Iterator[tuple[AnyRecord, _Blobs]]:
    """The log of the new run, with the blobs that each record is the first to name."""
    parent, named = point.replay.run_id, NamedBlobs()

    def blobs_of(record: AnyRecord) -> _Blobs:
        own = {name: data for cell in changes.values() for name, data in cell.blobs}
        parts = [part for _, part in named.new_in(record)]
        of_parent = [part for part in parts if part.digest not in own]
        made = [(part.digest, pack_blob(own[part.digest])) for part in parts if part.digest in own]

        def blobs(relocation: Relocation) -> Iterator[tuple[bytes, bytes]]:
            yield from made
            yield from (blob.moved(relocation) for blob in read_blobs(store, parent, of_parent))

        return blobs

    items = point.newest and not changes and not replays
    admitted = _admitted(request, point, changes, items, now)
    assert admitted.manifest is not None
    if replays:
        _to_replay(request, admitted.manifest.progress, parent, replays)
    following = admitted.manifest.progress.next or ""
    yield admitted, blobs_of(admitted)
    yield _claimed(request, comparison, now), lambda _: iter(())
    for record in _unfinished(store, point) if items else ():
        yield record, blobs_of(record)
    reason = f"replays run {parent!r}" if replays else f"forked from run {parent!r} at {point.at}"
    yield Interrupted(time=now, node=following, reason=reason), lambda _: iter(())


def _admitted(
    request: RunRequest, point: _Point, changes: Mapping[str, StoredValue], items: bool, now: float
) -> Admitted:
    values = {**point.values, **changes}
    progress = replace(
        point.progress, parent=point.replay.run_id, created=now, preserve=request.preserve, status="interrupted",
        crashes=0, stuck=0, items=0, provenance={},
    )  # fmt: skip
    progress.taken = _there(request, progress)
    if changes or progress.next not in request.graph.nodes:
        progress.taken.discard((progress.node or "", progress.next or ""))
        progress.next = None  # the edges are asked anew, with the state and the graph as they are now
    manifest = Manifest(progress, {key: cell.whole for key, cell in values.items()})
    if items and point.replay.subgraphs:
        done = sum(one.progress.iteration for one in point.replay.subgraphs.values())
        manifest = manifest_inside(progress, values, point.replay.subgraphs, done)
        for one in manifest.progress.inside:
            one.progress = replace(one.progress, crashes=0, items=0)  # items are counted again as they come
    return Admitted(time=now, manifest=manifest, provenance=provenance())


def _to_replay(request: RunRequest, progress: Progress, parent: str, replays: str) -> None:
    """It begins as the other one began, with the entry point of the graph as it is now, and draws the same seeds."""
    progress.replays = replays
    progress.seed = of_run(parent) if progress.seed is None else progress.seed
    if not progress.visits:
        progress.next = request.graph.entry_point


def _there(request: RunRequest, progress: Progress) -> set[tuple[str, str]]:
    """The edges that were taken and are in the graph as it is now: that others are gone is recorded, not refused."""
    ends = {(edge.source, edge.target) for edge in request.graph.fingerprint().edges}
    return {
        (source, target)
        for source, target in progress.taken
        if (source, target) in ends or ((source, ANYWHERE) in ends and target in request.graph.nodes)
    }


def _claimed(request: RunRequest, comparison: Comparison, now: float) -> Claimed:
    fingerprint = request.graph.fingerprint()
    if fingerprint.schema is not None:
        fingerprint = replace(fingerprint, schema=None)  # nobody has validated this state: a resume looks at it whole
    changes = (*comparison.blocking, *comparison.notes)
    return Claimed(time=now, fingerprint=fingerprint, on_change="continue", changes=changes)


def _unfinished(store: Store, point: _Point) -> Iterator[AnyRecord]:
    """What is finished and planned in the node in flight."""
    replay = point.replay
    for position, data in store.scan(replay.run_id, point.begun):
        if position > point.at:
            return
        record = unseal(replay.run_id, position, data)
        is_kept = (
            replay.items.get((record.scope, record.key)) is not None
            if isinstance(record, Item)
            else isinstance(record, Planned) and record.scope in replay.plans
        )
        if is_kept:
            yield record


def _link(copies: ArtifactCopies, artifact: Artifact) -> Artifact:
    return artifact if wrong_with(artifact) else copies.put(artifact, pieces_of(artifact))
