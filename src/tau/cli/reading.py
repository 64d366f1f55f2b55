"""A run as its log tells it: what `tau show` and `tau history` show."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec import Struct
from msgspec.structs import replace

from tau.cli.call_counts import CallCount, CallCounts
from tau.cli.finished import Finished, Piece
from tau.cli.prompts import Asked
from tau.engine.provenance import differences
from tau.errors import CorruptCheckpointError
from tau.host import Host
from tau.log.loading import MOVED, BlobLoader, is_ownerless
from tau.log.pauses import PauseState, waiting
from tau.log.records import (
    AnyRecord,
    Cancelled,
    CheckpointRecord,
    Claimed,
    Failed,
    Failure,
    Interrupted,
    Scope,
    path_of,
)
from tau.log.replay import Replay
from tau.log.subgraphs import node_of
from tau.stores import Store, Summary
from tau.values.stored import StoredValue


class Visit(Struct, frozen=True):
    """One finished visit of a node; ``ended`` in Unix seconds. ``scope`` and ``name`` are those of its records,
    ``inside`` the visits of the graphs inside it, in the order in which they finished."""

    node: str
    visit: int
    attempt: int
    seconds: float
    ended: float
    scope: Scope = ()
    name: str = ""
    inside: list[Visit] = []


class Unfinished(Struct, frozen=True):
    """A visit that is not finished, of the node in flight or of one inside it; ``attempts`` at it that are known to
    have ended, and whether it has ``begun``."""

    node: str
    visit: int
    attempts: int
    begun: bool
    scope: Scope
    name: str


class Move(Struct, frozen=True):
    """A resume in other surroundings: its claim, by its position, which ``resume`` of the run it was, from 1, and the
    facts that had changed, as ``{fact: [before, now]}``; ``at`` in Unix seconds."""

    position: int
    resume: int
    at: float
    changes: dict[str, list[str]]


class Account(Struct):
    """What the log of one run says. ``claims`` counts the processes that owned it, ``provenance`` is the oldest that is
    known and ``moves`` how it changed, ``failed`` the node of the failure it ended with, in its ``attempt``; ``reason``
    is why it was stopped, or where it was moved, and ``begun`` whether the node in flight had begun by then; ``damage``
    is what could not be read; ``records`` are the sound ones with their positions, where they are kept; ``pauses`` wait
    for an answer; ``inside`` are the finished visits of the graphs inside the node in flight, and ``unfinished`` what
    comes next or is at work, in it and inside; ``is_joined``: all that is inside has come to its end; ``parent`` is the
    run that it was forked from, or empty, ``calls`` are the journaled ones; ``asked`` are those of agents, where
    they are wanted."""

    summary: Summary
    status: str
    pending: str | None = None
    claims: int = 0
    visits: list[Visit] = []
    records: list[tuple[int, AnyRecord]] = []
    values: dict[str, StoredValue] = {}
    items: list[Piece] = []
    provenance: dict[str, str] = {}
    moves: list[Move] = []
    failed: str = ""
    attempt: int = 1
    failure: Failure | None = None
    reason: str = ""
    begun: bool = False
    damage: str = ""
    pauses: list[PauseState] = []
    inside: list[Visit] = []
    unfinished: list[Unfinished] = []
    is_joined: bool = False
    seed: int | None = None
    parent: str = ""
    calls: list[CallCount] = []
    asked: list[Asked] | None = None


def read_run(
    store: Store, summary: Summary, until: int | None = None, *, records: bool = False, prompts: bool = False
) -> Account:
    """Read the log of a run, to its end or to the position ``until``; its ``records``, and what models were
    asked (``prompts``), are only kept where they are wanted. Raises `CorruptCheckpointError` where nothing of it is
    sound."""
    account = Account(summary, status_of(store, summary), asked=[] if prompts else None)
    if summary.base == 0:
        return account
    try:
        _read(store, account, 0, until, records=records)
    except CorruptCheckpointError as error:
        if summary.base == 1:
            raise
        account = Account(summary, account.status, damage=str(error), asked=[] if prompts else None)
        _read(store, account, summary.base - 1, until, records=records)
    return account


def status_of(store: Store, summary: Summary) -> str:
    """The status as people see it: ``dead`` for a run that runs on paper only."""
    dead = summary.status == "running" and is_ownerless(store.lease, summary, Host())
    return "dead" if dead else summary.status


def _read(store: Store, account: Account, after: int, until: int | None, *, records: bool) -> None:
    run_id = account.summary.run_id
    replay = Replay(run_id, BlobLoader(store, run_id))
    finished, calls = Finished(), CallCounts(account.asked)
    known: dict[str, str] = {}
    for position, record in _sound(store, replay, after, until, account.records if records else None):
        finished.note(record, replay.items)
        calls.note(record, replay.items)
        if isinstance(record, CheckpointRecord):
            visit = Visit(
                node_of(record), record.visit, record.attempt, record.seconds, record.time, record.scope, record.node
            )
            if record.scope:
                account.inside.append(visit)
            else:
                account.visits.append(replace(visit, inside=account.inside))
                account.inside = []
        elif record.scope and isinstance(record, Failed | Interrupted):
            continue  # its node fails or ends with it
        elif isinstance(record, Claimed):
            account.claims += 1
            account.failed, account.attempt, account.failure, account.reason = "", 1, None, ""
            changes = differences(known, record.provenance)
            if changes:
                account.moves.append(Move(position, account.claims - 1, record.time, changes))
        elif isinstance(record, Failed):
            account.failed, account.failure, account.attempt = record.node, record.failure, record.attempt
        elif isinstance(record, Interrupted):
            account.reason, account.begun = record.reason, record.attempt > 0
        elif isinstance(record, Cancelled) and MOVED.match(record.reason):
            account.reason = record.reason
        known = replay.progress.provenance if replay.progress is not None else known
        account.provenance = account.provenance or known
    account.values = replay.values
    account.items = finished.pieces(replay.items, replay.plans)
    account.calls = calls.all()
    account.damage = account.damage or replay.damage
    if replay.progress is not None:
        account.seed, account.parent = replay.progress.seed, replay.progress.parent or ""
    if replay.progress is not None and account.status not in ("finished", "cancelled"):
        account.pending = replay.progress.next
        account.pauses = waiting(replay.pauses)
        account.unfinished = list(_unfinished(replay, finished.scopes))
        outermost = [one.progress.status for scope, one in replay.subgraphs.items() if len(scope) == 1]
        account.is_joined = bool(outermost) and all(status == "finished" for status in outermost)


def _unfinished(replay: Replay, scopes: Iterable[Scope]) -> Iterator[Unfinished]:
    """The node in flight, and each that is next in a graph inside it, those around others first."""
    assert replay.progress is not None
    places = [*((scope, one.progress) for scope, one in replay.subgraphs.items()), ((), replay.progress)]
    for scope, progress in sorted(places, key=lambda place: len(place[0])):
        name = progress.next
        if name is None or (scope and progress.status == "finished"):
            continue
        visit, depth = progress.visits.get(name, 0) + 1, len(scope)
        here = (*scope, (name, visit))
        inside = [*scopes, *replay.subgraphs]
        has_work = any(len(one) > depth and (*one[:depth], one[depth][:2]) == here for one in inside)
        begun = has_work or progress.crashes > 0 or progress.status == "waiting"
        yield Unfinished(path_of(scope, name), visit, progress.crashes, begun, scope, name)


def _sound(
    store: Store, replay: Replay, after: int, until: int | None, kept: list[tuple[int, AnyRecord]] | None
) -> Iterator[tuple[int, AnyRecord]]:
    for position, data in store.scan(replay.run_id, after):
        if until is not None and position > until:
            return
        record = replay.add(position, data)
        if record is not None:
            if kept is not None:
                kept.append((position, record))
            yield position, record
