"""What is to be added to a run's log."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from tau.log.records import Progress, Record
from tau.values.stored import StoredValue


class Append(Struct):
    """Append these records; reply: the node of the newest checkpoint that is on disk by that, or nothing.

    ``expected`` is given with the first append of a run, ``flush`` with one that must not be held back. ``values`` are
    the cells as of the newest record. ``ending`` marks the last append of an attempt: its records are added only where
    the run is owned and has not ended yet, and what is held back is committed in any case. ``packed`` are blobs of
    these that are compressed already, by name; ``cells`` are what pauses among these say. With ``later`` they are held
    back whatever the interval: another append follows at once. ``around`` is the state of the run, for a record of a
    graph inside a node. ``not_before`` is the time in Unix seconds from which a worker may take a run that is admitted,
    the time of the record by default, and ``backoff`` for how many seconds none takes one that is claimed, should it
    die again.
    """

    records: tuple[Record, ...]
    progress: Progress
    values: Mapping[str, StoredValue]
    flush: bool = False
    expected: int | None = None
    ending: bool = False
    packed: Mapping[bytes, bytes] | None = None
    cells: tuple[StoredValue, ...] = ()
    later: bool = False
    around: Mapping[str, StoredValue] | None = None
    not_before: float | None = None
    backoff: float = 0.0
