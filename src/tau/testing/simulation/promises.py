"""What must hold after every simulated run, however it went. `violations` lists what did not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from tau.errors import (
    CheckpointNotFoundError,
    ExecutionError,
    LeaseLostError,
    RunCancelledError,
    RunFinishedError,
    RunInterruptedError,
    RunOwnedError,
    RunWaitingError,
    StoreError,
    TauError,
)
from tau.events import CHECKPOINT_KEPT, CHECKPOINT_LOAD, CHECKPOINT_SAVE, TERMINAL_TYPES
from tau.log.loading import BlobLoader
from tau.log.records import (
    Admitted,
    Answer,
    Cancelled,
    CheckpointRecord,
    Claimed,
    Failed,
    Finished,
    Item,
    Pause,
    Routed,
    Scope,
    path_of,
    place_of,
)
from tau.log.replay import Replay
from tau.node.kept_state import STATE
from tau.state import State
from tau.testing.simulation.attempts import attempts
from tau.testing.simulation.inside import Step, in_flight, inside, width, wrong_inside
from tau.testing.simulation.process import Process
from tau.testing.simulation.world import INTERRUPTS, STORE_FAULTS, World
from tau.values import encode

Visit = tuple[str, int]


class Expected(Struct, frozen=True):
    """What the uninterrupted run did: its final values, or how it failed, its visits and the answers of its routes
    in order; ``inside`` the visits of the graphs inside its nodes, by where they belong."""

    values: dict[str, bytes] | None
    failure: str
    steps: tuple[Step, ...]
    answers: tuple[Any, ...]
    inside: dict[Scope, tuple[Step, ...]]


def observed(world: World) -> Expected:
    """What a world did."""
    results = [process.state for process in world.processes if process.state is not None]
    errors = [process.error for process in world.processes if process.error is not None]
    return Expected(
        values=encoded(results[0]) if results else None,
        failure=str(errors[-1]) if errors and not results else "",
        steps=steps(world),
        answers=answers(world),
        inside=inside(world),
    )


def encoded(state: State) -> dict[str, bytes]:
    """A state's values as bytes, which differ where anything does."""
    return {key: encode(state[key]) for key in state}


def steps(world: World) -> tuple[Step, ...]:
    """The finished visits in the order of the log."""
    return tuple(
        (record.node, record.visit, record.iteration, record.next)
        for record in world.history.records
        if isinstance(record, CheckpointRecord) and not record.scope
    )


def answers(world: World) -> tuple[Any, ...]:
    """What the routes answered that have records of their own, in the order of the log."""
    found = [record for record in world.history.records if isinstance(record, Routed)]
    places = [place_of(record.scope, record.node) for record in found]
    return tuple((place, one.visit, one.next, one.answer) for place, one in zip(places, found, strict=True))


def violations(world: World, expected: Expected, interval: int) -> list[str]:
    """Everything that went wrong and must not; empty for a sound run."""
    checks = (
        world.history.problems,
        _log(world),
        _path(world, expected),
        wrong_inside(world, expected.inside, has_failed=bool(expected.failure)),
        _repeats(world, interval, width(expected.inside)),
        _steps(world),
        _routes(world, expected),
        attempts(world),
        _events(world),
        _outcomes(world, expected),
        _stored(world, expected),
        _folds(world),
    )
    return [text for check in checks for text in check]


def _log(world: World) -> Iterator[str]:
    """Claims order owners strictly: between two claims only the first's owner writes."""
    owner, owners = "", set[str]()
    for entry in world.history.entries:
        record = entry.record
        by = record.token.rpartition(b"-")[0].decode()
        if isinstance(record, Claimed) and record.owner is not None:
            owner = record.owner.nonce
            if owner in owners:
                yield f"position {entry.position}: owner {owner} claimed the run twice"
            owners.add(owner)
        elif isinstance(record, Admitted):
            if entry.position != 1:
                yield f"position {entry.position}: the run was admitted again"
            continue
        elif isinstance(record, Cancelled):
            owner = "nobody"
            continue
        elif isinstance(record, Answer):  # of anybody
            continue
        if by != owner:
            yield f"position {entry.position}: process {entry.process} wrote although it was superseded"
    if sum(isinstance(record, Finished) and not record.scope for record in world.history.records) > 1:
        yield "the run finished more than once"


