"""What a store holds, in numbers: runs by status, checkpoints, bytes, and how resumes ended."""

from __future__ import annotations

from collections import Counter
from typing import Final

from msgspec import Struct

from tau.errors import CheckpointNotFoundError, CorruptCheckpointError, UnsupportedFormatError
from tau.log.contained import NamedBlobs, values_in
from tau.log.encoding import unseal
from tau.log.records import (
    EARLY,
    Admitted,
    AnyRecord,
    Cancelled,
    CheckpointRecord,
    Claimed,
    Failed,
    Finished,
    Interrupted,
    Item,
    Pause,
)
from tau.operations.transfer import StoreLike
from tau.spelling import names_keywords
from tau.stores.contract import Store, Summary
from tau.stores.registry import resolve_store
from tau.values.stored import Inline

_ENDINGS: Final = (Failed, Interrupted, Pause, Finished, Cancelled)


class RunStats(Struct, kw_only=True):
    """One run in numbers. Reading it raises nothing.

    ``checkpoints`` counts finished visits of nodes, ``items`` finished items of these. Of the ``resumes``, those have
    ``succeeded`` after which the run finished, waited for people or was stopped, and those ``failed`` after which it
    failed or was killed; one that is at work counts for neither. ``interval_seconds`` is the mean time from one
    checkpoint of an attempt to the next. ``keys`` says how many bytes were stored for each key of the state over the
    whole run, and under ``(items)`` for the items. ``size_bytes`` is that of the records and of all blobs, these before
    compression. ``damage`` is the first thing that could not be read, empty where all was; what lies behind it is not
    counted, and `verify` says all.

    >>> from tau import StateGraph, stats
    >>> graph = StateGraph("one", store="sqlite:///tau.db")
    >>> graph.add_node("work", lambda state: {"n": state["n"] + 1})
    >>> graph.sequence("work")
    >>> for number in range(3):
    ...     _ = graph.execute({"n": number}, run_id=f"one-{number}")
    >>> newest = stats(graph.store, limit=1).runs[0]
    >>> newest.run_id, newest.checkpoints, newest.resumes, newest.keys["n"] > 0
    ('one-2', 1, 0, True)
    """

    run_id: str
    graph: str
    status: str
    damage: str = ""
    checkpoints: int = 0
    items: int = 0
    resumes: int = 0
    succeeded: int = 0
    failed: int = 0
    interval_seconds: float | None = None
    records: int = 0
    size_bytes: int = 0
    keys: dict[str, int] = {}


class Stats(Struct, frozen=True, kw_only=True):
    """A store in numbers: how many runs have each status, and each run. Reading it raises nothing.

    >>> from tau import StateGraph, stats
    >>> graph = StateGraph("one", store="sqlite:///tau.db")
    >>> graph.add_node("work", lambda state: {"n": state["n"] + 1})
    >>> graph.sequence("work")
    >>> for number in range(3):
    ...     _ = graph.execute({"n": number}, run_id=f"one-{number}")
    >>> stats(graph.store).statuses
    {'finished': 3}
    """

    statuses: dict[str, int]
    runs: tuple[RunStats, ...]

    @property
    def checkpoints(self) -> int:
        """Finished visits of nodes of all runs."""
        return sum(one.checkpoints for one in self.runs)

    @property
    def size_bytes(self) -> int:
        """What is stored of all runs; values before compression."""
        return sum(one.size_bytes for one in self.runs)

    @property
    def damaged(self) -> tuple[str, ...]:
        """The ids of the runs that could not be read as a whole, and so are not counted as a whole."""
        return tuple(one.run_id for one in self.runs if one.damage)

    @property
    def resumes(self) -> int:
        """How many resumes there were."""
        return sum(one.resumes for one in self.runs)

    @property
    def resume_success_rate(self) -> float | None:
        """The part of the resumes that have ended which succeeded, from 0 to 1; ``None`` if there were none."""
        succeeded = sum(one.succeeded for one in self.runs)
        ended = succeeded + sum(one.failed for one in self.runs)
        return succeeded / ended if ended else None

    @property
    def interval_seconds(self) -> float | None:
        """The mean time from one checkpoint to the next in one attempt, in seconds; ``None`` where there is none."""
        known = [(one.interval_seconds, one.checkpoints) for one in self.runs if one.interval_seconds is not None]
        return sum(mean * count for mean, count in known) / sum(count for _, count in known) if known else None


