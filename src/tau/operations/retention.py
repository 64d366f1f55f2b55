"""Runs that have ended and are over a limit are removed, with all that belongs to them."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Iterator
from contextlib import suppress

from msgspec import Struct

from tau.checks import directory
from tau.config import Retention
from tau.errors import ConfigError, CorruptCheckpointError, UnsupportedFormatError
from tau.host import Host
from tau.log.chained import all_cells
from tau.log.encoding import unseal
from tau.log.loading import MOVED, load
from tau.log.records import Cancelled
from tau.operations.left_copies import remove_left
from tau.operations.stats import run_stats
from tau.operations.stored_run import ENDED
from tau.operations.transfer import StoreLike
from tau.operations.trimming import trim_run
from tau.spelling import names_keywords
from tau.stores.artifact_files import place_of, remove
from tau.stores.contract import PositionConflict, Query, Store, Summary
from tau.stores.names import directory_of, run_of
from tau.stores.registry import resolve_store
from tau.values.relocation import may_hold_artifact


class Removal(Struct, frozen=True, kw_only=True):
    """A run that was removed, or would be: the time of its end in Unix seconds, and the limit that it is over,
    ``keep_last``, ``max_age`` or ``max_bytes``. Reading it raises nothing.

    >>> from tau import StateGraph, Retention, collect_runs
    >>> graph = StateGraph("one", store="sqlite:///tau.db")
    >>> graph.add_node("work", lambda state: {"n": state["n"] + 1})
    >>> graph.sequence("work")
    >>> for number in range(3):
    ...     _ = graph.execute({"n": number}, run_id=f"one-{number}")
    >>> [(one.run_id, one.limit) for one in collect_runs(graph.store, Retention(keep_last=2)).removed]
    [('one-0', 'keep_last')]
    """

    run_id: str
    graph: str
    status: str
    ended: float
    limit: str


class Collected(Struct, frozen=True, kw_only=True):
    """What was removed, or in a ``dry_run`` would be, why runs over a limit stay, by their ids, and of which runs the
    history was cut (``trimmed``). Reading it raises nothing.

    >>> from tau import StateGraph, Retention, collect_runs
    >>> graph = StateGraph("one", store="sqlite:///tau.db")
    >>> graph.add_node("work", lambda state: {"n": state["n"] + 1})
    >>> graph.sequence("work")
    >>> for number in range(3):
    ...     _ = graph.execute({"n": number}, run_id=f"one-{number}")
    >>> collected = collect_runs(graph.store, Retention(keep_last=2), dry_run=True)
    >>> len(collected.removed), collected.kept, collected.dry_run
    (1, {}, True)
    """

    removed: tuple[Removal, ...]
    kept: dict[str, str]
    dry_run: bool
    trimmed: tuple[str, ...] = ()


@names_keywords
def collect_runs(
    store: StoreLike,
    retention: Retention | None,
    *,
    graph: str | None = None,
    artifacts: str | os.PathLike[str] | None = None,
    dry_run: bool = False,
    trim: bool = False,
) -> Collected:
    """Remove runs that have ended, finished or cancelled, and are over a limit, with their values and artifacts.

    The limits count for each graph by itself: for that one, or for all graphs of the store. No other run is touched:
    none that failed, waits, was stopped or has an owner, nor a fork of what is removed, which has values and files of
    its own. A run stays whose files the state of a run refers to that has not ended, one that such a run replays, and
    one that was moved elsewhere, as the move may not be complete. One that begins anew at the same moment stays.
    ``artifacts`` is what ``CheckpointConfig(artifacts=...)`` names. With ``dry_run`` nothing is removed.

    With ``trim`` the history of the runs that stay is cut at their newest manifest, and values go that only earlier
    states had; then ``retention`` may be ``None``. A run that has an owner, is replayed by one that has not ended, or
    is damaged from there on, is left alone.

    Raises `ConfigError` for a ``retention`` that is none, `StoreError` if the store fails, and what `open_store` raises
    for ``store``. What was removed until then stays removed.

    >>> from tau import StateGraph, Retention, collect_runs
    >>> graph = StateGraph("one", store="sqlite:///tau.db")
    >>> graph.add_node("work", lambda state: {"n": state["n"] + 1})
    >>> graph.sequence("work")
    >>> for number in range(3):
    ...     _ = graph.execute({"n": number}, run_id=f"one-{number}")
    >>> [one.run_id for one in collect_runs(graph.store, Retention(keep_last=1), graph="one").removed]
    ['one-0', 'one-1']
    >>> [row.run_id for row in graph.runs()]
    ['one-2']
    """
    steps = collecting(store, retention, graph=graph, artifacts=artifacts, dry_run=dry_run, trim=trim)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: Collected = end.value
            return found


def collecting(
    store: StoreLike,
    retention: Retention | None,
    *,
    graph: str | None = None,
    artifacts: str | os.PathLike[str] | None = None,
    dry_run: bool = False,
    trim: bool = False,
) -> Generator[None, None, Collected]:
    """`collect_runs` in steps: each looks at one run, or removes it."""
    if not (isinstance(retention, Retention) or (retention is None and trim)):
        raise ConfigError(f"retention is a Retention, such as Retention(keep_last=100), found {retention!r:.80}")
    place = resolve_store(store)
    configured = directory("artifacts", artifacts) or place.artifacts
    files = None if configured is None or not os.path.isdir(configured) else configured
    keeper = _Keeper(place, files)
    if not dry_run:
        yield from keeper.sweep()
    removed, kept = [], {}
    over = (yield from _over(place, retention, graph, keeper)) if retention is not None else []
    for row, limit in over:
        yield
        if why := keeper.why_not(row):
            kept[row.run_id] = why
        elif dry_run or keeper.remove(row):
            found = Removal(run_id=row.run_id, graph=row.graph, status=row.status, ended=row.updated, limit=limit)
            removed.append(found)
    gone = {one.run_id for one in removed}
    left = {*gone, *keeper.replays_needed()} if trim else gone
    rows = [row for row in place.select(Query(graph=graph)) if row.run_id not in left] if trim else []
    trimmed = []
    for row in rows:
        yield
        if trim_run(place, row, dry_run=dry_run):
            trimmed.append(row.run_id)
    return Collected(removed=tuple(removed), kept=kept, dry_run=dry_run, trimmed=tuple(trimmed))


def _over(
    store: Store, retention: Retention, graph: str | None, keeper: _Keeper
) -> Generator[None, None, list[tuple[Summary, str]]]:
    """The runs that are over a limit, and which, the oldest of each graph first."""
    all_over: list[tuple[Summary, str]] = []
    ended: dict[str, list[Summary]] = {}
    for row in store.select(Query(graph=graph)):
        if row.status in ENDED:
            ended.setdefault(row.graph, []).append(row)
    now = Host().now()
    for rows in ended.values():
        found, total = [], 0
        for number, row in enumerate(rows):
            limit = ""
            if retention.keep_last is not None and number >= retention.keep_last:
                limit = "keep_last"
            elif retention.max_age is not None and now - row.updated > retention.max_age:
                limit = "max_age"
            elif retention.max_bytes is not None:
                yield
                total += run_stats(store, row).size_bytes + keeper.size_of_files(row.run_id)
                limit = "max_bytes" if total > retention.max_bytes else ""
            if limit:
                found.append((row, limit))
        all_over += reversed(found)
    return all_over


class _Keeper:
    """Removes runs and their files, and knows what others need."""

    def __init__(self, store: Store, configured: str | None) -> None:
        self._store = store
        self._configured = configured
        self._place = place_of(store, configured) if configured is not None else None
        self._needed: list[bytes] | None = None
        self._unread = ""
        self._replayed: dict[str, str] = {}

    def why_not(self, row: Summary) -> str:
        """Why a run stays that is over a limit; empty if it goes."""
        if row.status == "cancelled" and row.base and self._was_moved(row):
            return "it was moved, and the move may not be complete; delete it by hand once the run is there"
        if replay := self.replays_needed().get(row.run_id):
            return f"run {replay!r}, which has not ended, replays it"
        if self._has_files(row.run_id):
            part = f"/{directory_of(row.run_id)}/".encode()
            if any(part in data for data in self._files_needed()):
                return "a run that has not ended refers to its files"
            if self._unread:
                return f"run {self._unread!r}, which has not ended and cannot be read, may refer to its files"
        return ""

    def remove(self, row: Summary) -> bool:
        """Whether it is gone; the records go first, so that a run never lacks a file."""
        try:
            self._store.delete_at(row.run_id, row.position)
        except PositionConflict:
            return False
        self._remove_files(row.run_id, row.position)
        return True

    def sweep(self) -> Iterator[None]:
        """Remove the files of runs that were deleted, where a process was killed before it did, and of copies that were
        killed before the run was there."""
        for name in self._directories():
            yield
            if self._place is not None and run_of(name) is not None:
                remove_left(self._store, self._place, name)
            run_id = run_of(name)
            if run_id is None or directory_of(run_id) != name:
                continue
            with suppress(CorruptCheckpointError):
                summary = self._store.summary(run_id)
                if summary is not None and summary.status == "deleted" and summary.base == 0:
                    self._remove_files(run_id, summary.position)

    def size_of_files(self, run_id: str) -> int:
        """How many bytes the artifacts of a run take."""
        if self._place is None:
            return 0
        found = os.walk(os.path.join(self._place, directory_of(run_id)))
        return sum(_size(os.path.join(folder, name)) for folder, _, names in found for name in names)

    def _remove_files(self, run_id: str, position: int) -> None:
        if self._place is not None:
            remove(self._place, run_id, upto=position)

    def _directories(self) -> Iterable[str]:
        if self._place is None or not os.path.isdir(self._place):
            return ()
        return sorted(os.listdir(self._place))

    def _has_files(self, run_id: str) -> bool:
        return self._place is not None and os.path.isdir(os.path.join(self._place, directory_of(run_id)))

    def _was_moved(self, row: Summary) -> bool:
        with suppress(CorruptCheckpointError, UnsupportedFormatError):
            for position, data in self._store.scan(row.run_id, row.position - 1):
                record = unseal(row.run_id, position, data)
                return isinstance(record, Cancelled) and MOVED.match(record.reason) is not None
        return False

    def _files_needed(self) -> list[bytes]:
        """The encodings in which runs that have not ended refer to files."""
        if self._needed is None:
            rows = self._store.select(Query())
            self._needed = [data for row in rows if row.status not in ENDED for data in self._held(row)]
        return self._needed

    def replays_needed(self) -> dict[str, str]:
        """The runs that a run replays which has not ended, with that one."""
        self._files_needed()
        return self._replayed

    def _held(self, row: Summary) -> Iterator[bytes]:
        try:
            found, replay = load(self._store, row.run_id)
            progress = found.progress
            if progress is not None and progress.replays and progress.parent:
                self._replayed[progress.parent] = row.run_id
            cells = [
                *found.values.values(),
                *(cell for one in found.subgraphs.values() for cell in one.changed.values()),
            ]
            items = replay.items.cells() if replay is not None else ()
            for cell in (*cells, *(one for item in items for one in all_cells(item))):
                if may_hold_artifact(data := cell.data()):
                    yield data
        except (CorruptCheckpointError, UnsupportedFormatError):
            self._unread = row.run_id


def _size(path: str) -> int:
    try:
        return os.lstat(path).st_size
    except OSError:
        return 0
