"""What others may append to a run beside its owner: answers. The owner goes on behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from tau.errors import TauError
from tau.log.encoding import seal, unseal
from tau.log.pauses import PauseState, at_a_glance, goes_on_at
from tau.log.records import ANSWERED, Answer, AnyRecord, Interrupted, Pause, Progress, Record
from tau.log.sealed import Sealed
from tau.stores.contract import Store


def between(store: Store, run_id: str, now: Sequence[Sealed]) -> tuple[list[Answer], int]:
    """The answers behind the newest record that is known to be stored, ``now[0]``, and how many of those that are held
    back are stored before them, by a commit whose reply was lost. No answers where there is anything else."""
    rows = store.read(run_id, now[0].summary.position)
    mine = 0
    while mine < min(len(rows), len(now) - 1) and rows[mine][1] == now[mine + 1].data:
        mine += 1
    found = []
    for position, data in rows[mine:]:
        try:
            record: AnyRecord = unseal(run_id, position, data)
        except TauError:  # whoever reads the run is told
            return [], mine
        if not isinstance(record, Answer) or record.changed:
            return [], mine
        found.append(record)
    if found:
        for one in now[1 : mine + 1]:
            for cell in one.cells:  # what was only needed to write them
                cell.change, cell.blobs = None, ()
    return found, mine


def still_open(records: tuple[Record, ...], pauses: Mapping[str, PauseState], progress: Progress) -> tuple[Record, ...]:
    """How an attempt ends, without the questions that it asked again and that were answered before it ended: where
    there is one, the run can go on."""
    answered = [
        one
        for one in records
        if isinstance(one, Pause) and not one.refused and (state := pauses.get(one.name)) and state.answer is not None
    ]
    if not answered:
        return records
    progress.status = "interrupted"
    left = [one for one in records if one not in answered]
    return (*left, Interrupted(reason=ANSWERED, attempt=answered[0].attempt))


def behind(
    now: Sequence[Sealed], answers: Sequence[Answer], *, pauses: Mapping[str, PauseState], token: bytes
) -> list[Sealed]:
    """The newest answer, and behind it what is held back, ``now[1:]``, sealed for the positions after it.

    A question that was asked again, and has its answer by now, is left out: the run can go on.
    """
    held, answered = now[1:], {one.name for one in answers}
    last = replace(now[0].summary, position=answers[-1].position, updated=answers[-1].time)
    found, later, skipped = [_waiting(Sealed(b"", last), pauses)], False, None
    first = held[0].summary.position if held else 0
    for one in held:
        record = unseal(last.run_id, one.summary.position, one.data)
        later = later or bool(one.checkpoint and not one.inside)
        if isinstance(record, Pause) and not later and record.name in answered and not record.refused:
            skipped = record
            continue
        record.position, record.token = last.position + len(found), token
        summary = one.summary
        base = summary.base + last.position + 1 - first if summary.base >= first else summary.base
        summary = replace(summary, position=record.position, base=base)
        moved = Sealed(seal(last.run_id, record), summary, one.cells, one.blobs, one.checkpoint, one.inside)
        found.append(_waiting(moved, pauses))
    if skipped is not None:
        position, before = last.position + len(found), held[-1].summary
        record = Interrupted(position, token, before.updated, reason=ANSWERED, attempt=skipped.attempt)
        summary = replace(before, position=position, status="interrupted", owner=None, not_before=record.time)
        found.append(_waiting(Sealed(seal(last.run_id, record), summary), pauses))
    return found


def _waiting(sealed: Sealed, pauses: Mapping[str, PauseState]) -> Sealed:
    count, deadline = at_a_glance(pauses, sealed.summary.status)
    sealed.summary = replace(sealed.summary, pauses=count, deadline=deadline)
    if sealed.summary.status == "waiting":
        sealed.summary = replace(sealed.summary, not_before=goes_on_at(pauses))
    return sealed
