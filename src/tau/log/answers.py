"""Answers to pauses, from any process, and what becomes of a pause that nobody answered in time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from tau.errors import (
    AnsweredError,
    AnswerError,
    CheckpointNotFoundError,
    CorruptCheckpointError,
    PauseNotFoundError,
    UnserializableError,
)
from tau.host import Host
from tau.log.encoding import pack_blob, seal
from tau.log.json_schema import problems
from tau.log.loading import BlobLoader, LoadedRun, catch_up, emptied, load, not_found, was_cancelled
from tau.log.pauses import PauseState, at_a_glance, expired, goes_on_at, is_due, note, waiting
from tau.log.records import Answer, Failed, Record, describe
from tau.log.replay import Replay, status_after
from tau.log.subgraphs import node_of_scope
from tau.state_names import check_key
from tau.stores.contract import Batch, PositionConflict, Query, Store, Summary
from tau.values import Refused, encode
from tau.values.stored import StoredValue, alone, make

Plain = Callable[[PauseState, Any], Any]
DEADLINE = "deadline"
"""Who answered, where the default did."""


class OpenPause(Struct, frozen=True, kw_only=True):
    """A question that waits for an answer: ``name`` in ``run_id``, asked by ``node`` at ``asked_at``.

    ``form`` is the JSON schema of an answer, ``None`` where anything is one. After ``deadline`` the default counts
    (``has_default``), or the run fails. ``refused`` says why an earlier answer did not fit. ``editable``: an answer may
    change the state, too. Reading any of these raises nothing.

    >>> from tau import RunWaitingError, StateGraph, pause_node
    >>> graph = StateGraph("review", store="sqlite:///tau.db")
    >>> graph.add_node("approve", pause_node("approved", form=bool, prompt="publish?"))
    >>> graph.sequence("approve")
    >>> try:
    ...     graph.execute({}, run_id="review-1")
    ... except RunWaitingError:
    ...     print([(one.run_id, one.name, one.prompt, one.form) for one in graph.pauses()])
    [('review-1', 'approved', 'publish?', {'type': 'boolean'})]
    """

    run_id: str
    graph: str
    name: str
    node: str
    asked_at: datetime
    prompt: str = ""
    form: dict[str, Any] | None = None
    deadline: datetime | None = None
    has_default: bool = False
    refused: str = ""
    editable: bool = False


class _Seen(Struct):
    """A run as it was at one moment, and from where."""

    store: Store
    host: Host
    summary: Summary
    found: LoadedRun
    replay: Replay | None = None


def open_pauses(store: Store, host: Host, *, run_id: str | None = None, graph: str | None = None) -> list[OpenPause]:
    """What waits for an answer, the first asked first: in one run, or in all of a store.

    What is past its deadline is answered by its default, or its run fails. Raises `CheckpointNotFoundError` for a run
    that the store does not hold.
    """
    if run_id is not None:
        summary = store.summary(run_id)
        if summary is None or summary.status == "deleted":
            raise not_found(run_id, store)
        rows: Sequence[Summary] = [summary]
    else:
        rows = [row for row in store.select(Query(graph=graph)) if row.pauses]
    found = [one for row in rows if row.base for one in _open_in(store, row, host)]
    return sorted(found, key=lambda one: (one.asked_at, one.run_id, one.name))


def _open_in(store: Store, row: Summary, host: Host) -> list[OpenPause]:
    try:
        seen = _look(store, row.run_id, host)
        while _end_overdue(seen):
            seen = _look(store, row.run_id, host)
    except CheckpointNotFoundError:  # deleted meanwhile
        return []
    found = seen.found
    if found.status in ("finished", "cancelled") or found.damaged:
        return []
    node = (found.progress.next if found.progress is not None else None) or ""
    return [_shown(row.run_id, row.graph, node, one) for one in waiting(found.pauses)]


def _shown(run_id: str, graph: str, node: str, state: PauseState) -> OpenPause:
    return OpenPause(
        run_id=run_id,
        graph=graph,
        name=state.name,
        node=node_of_scope(state.scope) if state.scope else node,
        asked_at=datetime.fromtimestamp(state.asked, UTC),
        prompt=state.prompt,
        form=state.form,
        deadline=None if state.deadline is None else datetime.fromtimestamp(state.deadline, UTC),
        has_default=state.default is not None,
        refused=state.refused,
        editable=not state.scope,
    )


def answer(
    store: Store,
    run_id: str,
    answers: Mapping[str, Any],
    host: Host,
    *,
    by: str,
    plain: Plain | None = None,
    changes: Mapping[str, Any] | None = None,
    again: bool = False,
) -> None:
    """Answer pauses of a run, all of them or none, with plain data as JSON has it where they have a form; ``plain``
    makes that of an answer.

    With ``again`` an answer that is there already and is the same is no error. Raises what `StateGraph.answer` does.
    """
    seen: _Seen | None = None
    while True:
        seen = _look(store, run_id, host, seen)
        if _end_overdue(seen):
            continue
        found = seen.found
        cells = {}
        for name, value in answers.items():
            state = found.pauses.get(name)
            given = value if state is None or plain is None else plain(state, value)
            if state is not None and state.form is not None and (wrong := problems(state.form, given)):
                raise misfit(run_id, name, wrong)
            cells[name] = _cell(run_id, name, None if state is None else given)  # that it is not asked comes first
        states = [_answerable(seen, name, cells[name], again) for name in answers]
        records: list[Record] = [Answer(scope=one.scope, name=one.name, by=by) for one in states if one is not None]
        if not records:
            return
        changed = _changed(run_id, changes or {}, found, [one for one in states if one is not None])
        if _append(seen, records, cells, changed):
            return


def _cell(run_id: str, name: str, value: Any) -> StoredValue:
    try:
        return alone(encode(value))
    except Refused as refused:
        raise UnserializableError(
            f"the answer to {name!r} of run {run_id!r} cannot be stored: answer{refused.path} of type "
            f"{refused.type_name}: {refused.reason}",
            key=name,
            path=f"answer{refused.path}",
            type_name=refused.type_name,
        ) from None


def _look(store: Store, run_id: str, host: Host, before: _Seen | None = None) -> _Seen:
    """A run and its summary, both of one moment. Where it was seen before, only the rest is read, so that an owner who
    commits all the time leaves the moment that an answer needs."""
    replay = None if before is None else before.replay
    while True:
        summary = store.summary(run_id)
        if summary is None or summary.status == "deleted":
            raise not_found(run_id, store)
        if summary.base == 0:
            raise emptied(run_id, summary.status, summary.updated)
        if replay is None or not _is_older(replay, summary):
            found, replay = load(store, run_id)
        else:
            found = catch_up(store, summary, replay)
        if found.position == summary.position:
            return _Seen(store, host, summary, found, replay)


def _is_older(replay: Replay, summary: Summary) -> bool:
    """Whether it may be an earlier moment of the same run."""
    progress = replay.progress
    return progress is not None and progress.created == summary.created and replay.position <= summary.position


def _answerable(seen: _Seen, name: str, cell: StoredValue, again: bool) -> PauseState | None:
    """The pause, if it waits; ``None`` if this is its answer already."""
    found, run_id, now = seen.found, seen.summary.run_id, seen.host.now()
    if found.status == "cancelled":
        raise was_cancelled(run_id, found.cancelled, advice=", so it waits for no answer; start a new run")
    if found.damaged:
        raise CorruptCheckpointError(
            f"run {run_id!r} cannot be answered: {found.damaged}; resume it, then it asks again", run_id=run_id
        )
    state = found.pauses.get(name)
    if state is None:
        raise _unknown(run_id, name, found)
    if state.expired or (state.answer is not None and state.by == DEADLINE):
        assert state.deadline is not None
        then = "; its default counts" if state.answer is not None else "; resume the run, and it asks anew"
        raise expired(run_id, name, state.deadline, then)
    if state.answer is None:
        if state.is_overdue(now):  # its owner will find that out
            assert state.deadline is not None
            raise expired(run_id, name, state.deadline)
        return state
    if again and state.answer.data() == cell.data():
        return None
    at = datetime.fromtimestamp(state.at, UTC)
    raise AnsweredError(
        f"pause {name!r} of run {run_id!r} was answered by {state.by} at {at:%Y-%m-%d %H:%M:%S} UTC; that answer "
        "counts: resume the run",
        run_id=run_id,
        name=name,
        by=state.by,
        at=at,
    )


def _unknown(run_id: str, name: str, found: LoadedRun) -> PauseNotFoundError:
    names, hint = tuple(one.name for one in waiting(found.pauses)), ""
    if found.status == "finished":
        why = "it is finished, and waits for nothing"
    elif names:
        why = f"it waits for an answer to {', '.join(map(repr, names))}"
    else:
        why, hint = f"it waits for nothing, its status is {found.status}", "`tau pauses` shows what waits"
    said = f"run {run_id!r} has no pause {name!r} now: {why}"
    return PauseNotFoundError(said, hint=hint, run_id=run_id, name=name, waiting=names)


def misfit(run_id: str, name: str, wrong: Sequence[str]) -> AnswerError:
    """The error for an answer that is not what was asked for."""
    return AnswerError(
        f"the answer does not fit pause {name!r} of run {run_id!r}: {'; '.join(wrong)}; correct it and answer again",
        run_id=run_id,
        name=name,
        problems=tuple(wrong),
    )


def _changed(
    run_id: str, changes: Mapping[str, Any], found: LoadedRun, states: Sequence[PauseState]
) -> dict[str, StoredValue]:
    """The cells of what an answer changes in the state."""
    if not changes:
        return {}
    if len(states) != 1 or states[0].scope or found.status != "waiting":
        raise AnswerError(
            f"run {run_id!r}: only the answer to a pause_node can change the state, of the graph itself and not of a "
            "graph inside a node, and only while the run waits; leave out the changes",
            run_id=run_id,
            name=states[0].name,
        )
    source, changed = f"the changes of the answer to {states[0].name!r}", {}
    for key, value in changes.items():
        name = check_key(key, None, source)
        cell = make(name, value, found.values.get(name), None, source)
        if cell is not None:
            changed[name] = cell
    return changed


def _end_overdue(seen: _Seen) -> bool:
    """Whether a pause was past its deadline and is no longer open, or another process changed the run meanwhile: look
    again. A run that somebody owns is left to its owner, one that may go on to whoever does."""
    if _answer_late(seen):
        return True
    found, run_id, late = seen.found, seen.summary.run_id, _late(seen)
    if (
        found.status != "waiting"
        or found.progress is None
        or found.damaged
        or not is_due(found.pauses, seen.host.now())
    ):
        return False
    first = min(late, key=lambda one: one.deadline or 0.0)
    error = expired(run_id, first.name, first.deadline or 0.0)
    failed = Failed(node=found.progress.next or "", failure=describe(error), attempt=first.attempt)
    _append(seen, [failed], {}, {})
    return True


def answer_overdue(store: Store, run_id: str, found: LoadedRun, host: Host) -> bool:
    """The same for who is about to take the run: the defaults are committed, and what has none is noted as ``overdue``,
    for it is to fail in the run."""
    summary = store.summary(run_id)
    if summary is None or summary.position != found.position:
        return True
    seen = _Seen(store, host, summary, found)
    if _answer_late(seen):
        return True
    found.overdue = is_due(found.pauses, host.now())
    return False


def _late(seen: _Seen) -> list[PauseState]:
    now = seen.host.now()
    return [one for one in seen.found.pauses.values() if one.is_overdue(now)]


def _answer_late(seen: _Seen) -> bool:
    found = seen.found
    defaults = {one.name: one.default for one in _late(seen) if one.default is not None}
    ownerless = found.status in ("waiting", "interrupted", "failed") and not found.damaged
    if not defaults or not ownerless:
        return False
    records: list[Record] = [Answer(scope=found.pauses[name].scope, name=name, by=DEADLINE) for name in defaults]
    _append(seen, records, defaults, {})
    return True


def _append(
    seen: _Seen, records: Sequence[Record], answers: Mapping[str, StoredValue], changed: Mapping[str, StoredValue]
) -> bool:
    """Commit these records from outside, without taking the run from who owns it; ``False`` where it has changed."""
    store, found, run_id = seen.store, seen.found, seen.summary.run_id
    status, now, pauses = found.status, seen.host.now(), dict(found.pauses)
    token = b"%b-1" % seen.host.token().hex().encode()
    sealed, blobs = [], [blob for cell in changed.values() for blob in cell.blobs]
    for number, record in enumerate(records, found.position + 1):
        record.position, record.token, record.time = number, token, now
        if isinstance(record, Answer):
            cell = answers[record.name]
            record.value = cell.whole
            blobs += cell.blobs
            if number == found.position + 1:
                record.changed = {key: one.change for key, one in changed.items() if one.change is not None}
        sealed.append(seal(run_id, record))
        note(pauses, record, BlobLoader(store, run_id))
        status = status_after(record, status)
    count, deadline = at_a_glance(pauses, status)
    after = replace(
        seen.summary,
        position=found.position + len(records),
        status=status,
        owner=seen.summary.owner if status == "running" else None,
        updated=now,
        pauses=count,
        deadline=deadline,
        not_before=_from(seen.summary, status, now, pauses),
    )
    packed = tuple((name, pack_blob(data)) for name, data in blobs)
    result = store.committer.commit(Batch(run_id, found.position, token, tuple(sealed), packed, after))
    if isinstance(result, PositionConflict):
        return False
    if isinstance(result, Exception):
        raise result
    return True


def _from(before: Summary, status: str, now: float, pauses: Mapping[str, PauseState]) -> float | None:
    """From when a worker may take the run: one that waited for this goes on."""
    if before.status == "waiting" and status == "interrupted":
        return now
    return goes_on_at(pauses) if status == "waiting" else before.not_before if status == before.status else None