def _path(world: World, expected: Expected) -> Iterator[str]:
    """The visits are those of the uninterrupted run, in its order, and counted."""
    done = steps(world)
    visits: Counter[str] = Counter()
    for number, (node, visit, iteration, _) in enumerate(done, 1):
        visits[node] += 1
        if (visit, iteration) != (visits[node], number):
            yield f"step {number}, visit {visits[node]} of {node}, is stored as visit {visit}, iteration {iteration}"
    for number, (found, wanted) in enumerate(zip(done, expected.steps, strict=False), 1):
        if found != wanted:
            yield f"step {number} is {found}, in the uninterrupted run it is {wanted}"
            return
    if len(done) > len(expected.steps):
        yield f"{len(done)} visits were committed, the uninterrupted run has {len(expected.steps)}"
    elif world.is_over and not world.history.cancelled and len(done) < len(expected.steps):
        yield f"the run is finished after {len(done)} visits, the uninterrupted run has {len(expected.steps)}"


def _commits(world: World) -> dict[Visit, int]:
    """When each visit got into the store."""
    return {
        (place_of(entry.record.scope, entry.record.node), entry.record.visit): entry.turn
        for entry in world.history.entries
        if isinstance(entry.record, CheckpointRecord)
    }


def _repeats(world: World, interval: int, width: int) -> Iterator[str]:
    """Finished is finished; an owner that was superseded gets no further than its interval; a crash costs no more. Of
    so many branches, each has a node in flight."""
    committed = _commits(world)
    begun: dict[Visit, int] = {}
    late: dict[int, set[Visit]] = {}
    again: dict[int, set[Visit]] = {}
    for execution in world.executions:
        visit, process = (execution.node, execution.visit), execution.process
        if not execution.current:
            late.setdefault(process, set()).add(visit)
            continue
        if committed.get(visit, execution.turn) < execution.turn:
            yield f"process {process} ran visit {visit} again, which was finished and stored"
        if begun.setdefault(visit, process) != process:
            again.setdefault(process, set()).add(visit)
    for what, found in (("ran, after it was superseded,", late), ("repeated", again)):
        for process, visits in found.items():
            if len(visits) > interval + width - 1:
                yield f"process {process} {what} {sorted(visits)}, more than the interval of {interval}"
    yield from _lost_by_interrupts(world, begun, width)


def _lost_by_interrupts(world: World, begun: dict[Visit, int], width: int) -> Iterator[str]:
    """An interrupt costs the node in flight, in each branch, and no more, whatever an interval held back."""
    for process in world.processes:
        interrupts = [what for kind, what in process.struck if kind in INTERRUPTS]
        if process.status != "ended" or len(interrupts) != 1 or process.superseded_at_end:
            continue
        if STORE_FAULTS & process.injected:
            continue
        again = {
            visit
            for execution in world.executions
            if begun.get(visit := (execution.node, execution.visit)) == process.number
            and execution.process != process.number
            and execution.current  # a superseded owner that wakes up late is no cost of the interrupt
        }
        if len(again) > width:
            yield f"process {process.number}, interrupted at {interrupts[0]}, lost {sorted(again)}"


def _steps(world: World) -> Iterator[str]:
    """A finished step is finished, too: its function is not called again, and its item is there once."""
    stored: dict[Any, int] = {}
    for entry in world.history.entries:
        if isinstance(entry.record, Item):
            item = (entry.record.scope, entry.record.key)
            if item in stored and entry.record.key != STATE:  # of saved states the newest counts
                yield f"position {entry.position}: the item {item} is stored a second time"
            stored.setdefault(item, entry.turn)
    for call in world.step_calls:
        scope = call.scope
        if call.current and stored.get((scope, ""), call.turn) < call.turn:
            yield f"process {call.process} called the step {scope} again, which was finished and stored"


