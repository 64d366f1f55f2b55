"""A record as a journal holds it: sealed, with the summary as of it and what is needed to write it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from tau.log.encoding import pack_blob, seal
from tau.log.items import FinishedItems
from tau.log.pauses import PauseState, at_a_glance, free_from
from tau.log.planned import Plans, note_planned
from tau.log.records import Item, Progress, Record, Routed
from tau.stores.contract import Owner, Summary
from tau.values.stored import StoredValue


class Sealed(Struct, gc=False):
    """A sealed record: the summary as of it, the cells it sets and what is stored for them, its node where it is a
    checkpoint (``inside`` another node: the path)."""

    data: bytes
    summary: Summary
    cells: Sequence[StoredValue] = ()
    blobs: tuple[tuple[bytes, bytes], ...] = ()
    checkpoint: str = ""
    inside: bool = False


def nothing(position: int, base: int) -> Sealed:
    """What stands for the record at that position where it is not known."""
    return Sealed(b"", Summary(run_id="", graph="", status="", position=position, base=base))


class Owned(Protocol):
    """What is known of a run while a process owns it."""

    run_id: str
    owner: Owner
    pauses: dict[str, PauseState]
    not_before: float
    items: FinishedItems
    plans: Plans
    finished: int


def seal_items(
    run: Owned, finished: Sequence[tuple[Item, StoredValue]], before: Summary, *, token: bytes, time: float
) -> list[Sealed]:
    """The records of items that follow one another, sealed behind the one with the summary ``before``; they are noted
    as finished. Raises as `seal`."""
    run.not_before = min(run.not_before, time)
    made, position = [], before.position
    newest = replace(before, updated=time, not_before=run.not_before)
    number, planned = _at_work(run)
    for record, cell in finished:
        position, number = position + 1, number + 1
        record.position, record.token, record.time = position, token, time
        run.items[record.scope, record.key] = cell
        note_planned(run.plans, record)
        blobs = tuple([(name, pack_blob(data)) for name, data in cell.blobs]) if cell.blobs else ()
        summary = replace(newest, position=position, items=number, planned=planned)
        made.append(Sealed(seal(run.run_id, record), summary, (cell,), blobs))
    return made


def _at_work(run: Owned) -> tuple[int, int | None]:
    """How many items of the node in flight are finished, and how many there are in all where that is known: where it
    works through one list, those of that list."""
    if len(run.plans) != 1:
        return run.finished, None
    (plan,) = run.plans.values()
    return plan.finished_count, len(plan) if plan.complete else None


def summary_of(run: Owned, record: Record, progress: Progress, before: Summary | None, *, base: int) -> Summary:
    """The run at a glance as of that record; it is as far as it was ``before``, where that is given."""
    status = progress.status
    at = progress if before is None else before
    following = record.next if type(record) is Routed and not record.scope else at.next
    items, planned = _at_work(run) if run.finished or run.plans else (0, None)
    pauses, deadline = at_a_glance(run.pauses, status) if run.pauses else (0, None)
    return Summary(
        run_id=run.run_id,
        graph=progress.graph,
        status=status,
        position=record.position,
        base=base,
        node=at.node,
        iterations=progress.iteration if before is None else before.iterations,
        tags=progress.tags,
        owner=run.owner if status == "running" else None,
        created=progress.created,
        updated=record.time,
        pauses=pauses,
        deadline=deadline,
        next=following,
        items=items,
        planned=planned,
        not_before=run.not_before if status == "running" else free_from(record, run.not_before, run.pauses),
    )
