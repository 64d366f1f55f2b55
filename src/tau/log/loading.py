"""Reading a run and telling whether it has an owner."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

from msgspec import Struct

from tau.errors import (
    CheckpointNotFoundError,
    CorruptCheckpointError,
    LeaseLostError,
    RunCancelledError,
    RunFinishedError,
    RunOwnedError,
    StoreError,
    TauError,
)
from tau.host import Host
from tau.log.encoding import unpack_blob
from tau.log.pauses import PauseState
from tau.log.records import Admitted, Progress
from tau.log.replay import Replay
from tau.log.subgraphs import Subgraphs
from tau.spelling import nearest
from tau.stores.contract import Lease, Owner, PositionConflict, Store, Summary
from tau.values.stored import Part, StoredValue
from tau.waiting import Flag

_WATCH_STEP = 0.05  # seconds between two looks
_DEAR_LOOKS = 60  # looks at a store for every one of which somebody pays, in the time of a lease
_LONG_LOOK = 0.25  # seconds
_MOMENT = 1.0  # seconds in which an owner that tries to renew its lease succeeds once it can


MOVED: Final = re.compile("moved to run .* in ", re.DOTALL)
"""What the reason of a run begins with that was cancelled where it was, as it is elsewhere now."""


class LoadedRun(Struct):
    """A run as it lies in the store; status ``deleted`` where there is none.

    ``progress`` is ``None`` where nothing is left to resume from. ``damaged`` says what was passed over to get to
    ``rewind``, the newest sound position, where that is not the newest. ``input`` is what the run was admitted with,
    where it was asked for and can be read. ``overdue`` says that it waits no more, because time is up (`is_due`).
    ``misfits`` says by key why a value does not fit the schema of the graph, where that was asked for.
    ``subgraphs`` tells how far the graphs inside the node in flight are. ``shared``: the process that owns it may be at
    other runs, too. ``cancelled`` says why it was. ``is_left``: it is what was left of one that was to be put into the
    store, and was not seen yet.
    """

    status: str
    position: int
    progress: Progress | None = None
    values: dict[str, StoredValue] = {}
    updated: float = 0.0
    rewind: int | None = None
    damaged: str = ""
    input: dict[str, StoredValue] | None = None
    pauses: dict[str, PauseState] = {}
    overdue: bool = False
    misfits: dict[str, str] = {}
    subgraphs: Subgraphs = {}
    shared: bool = False
    cancelled: str = ""
    is_left: bool = False
    near: str = ""


class Known(Struct, frozen=True):
    """What is known of a run since a moment ago: its summary, and its records from the newest manifest on, if any."""

    summary: Summary
    records: Sequence[tuple[int, bytes]] = ()


def load(store: Store, run_id: str, known: Known | None = None) -> tuple[LoadedRun, Replay | None]:
    """A run as it lies in the store, from its newest manifest on, or from its beginning where that is damaged."""
    summary = known.summary if known is not None else store.summary(run_id)
    if summary is None or summary.status == "deleted":
        if summary is None:
            return LoadedRun("deleted", 0), None
        return LoadedRun("deleted", summary.position, is_left=summary.base > 0), None
    if summary.base == 0:
        return LoadedRun(summary.status, summary.position, updated=summary.updated), None
    try:
        replay = _replay(store, run_id, summary.base - 1, () if known is None else known.records)
    except CorruptCheckpointError as error:
        now = store.summary(run_id)
        if was_deleted(store, run_id) is not None or (now is not None and now.created != summary.created):
            return load(store, run_id)  # perhaps what began anew
        if summary.base == 1:
            raise
        replay = _replay(store, run_id, 0)
        replay.damage = replay.damage or str(error)
    return _found(summary, replay), replay


def load_to_write(store: Store, run_id: str, known: Known | None = None) -> tuple[LoadedRun, Replay | None]:
    """`load` for a process that may begin the run: what is left of one that was never seen is removed before."""
    found, replay = load(store, run_id, known)
    if not found.is_left:
        return found, replay
    with suppress(PositionConflict, StoreError):  # else it goes on, or begins, at this moment; or this one only reads
        store.delete_at(run_id, found.position)
    return load(store, run_id)


def catch_up(store: Store, summary: Summary, replay: Replay) -> LoadedRun:
    """A run as `load` gives it, of which ``replay`` knows the older part: only what came after that is read."""
    for position, data in store.scan(replay.run_id, replay.position):
        replay.add(position, data)
    return _found(summary, replay)


def _found(summary: Summary, replay: Replay) -> LoadedRun:
    assert replay.progress is not None
    if replay.position < summary.position:
        replay.damage = replay.damage or f"records {replay.position + 1} to {summary.position} are missing"
    position = max(replay.position, summary.position)
    progress, pauses = replay.progress, replay.pauses
    found = LoadedRun(progress.status, position, progress, replay.values, summary.updated, pauses=pauses)
    found.subgraphs, found.cancelled = replay.subgraphs, replay.cancelled
    found.shared = summary.owner is not None and summary.owner.shared
    if replay.damage:
        found.damaged, found.rewind = replay.damage, replay.applied
        found.status = "cancelled" if summary.status == "cancelled" else "interrupted"
    return found


def _replay(store: Store, run_id: str, after: int, known: Sequence[tuple[int, bytes]] = ()) -> Replay:
    replay = Replay(run_id, BlobLoader(store, run_id))
    for position, data in known or store.scan(run_id, after):
        replay.add(position, data)
    if replay.progress is None:
        raise CorruptCheckpointError(
            f"run {run_id!r} has no record after position {after}; restore the store from a copy, or start a new run",
            run_id=run_id,
            position=after,
        )
    return replay


def admitted_input(store: Store, run_id: str) -> dict[str, StoredValue] | None:
    """What a run was admitted with; ``None`` where its first record is gone or damaged."""
    replay = Replay(run_id, BlobLoader(store, run_id))
    try:
        for position, data in store.scan(run_id):
            return replay.values if isinstance(replay.add(position, data), Admitted) else None
    except TauError:  # what it is for is to explain an error, not to raise another
        pass
    return None


def was_deleted(store: Store, run_id: str) -> CheckpointNotFoundError | None:
    """Why nothing of a run can be read any more, where it was deleted: as the last act of its owner, or by hand."""
    summary = store.summary(run_id)
    if summary is None or summary.status == "deleted":
        return CheckpointNotFoundError(f"run {run_id!r} was deleted while it was being read", run_id=run_id)
    return emptied(run_id, summary.status, summary.updated, " while it was being read") if summary.base == 0 else None


class Watch:
    """Looks at a run until it has no owner. What cannot be told of an owner does not count against it.

    `look` is to be called again after ``pause`` seconds for as long as it answers ``None``. Without ``take`` nothing is
    written, and the answer is what it seems. ``seen`` is the sign of life that an owner gave last, where it has been
    watched for the time of its lease already.
    """

    def __init__(
        self,
        store: Store,
        run_id: str,
        host: Host,
        *,
        wait: float = 0.0,
        wake: Flag | None = None,
        take: bool = True,
        seen: object = None,
    ) -> None:
        self.pause = 0.0
        self._seen = seen
        self._store = store
        self._run_id = run_id
        self._host = host
        self._wait = wait
        self._wake = wake
        self._take = take
        self._start = self._looked = host.monotonic()
        self._sign: object = None
        self._silent = 0.0
        self._asked = not take

    def look(self) -> int | None:
        """The position at which the run had no owner. Raises `RunOwnedError` when it had one for ``wait`` seconds, or
        until ``wake`` was set."""
        store, host = self._store, self._host
        summary = store.summary(self._run_id)
        owner = summary.owner if summary is not None else None
        if summary is None or owner is None or host.is_dead(owner):
            return summary.position if summary is not None else 0
        lease = store.lease(self._run_id)
        if lease is None:
            return summary.position
        woken = self._wake is not None and self._wake.is_set()
        if self._is_silent(owner, lease, summary.position) and not woken:
            if self._asked:
                return summary.position
            # The owner may have been kept from renewing by a process that had the store locked: wait for it, too, and
            # then leave the owner a moment.
            store.renew(self._run_id, "", 0.0)
            self._asked = True
            self.pause = min(_MOMENT, owner.lease / 4)
            return None
        left = self._wait - (host.monotonic() - self._start)
        if left <= 0 or woken:
            raise _owned(self._run_id, owner, lease, mine=host.is_mine(owner))
        self.pause = min(self._step(owner, lease), left)
        return None

    def _step(self, owner: Owner, lease: Lease) -> float:
        """Seconds to the next look; where a look costs money, few fit into a lease."""
        dear = lease.expires_in is None and self._store.look_every > 1.0
        return max(_WATCH_STEP, min(self._store.look_every, owner.lease / _DEAR_LOOKS)) if dear else _WATCH_STEP

    def _is_silent(self, owner: Owner, lease: Lease, position: int) -> bool:
        """Whether the owner gave no sign of life for the time of its lease."""
        now = self._host.monotonic()
        sign = (lease.nonce, lease.counter, position)
        if sign != self._sign:
            self._sign, self._silent, self._asked = sign, owner.lease if sign == self._seen else 0.0, not self._take
        else:  # a look that took long, as the store did not answer, does not prove silence
            self._silent += min(now - self._looked, max(_LONG_LOOK, owner.lease / 8))
        self._looked = now
        return self._silent >= owner.lease if lease.expires_in is None else lease.expires_in <= 0


def await_free(store: Store, run_id: str, host: Host, wait: float, wake: Flag | None = None) -> int:
    """The position at which the run had no owner. Raises `RunOwnedError` when it has one for ``wait`` seconds,
    or until ``wake`` is set."""
    watch = Watch(store, run_id, host, wait=wait, wake=wake)
    while (position := watch.look()) is None:
        host.sleep(watch.pause, wake)
    return position


def why_lost(store: Store, run_id: str, created: float | None) -> LeaseLostError | RunCancelledError:
    """Why a commit of a run was refused that this process had owned, and that was created then."""
    summary = store.summary(run_id)
    if summary is None or summary.base == 0 or created not in (None, summary.created):
        return LeaseLostError(
            f"run {run_id!r} was deleted while it ran; what this process had not saved is dropped, and "
            "nothing of the run is left",
            run_id=run_id,
        )
    if summary.status == "cancelled":
        reason = ""
        with suppress(TauError):
            reason = load(store, run_id)[0].cancelled
        return was_cancelled(run_id, reason, when=" while it ran", advice="")
    return LeaseLostError(
        f"run {run_id!r} was taken over or changed by another process; what this process had not saved is "
        "dropped, and the run goes on elsewhere",
        run_id=run_id,
    )


def was_cancelled(run_id: str, reason: str, *, when: str = "", advice: str = "; start a new run") -> RunCancelledError:
    """The error about a run that was cancelled, for that ``reason``; of one that was moved it says where it is now."""
    if MOVED.match(reason):
        said, there = f"run {run_id!r} was {reason}{when}; go on with it there", reason.removeprefix("moved to ")
        return RunCancelledError(said, run_id=run_id, moved_to=there)
    return RunCancelledError(f"run {run_id!r} was cancelled{when}{advice}", run_id=run_id)


def is_ownerless(lease_of: Callable[[str], Lease | None], summary: Summary, host: Host) -> bool:
    """Whether a running run certainly has lost its owner; never certain where a lease can only be watched."""
    if summary.owner is None or host.is_dead(summary.owner):
        return True
    lease = lease_of(summary.run_id)
    return lease is None or (lease.expires_in is not None and lease.expires_in <= 0)


def _owned(run_id: str, owner: Owner, lease: Lease, *, mine: bool) -> RunOwnedError:
    since = datetime.fromtimestamp(owner.since, UTC)
    who = f"{owner} since {since:%Y-%m-%d %H:%M:%S} UTC"
    if mine:
        who += ", which is this very process: another thread or task of it, or the node that asks, works on the run"
        hint = "let that end first (wait=... waits for another thread; a node never outlasts its own run)"
    else:
        hint = f"wait at least {owner.lease:g} s (wait=...)" if lease.expires_in is None else "wait for it (wait=...)"
        hint += ", or cancel the run"
    return RunOwnedError(
        f"run {run_id!r} is owned by {who}",
        hint=hint,
        run_id=run_id,
        owner=str(owner),
        since=since,
    )


class BlobLoader:
    """Fetches the blobs of one run, checked and unpacked."""

    def __init__(self, store: Store, run_id: str) -> None:
        self.store = store
        self.run_id = run_id

    def __call__(self, parts: Iterable[Part]) -> Mapping[bytes, bytes]:
        sizes = {part.digest: part.size for part in parts}
        stored = self.store.blobs(self.run_id, sizes)
        if len(stored) < len(sizes) and (error := was_deleted(self.store, self.run_id)) is not None:
            raise error
        return {name: unpack_blob(self.run_id, name, sizes[name], data) for name, data in stored.items()}


def not_found(run_id: str, store: Store) -> CheckpointNotFoundError:
    """What is raised where the store holds no run of that id; it names one that may be meant."""
    return nothing_found(run_id, store.location, near_id(store, run_id))


def nothing_found(run_id: str, location: str, near: str) -> CheckpointNotFoundError:
    """`not_found` where the store was asked before (see `near_id`)."""
    where = f" in {location}" if location else ""
    meant = f"; did you mean {near!r}?" if near else ""
    return CheckpointNotFoundError(
        f"failed to load checkpoint: checkpoint not found: {run_id}{where}",
        hint=f"there is no run of that id{meant or ';'} store.runs() lists those that there are",
        run_id=run_id,
    )


_COMPARED = 1_000
_SHORT = 4


def near_id(store: Store, run_id: str) -> str:
    """The id of the run that is meant by one that is not known: of those that are easily found in the store, the only
    one that begins so, or the nearest. Empty if there is none, or the store cannot tell now."""
    try:
        known = store.some_run_ids(_COMPARED)
        begun = [one for one in known if one.startswith(run_id)] if len(run_id) >= _SHORT else []
        near = begun[0] if len(begun) == 1 else nearest(run_id, known)
        summary = store.summary(near) if near else None
    except TauError:  # what it is for is to explain an error, not to raise another
        return ""
    return near if summary is not None and summary.status != "deleted" else ""


EMPTIED = "and its checkpoints were deleted (preserve=False, or a deletion that kept its summary)"
"""What is known of a finished run of which only the summary is left."""


def emptied(run_id: str, status: str, updated: float, when: str = "") -> CheckpointNotFoundError:
    """Why nothing of a run can be read of which only the summary is left."""
    if status != "finished":
        return CheckpointNotFoundError(
            f"failed to load checkpoint: the checkpoints of run {run_id!r} were deleted{when}, only its summary "
            f"was kept (status {status}); start a new run",
            run_id=run_id,
        )
    at = datetime.fromtimestamp(updated, UTC)
    return RunFinishedError(
        f"failed to load checkpoint: run {run_id!r} finished at {at:%Y-%m-%d %H:%M:%S} UTC, {EMPTIED}{when}",
        hint="keep results with preserve=True",
        run_id=run_id,
        finished_at=at,
    )