def _routes(world: World, expected: Expected) -> Iterator[str]:
    """An answer of a route is stored once, it is that of the uninterrupted run, and the route is not asked again."""
    stored: dict[Visit, int] = {}
    for entry in world.history.entries:
        if isinstance(entry.record, Routed):
            visit = (place_of(entry.record.scope, entry.record.node), entry.record.visit)
            if visit in stored:
                yield f"position {entry.position}: the route after {visit} has answered a second time"
            stored.setdefault(visit, entry.turn)
    for call in world.route_calls:
        visit = (call.node, call.visit)
        if call.current and stored.get(visit, call.turn) < call.turn:
            yield f"process {call.process} asked the route after {visit} again, whose answer was stored"
    wanted = {answer[:2]: answer for answer in expected.answers}
    for found in answers(world):
        if found != wanted.get(found[:2], found):
            yield f"a route answered {found}, in the uninterrupted run {wanted[found[:2]]}"
            return
    if len(stored) > len(expected.answers):
        yield f"{len(stored)} answers of routes were stored, the uninterrupted run has {len(expected.answers)}"


def _events(world: World) -> Iterator[str]:
    """Who ended on its own said so exactly once; what was told to be saved was saved."""
    labels = [
        path_of(record.scope, record.node) for record in world.history.records if isinstance(record, CheckpointRecord)
    ]
    for process in world.processes:
        events = process.recorder.events
        terminal = [event.type for event in events if event.type in TERMINAL_TYPES]
        idle = any(event.type == CHECKPOINT_LOAD and event.data.get("status") == "finished" for event in events)
        if process.status == "ended" and len(terminal) != (0 if idle else 1) and "interrupt" not in process.injected:
            yield f"process {process.number} ended with the terminal events {terminal}"
        if len(terminal) > 1:
            yield f"process {process.number} emitted the terminal events {terminal}"
        last = [event.type for event in events if event.type != CHECKPOINT_KEPT][-1:]
        if terminal and last != terminal[-1:]:
            yield f"process {process.number} emitted {last} after {terminal[-1]}"
        saved = [event.data["node"] for event in events if event.type == CHECKPOINT_SAVE]
        for node, count in Counter(saved).items():
            if count > labels.count(node):
                yield f"process {process.number} said {count} times that {node} was saved"


def _outcomes(world: World, expected: Expected) -> Iterator[str]:
    """Every process ended with the result, or with an error that is true."""
    for process in world.processes:
        if process.status not in ("ended", "crashed"):
            yield f"process {process.number} never came to an end; it is {process.status}"
        elif process.holds_lease and not _was_hurt(process):
            yield f"process {process.number} ended and kept the lease"
        elif process.state is not None:
            yield from _differences(f"process {process.number} returned", process.state, expected.values)
        elif process.error is not None and not _is_true(world, process, process.error, expected):
            yield f"process {process.number} raised {type(process.error).__name__}: {process.error}"
    if not world.is_over:
        yield "no process brought the run to its end"


def _store_failed(process: Process) -> bool:
    """Whether the store let it down; a commit that was applied and can be read back is none of that."""
    if process.superseded_at_end:
        return bool(STORE_FAULTS & process.injected)
    return any(kind in STORE_FAULTS and (kind, what) != ("lost", "store.commit") for kind, what in process.struck)


def _was_hurt(process: Process) -> bool:
    """Whether it may have been kept from letting go."""
    crucial = ("release", "store.release", "store.commit")
    broken_off = any(kind in INTERRUPTS and what in crucial for kind, what in process.struck)
    return broken_off or bool(STORE_FAULTS & process.injected)