@names_keywords
def stats(store: StoreLike, *, graph: str | None = None, limit: int | None = None) -> Stats:
    """A store in numbers: of the runs of one graph, or of all; the ``limit`` newest ones.

    The logs are read one after the other, no values. Nothing is written. What cannot be read of a run is not counted,
    and the run is among the ``damaged``; damage to values is found by `verify` only.
    Raises `StoreError` if the store fails, and what `open_store` raises for ``store``.

    >>> from tau import StateGraph, stats
    >>> graph = StateGraph("one", store="sqlite:///tau.db")
    >>> graph.add_node("work", lambda state: {"n": state["n"] + 1})
    >>> graph.sequence("work")
    >>> for number in range(3):
    ...     _ = graph.execute({"n": number}, run_id=f"one-{number}")
    >>> [one.run_id for one in stats("sqlite:///tau.db", graph="one").runs]
    ['one-2', 'one-1', 'one-0']
    """
    place = resolve_store(store)
    rows = place.runs(graph=graph, limit=limit)
    return Stats(statuses=dict(Counter(row.status for row in rows)), runs=tuple(run_stats(place, row) for row in rows))


def run_stats(store: Store, row: Summary) -> RunStats:
    """One run in numbers."""
    counting = _Counting(row)
    try:
        if row.status == "damaged":
            store.summary(row.run_id)
            store.lease(row.run_id)
            counting.found.damage = "its summary cannot be read"
        for position, data in store.scan(row.run_id) if row.base else ():
            counting.place(position)
            counting.add(len(data), unseal(row.run_id, position, data))
        counting.whole()
    except (CorruptCheckpointError, UnsupportedFormatError, CheckpointNotFoundError) as error:
        if row.status == "damaged" or _is_still_there(store, row):
            counting.found.damage = str(error)
    return counting.end()


def _is_still_there(store: Store, row: Summary) -> bool:
    """Whether a run has not been deleted since it was listed."""
    try:
        now = store.summary(row.run_id)
    except (CorruptCheckpointError, UnsupportedFormatError):
        return True
    return now is not None and now.base > 0 and now.created == row.created


class _Counting:
    """The numbers of one run, record by record."""

    def __init__(self, row: Summary) -> None:
        self.found = RunStats(run_id=row.run_id, graph=row.graph, status=row.status, keys={})
        self._row = row
        self._last = 0
        self._named = NamedBlobs()
        self._attempt = ""  # what is under way: a start, or a resume
        self._before: float | None = None
        self._intervals: list[float] = [0.0, 0.0]  # how many, and their sum

    def place(self, position: int) -> None:
        """Note that a record lies at this position. Raises `CorruptCheckpointError` where some before it are missing;
        a history that was cut begins at a manifest."""
        if self._last or position > self._row.base:
            self._expect(position - 1)
        self._last = position

    def whole(self) -> None:
        """Raises `CorruptCheckpointError` if the last records are missing."""
        if self._row.base:
            self._expect(self._row.position)

    def _expect(self, last: int) -> None:
        if self._last < last:
            raise CorruptCheckpointError(f"records {self._last + 1} to {last} are missing")

    def add(self, size: int, record: AnyRecord) -> None:
        found = self.found
        found.records, found.size_bytes = found.records + 1, found.size_bytes + size
        self._bytes(record)
        if isinstance(record, Item):
            found.items += 1
        elif isinstance(record, CheckpointRecord):
            found.checkpoints += 1
            if self._before is not None and not record.scope:
                self._intervals = [self._intervals[0] + 1, self._intervals[1] + record.time - self._before]
            self._before = self._before if record.scope else record.time
        elif isinstance(record, Admitted):
            self._attempt = "start"
        elif isinstance(record, Claimed):
            self._claim()
        elif isinstance(record, _ENDINGS) and not _is_inside(record):
            self._ends(failed=isinstance(record, Failed))

    def _claim(self) -> None:
        if self._attempt != "start":
            self._ends(failed=True)  # the one before was killed
            self.found.resumes += 1
            self._attempt = "resume"
        else:
            self._attempt = "begun"
        self._before = None

    def _ends(self, *, failed: bool) -> None:
        if self._attempt == "resume":
            self.found.failed += failed
            self.found.succeeded += not failed
        self._attempt, self._before = "", None

    def _bytes(self, record: AnyRecord) -> None:
        found = self.found
        items = isinstance(record, Item)
        for key, part in self._named.new_in(record):
            self._note("(items)" if items else key, part.size)
            found.size_bytes += part.size
        for key, stored in values_in(record):
            if isinstance(stored, Inline):  # part of its record
                self._note("(items)" if items else key, len(stored.data))

    def _note(self, key: str, size: int) -> None:
        self.found.keys[key] = self.found.keys.get(key, 0) + size

    def end(self) -> RunStats:
        if self.found.status == "dead":
            self._ends(failed=True)
        count, total = self._intervals
        self.found.interval_seconds = total / count if count else None
        return self.found


def _is_inside(record: AnyRecord) -> bool:
    """Whether the run goes on after it: it is about a graph inside a node, or asked while other branches work."""
    if isinstance(record, Pause):
        return bool(record.body.get(EARLY))
    return bool(record.scope)
