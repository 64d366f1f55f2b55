"""What a run waits for, as its log tells it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from tau.errors import PauseExpiredError
from tau.log.records import OF_NO_PERSON, Admitted, Answer, Failed, Interrupted, Pause, Record, Scope
from tau.values.stored import Fetch, StoredValue, apply


class PauseState(Struct, frozen=True):
    """A pause of the visit in flight. ``answer`` is ``None`` while there is none, ``expired`` once the run has failed
    because of that; ``position`` is that of its record, and the times are in Unix seconds; ``changed`` are the keys of
    the state that the answer set."""

    name: str
    position: int
    scope: Scope
    asked: float
    attempt: int = 0
    deadline: float | None = None
    default: StoredValue | None = None
    prompt: str = ""
    refused: str = ""
    form: dict[str, Any] | None = None
    answer: StoredValue | None = None
    by: str = ""
    at: float = 0.0
    expired: bool = False
    changed: tuple[str, ...] = ()

    @property
    def is_open(self) -> bool:
        return self.answer is None and not self.expired

    def is_overdue(self, now: float) -> bool:
        return self.is_open and self.deadline is not None and self.deadline <= now


def note(pauses: dict[str, PauseState], record: Record, fetch: Fetch) -> None:
    """What a record of the node in flight says of its pauses, which are kept by name."""
    if isinstance(record, Pause):
        default = None if record.value is None else apply(record.value, None, fetch)
        pauses[record.name] = PauseState(
            record.name, record.position, record.scope, record.asked, record.attempt, record.deadline, default,
            record.prompt, record.refused, record.form,
        )  # fmt: skip
    elif isinstance(record, Answer):
        state = pauses.get(record.name)
        if state is not None and record.value is not None:
            answer = apply(record.value, None, fetch)
            changed = tuple(record.changed)
            pauses[record.name] = replace(state, answer=answer, by=record.by, at=record.time, changed=changed)
    elif isinstance(record, Failed):
        for name, state in pauses.items():
            if state.is_overdue(record.time):
                pauses[name] = replace(state, expired=True)


def waiting(pauses: Mapping[str, PauseState]) -> list[PauseState]:
    """Those that have no answer yet, the first asked first."""
    return sorted((one for one in pauses.values() if one.is_open), key=lambda one: (one.asked, one.name))


def is_due(pauses: Mapping[str, PauseState], now: float) -> bool:
    """Whether a run that waits may go on because time is up: a default counts, or nothing else is open."""
    left = waiting(pauses)
    late = [one for one in left if one.is_overdue(now)]
    return bool(late) and (len(late) == len(left) or any(one.default is not None for one in late))


def goes_on_at(pauses: Mapping[str, PauseState]) -> float | None:
    """When `is_due` begins to hold, if nobody answers; ``None`` for never."""
    left = waiting(pauses)
    ends = [one.deadline for one in left if one.deadline is not None]
    times = [one.deadline for one in left if one.deadline is not None and one.default is not None]
    if ends and len(ends) == len(left):
        times.append(max(ends))
    return min(times, default=None)


def free_from(record: Record, admitted: float, pauses: Mapping[str, PauseState]) -> float | None:
    """From when a worker may take a run of which this is the newest record, and which nobody owns by that; ``admitted``
    where it is admitted."""
    if isinstance(record, Admitted):
        return admitted
    if isinstance(record, Pause):
        return goes_on_at(pauses)
    return record.time if isinstance(record, Interrupted) and record.reason in OF_NO_PERSON else None


def at_a_glance(pauses: Mapping[str, PauseState], status: str) -> tuple[int, float | None]:
    """How many wait, and the earliest deadline, as a summary has them."""
    if status in ("finished", "cancelled"):
        return 0, None
    left = waiting(pauses)
    return len(left), min((one.deadline for one in left if one.deadline is not None), default=None)


def expired(run_id: str, name: str, deadline: float, then: str = "") -> PauseExpiredError:
    """Why nothing counts as an answer any more."""
    at = datetime.fromtimestamp(deadline, UTC)
    return PauseExpiredError(
        f"pause {name!r} of run {run_id!r} was not answered by its deadline, {at:%Y-%m-%d %H:%M:%S} UTC{then}",
        run_id=run_id,
        name=name,
        deadline=at,
    )
