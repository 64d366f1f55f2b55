"""Run ids in short: what a beginning of one stands for, and how much of one is enough."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence

from tau.cli.output import screen
from tau.errors import CheckpointNotFoundError, ConfigError, CorruptCheckpointError
from tau.stores import Store, Summary
from tau.stores.summaries import unreadable

LEAST = 8
"""So many characters are shown of an id that tau made, or more; a command that changes a run wants as many."""
NAMED = 8
"""So many of the runs that may be meant are named."""

is_made = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}").fullmatch
"""Whether tau made that id, a UUID, as no other was given."""


def meant_by(store: Store, beginning: str, *, changes: bool = False) -> str | None:
    """The id of the one run whose id begins so; ``None`` where there is none.

    ``changes``: the run is to be changed. Then only ids that tau made are found by their beginning: of those that
    people give, one is often the beginning of another. Raises `ConfigError` where there are several,
    `CheckpointNotFoundError` where more of the id is needed.
    """
    ids = sorted(store.run_ids(beginning))
    if len(ids) <= NAMED:
        found = [row for run_id in ids if (row := _row(store, run_id)) is not None]
    else:
        found = [unreadable(run_id) for run_id in ids]
    if changes:
        made = [row for row in found if is_made(row.run_id)]
        if made and len(beginning) < LEAST:
            raise CheckpointNotFoundError(
                f"no run {beginning!r} in {store.location}; what changes a run takes at least {LEAST} characters of "
                f"an id: {_named(made)}",
                run_id=beginning,
            )
        found = made
    if len(found) > 1:
        raise ConfigError(
            f"{beginning!r} is the beginning of {len(found)} run ids in {store.location}; write more of the one that "
            f"is meant: {_named(found)}"
        )
    return found[0].run_id if found else None


def _row(store: Store, run_id: str) -> Summary | None:
    try:
        row = store.summary(run_id)
    except CorruptCheckpointError:
        return unreadable(run_id)
    return row if row is not None and row.status != "deleted" else None


def _named(rows: Sequence[Summary]) -> str:
    more = f" and {len(rows) - NAMED} more" if len(rows) > NAMED else ""
    return ", ".join(_about(row) for row in rows[:NAMED]) + more


def _about(row: Summary) -> str:
    about = ", ".join(filter(None, (row.graph, row.status if row.graph else "")))
    return f"{row.run_id} ({about})" if about else row.run_id


def in_short(store: Store | None, run_ids: Sequence[str], *, all_of_them: bool = False) -> Callable[[str], str]:
    """What ids are shown as in a table: on a terminal those that tau made as short as the store allows, and whole
    elsewhere. ``all_of_them``: the store has no others."""
    if store is None or not screen.on_terminal() or not any(map(is_made, run_ids)):
        return str
    short = shortened(run_ids, run_ids if all_of_them else store.run_ids())
    return lambda run_id: short.get(run_id, run_id)


def shortened(run_ids: Sequence[str], known: Iterable[str]) -> Mapping[str, str]:
    """For each of the ids that tau made, as much of it as no other of the ``known`` ones begins with."""
    everything = sorted({*known, *run_ids})
    found = {}
    for run_id in filter(is_made, run_ids):
        at = bisect_left(everything, run_id)
        beside = [one for one in everything[max(0, at - 1) : at + 2] if one != run_id]
        found[run_id] = run_id[: max([LEAST, *(_shared(run_id, one) + 1 for one in beside)])]
    return found


def _shared(one: str, other: str) -> int:
    """How many characters both begin with."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