def _is_true(world: World, process: Process, error: BaseException, expected: Expected) -> bool:
    """Whether this error tells what really happened."""
    injected, store_failed = process.injected, _store_failed(process)
    interrupted = bool(INTERRUPTS & injected)
    truths: list[tuple[type[BaseException], bool]] = [
        (RunCancelledError, world.history.cancelled),
        (LeaseLostError, process.superseded_at_end),
        (RunOwnedError, process.met_owner),
        (RunWaitingError, any(isinstance(record, Pause) for record in world.history.records)),
        (RunFinishedError, world.history.floor > 0),
        (CheckpointNotFoundError, not process.known_at_end),
        (StoreError, store_failed or interrupted),
        (RunInterruptedError, "stop" in injected),
        (KeyboardInterrupt, interrupted),
        (ExecutionError, store_failed or str(error) == expected.failure),
    ]
    return next((truth for kind, truth in truths if isinstance(error, kind)), False)


def _stored(world: World, expected: Expected) -> Iterator[str]:
    """The store holds what was acknowledged, and nothing is left open in a finished run."""
    history = world.history
    rows = dict(world.store.read(world.run_id))
    for entry in history.entries:
        if entry.position > history.floor and rows.get(entry.position) != entry.data:
            yield f"position {entry.position} was stored and is not there any more"
    summary = world.store.summary(world.run_id)
    if summary is None or not world.is_over:
        return
    last = history.entries[-1].record if history.entries else None
    ending: type[Failed | Finished | Cancelled] = Failed if expected.failure else Finished
    status = "failed" if expected.failure else "finished"
    if history.cancelled:
        ending, status = Cancelled, "cancelled"
    if not isinstance(last, ending) or summary.status != status:
        yield f"the run is over, its status is {summary.status}, its last record {type(last).__name__}"
    if summary.owner is not None or world.store.lease(world.run_id) is not None:
        yield "the run is over and still has an owner"
    admitted = (r.manifest.progress.preserve for r in history.records if isinstance(r, Admitted) and r.manifest)
    preserve = next(admitted, True)
    events = [event for process in world.processes for event in process.recorder.events]
    told = any(event.type == CHECKPOINT_KEPT for event in events)
    if not preserve and rows and status == "finished" and not told:
        yield f"the run is over and {len(rows)} of its records were left behind (preserve=False)"


def _folds(world: World) -> Iterator[str]:
    """Reading the log twice, or from any manifest on, adds up to the same."""
    entries = world.history.entries
    if not entries:
        return
    loader: Any = BlobLoader(world.store, world.run_id)
    bases = [
        number
        for number, entry in enumerate(entries)
        if isinstance(entry.record, Admitted | CheckpointRecord) and entry.record.manifest is not None
    ]
    sums = [_replay(world, loader, number) for number in (0, *bases)]
    for number, found in zip(bases, sums[1:], strict=True):
        if found != sums[0]:
            where = f"from position {entries[number].position} on"
            yield f"the log read {where} adds up to something else: {_difference(sums[0][0], found[0])}"
    whole = Replay(world.run_id, loader)
    for number, entry in enumerate(entries):
        whole.add(entry.position, entry.data)
        if number in bases:
            alone = Replay(world.run_id, loader)
            alone.add(entry.position, entry.data)
            if (found := in_flight(alone)) != (wanted := in_flight(whole)):
                yield f"the manifest at position {entry.position} says of what is in flight {found}, and not {wanted}"


def _replay(world: World, loader: Any, start: int) -> tuple[Any, dict[str, Any]]:
    replay = Replay(world.run_id, loader)
    for entry in world.history.entries[start:]:
        replay.add(entry.position, entry.data)
    return replay.progress, {key: cell.whole for key, cell in replay.values.items()}


def _difference(one: Any, other: Any) -> str:
    names = [name for name in one.__struct_fields__ if getattr(one, name) != getattr(other, name)]
    return ", ".join(f"{name} {getattr(one, name)!r} or {getattr(other, name)!r}" for name in names) or "other values"


def _differences(what: str, state: State, wanted: dict[str, bytes] | None) -> Iterator[str]:
    if wanted is None:
        yield f"{what} a state, the uninterrupted run fails"
        return
    try:
        found = encoded(state)
    except TauError as error:
        yield f"{what} a state that cannot be read: {error}"
        return
    for key in sorted(found.keys() | wanted.keys()):
        if found.get(key) != wanted.get(key):
            yield f"{what} another value under {key!r} than the uninterrupted run"
