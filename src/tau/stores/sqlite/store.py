"""Runs in one SQLite file: the default store. One host only; any number of threads and processes."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import Any, Final

import apsw
from msgspec.structs import replace

from tau.errors import CorruptCheckpointError
from tau.host import boot_clock, clock_space, has_ended
from tau.stores import mounts
from tau.stores.artifact_files import remove
from tau.stores.contract import Batch, Lease, PositionConflict, Query, Store, Summary, begins, deletion, problem
from tau.stores.due import Due, in_order
from tau.stores.failures import apart
from tau.stores.sqlite import statements as sql
from tau.stores.sqlite.connections import Connections
from tau.stores.summaries import matches, pack, unpack, unreadable

_BLOCK: Final = 1024
"""So many records are in memory at a time when a log is read in blocks."""


class SQLiteStore(Store):
    """A store in the SQLite database at ``path``, created with its parent directories at first use.

    ``busy_timeout`` is how many seconds to wait for another process's transaction. ``clock`` gives seconds since the
    boot of this machine, the same in all its processes. ``file_system`` tells the type of the file system of a path.
    Making one raises nothing: the file is opened at its first use.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        busy_timeout: float = 30.0,
        clock: Callable[[], float] = boot_clock,
        file_system: Callable[[str], str] = mounts.kind_of,
    ) -> None:
        self.path = os.path.realpath(os.fspath(path))
        self.location = f"sqlite:///{self.path}"
        self.artifacts = f"{self.path}-artifacts"
        self._clock = clock
        self._lost: frozenset[bytes] | None = None
        self._is_indexed = False
        self._connections = Connections(self.path, self.location, busy_timeout, file_system)

    # Writing

    def commit(self, batches: Sequence[Batch]) -> list[int | Exception]:
        try:
            return self._connections.write("commit to", lambda connection: self._apply(connection, batches))
        except Exception as error:
            return apart(error, batches, self.commit)

    def _apply(self, connection: apsw.Connection, batches: Sequence[Batch]) -> list[int | Exception]:
        if not self._is_indexed:
            connection.execute(sql.INDEXES)
            self._is_indexed = True
        now = self._clock()
        results: list[int | Exception] = []
        for batch in batches:
            wrong = problem(batch)
            if wrong is not None:
                results.append(wrong)
            elif len(batch.records) == 1 and not batch.blobs and self._append_next(connection, batch):
                self._move(connection, connection.last_insert_rowid(), batch.summary, now)
                results.append(batch.summary.position)
            else:
                results.append(self._append(connection, batch, now))
        return results

    def _append_next(self, connection: apsw.Connection, batch: Batch) -> bool:
        """What most commits are, in one statement; ``False``, and no change, where the run is not as expected."""
        connection.execute(sql.APPEND_NEXT, (batch.run_id, batch.expected, batch.records[0]))
        return connection.changes() == 1

    def _append(self, connection: apsw.Connection, batch: Batch, now: float) -> int | Exception:
        execute = connection.execute
        row = execute(sql.FIND, (batch.run_id,)).fetchone()
        run, position, last = row or self._missed(connection, batch.run_id)
        if type(position) is not int:
            raise self._damaged(batch.run_id, "its position is not a number")
        emptied = position > 0 and last is None
        if position != batch.expected or (emptied and not begins(batch)):
            return PositionConflict(batch.run_id, batch.expected, position)
        if not run:
            execute(sql.ADD, (batch.run_id,))
            run = connection.last_insert_rowid()
        for digest, data in batch.blobs:
            execute(sql.KEEP, (run, digest, data))
        first, *others = batch.records
        position += 1
        execute(sql.APPEND, (run, position, last, first))
        last = connection.last_insert_rowid()
        if others:  # one call of many rows takes a third of the time of as many calls
            rows = [(last + count, run, position + count, last + count - 1, one) for count, one in enumerate(others, 1)]
            connection.executemany(sql.APPEND_AT, rows)
            position, last = position + len(rows), last + len(rows)
        self._move(connection, last, batch.summary, now)
        return int(position)

    def _missed(self, connection: apsw.Connection, run_id: str) -> tuple[int, int, None]:
        """A run that is not there; raises if it is, and only the index of run ids is damaged: it must not begin anew.

        The first miss looks for all such runs, 5 ms for 10,000 runs; so a new run costs no scan, and damage that comes
        while the store is open is not noticed here.
        """
        if self._lost is None:
            self._lost = frozenset(found for (found,) in connection.execute(sql.LOST))
        if run_id.encode("utf-8", "surrogatepass") not in self._lost:
            return 0, 0, None
        raise CorruptCheckpointError(
            f"run {run_id!r} in {self.location} is damaged: the index of run ids does not lead to it; build the index "
            f"again (sqlite3 {self.path} 'reindex runs'), or restore the file from a backup",
            run_id=run_id,
            what="index sqlite_autoindex_runs_1",
        )

    def _move(self, connection: apsw.Connection, last: int | None, summary: Summary, now: float) -> None:
        owner = summary.owner
        nonce, seconds, expires = None, 0.0, math.inf
        if owner is not None:
            nonce, seconds, expires = owner.nonce, owner.lease, now + owner.lease
        elif summary.may_be_taken(math.inf) and summary.not_before is not None:
            expires = summary.not_before
        terms = (
            summary.position, last, pack(summary), summary.graph, summary.status, summary.updated,
            nonce, seconds, expires, clock_space(), summary.run_id,
        )  # fmt: skip
        if owner is not None:
            connection.execute(sql.MOVE_ON, terms)
            if connection.changes() == 1:
                return
        connection.execute(sql.MOVE, terms)

    def delete(self, run_id: str, keep_summary: bool = False, *, expected: int | None = None) -> None:
        position = self._connections.write(
            "delete from", lambda connection: self._delete(connection, run_id, keep_summary, expected)
        )
        if not keep_summary:
            remove(self.artifacts, run_id, upto=position)

    def _delete(self, connection: apsw.Connection, run_id: str, keep_summary: bool, expected: int | None) -> int:
        """Returns the position up to which nothing is left."""
        row = connection.execute("select id, last, summary, position from runs where run_id = ?", (run_id,)).fetchone()
        if row is None:
            self._missed(connection, run_id)
            if expected:
                raise PositionConflict(run_id, expected, 0)
            return 0
        run, last, data, position = row
        try:
            before = unpack(data, self.location, run_id)
            if before.position != position:
                raise self._damaged(run_id, f"it is at {position}, its summary says {before.position}", what="summary")
        except CorruptCheckpointError:
            if keep_summary or expected is not None:
                raise
            if type(position) is not int:
                ((position,),) = connection.execute(sql.LAST, (run,))
            before = replace(unreadable(run_id), position=position)
        after = deletion(before, keep_summary, expected, empty=last is None)
        if after is None:
            return before.position
        connection.execute(sql.DROP_LOG, (run,))
        connection.execute("delete from blobs where run = ?", (run,))
        self._move(connection, None, after, 0.0)
        return after.position

    def trim(self, run_id: str, first: int, blobs: Iterable[bytes], *, expected: int) -> None:
        def work(connection: apsw.Connection) -> None:
            run, position, _ = connection.execute(sql.FIND, (run_id,)).fetchone() or self._missed(connection, run_id)
            if position != expected:
                raise PositionConflict(run_id, expected, position)
            for row, previous in connection.execute(sql.ROW_AT, (run, first)).fetchall():
                connection.execute(sql.DROP_FROM, (run, previous))
                connection.execute("update log set previous = null where id = ?", (row,))
                connection.executemany("delete from blobs where run = ? and digest = ?", ((run, one) for one in blobs))

        self._connections.write("trim a run in", work)

    def renew(self, run_id: str, nonce: str, seconds: float) -> bool:
        def work(connection: apsw.Connection) -> bool:
            connection.execute(sql.RENEW, (seconds, self._clock() + seconds, clock_space(), run_id, nonce))
            return connection.changes() > 0

        return self._connections.write("renew a lease in", work)

    def release(self, run_id: str, nonce: str) -> None:
        self._connections.write(
            "release a lease in", lambda connection: connection.execute(sql.RELEASE, (run_id, nonce))
        )

    # Reading

    def read(self, run_id: str, after: int = 0) -> list[tuple[int, bytes]]:
        rows = self._connections.read(lambda connection: connection.execute(sql.READ, (run_id, after)).fetchall())
        self._check(run_id, rows, after)
        return [(position, record) for position, _, record, _ in reversed(rows)]

    def scan(self, run_id: str, after: int = 0) -> Iterator[tuple[int, bytes]]:
        rows = self._connections.read(partial(_rows, sql.READ, (run_id, after)))
        starts: list[tuple[int, int]] = []
        if len(rows) == _BLOCK and rows[-1][1] is not None and rows[-1][0] > after + 1:
            position, previous, _, run = rows[-1]
            starts = self._connections.read(partial(_starts, (previous, run, position - 1, after)))
        self._check(run_id, rows, starts[0][1] if starts else after)
        lows = [*(position for _, position in starts[1:]), after]
        for (first, position), low in zip(reversed(starts), reversed(lows), strict=False):
            block = self._connections.read(partial(_rows, sql.READ_FROM, (first, run, position, low)))
            self._check(run_id, block or [(position, first, b"")], low)
            yield from ((position, record) for position, _, record, *_ in reversed(block))
        yield from ((position, record) for position, _, record, *_ in reversed(rows))

    def summary(self, run_id: str) -> Summary | None:
        def work(connection: apsw.Connection) -> Any:
            row = connection.execute("select summary, position from runs where run_id = ?", (run_id,)).fetchone()
            if row is None:
                self._missed(connection, run_id)
            return row

        row = self._connections.read(work)
        if row is None:
            return None
        summary = unpack(row[0], self.location, run_id)
        if summary.position != row[1]:
            raise self._damaged(run_id, f"it is at {row[1]}, its summary says {summary.position}", what="summary")
        return summary

    def blobs(self, run_id: str, digests: Iterable[bytes]) -> Mapping[bytes, bytes]:
        found: dict[bytes, bytes] = {}

        def work(connection: apsw.Connection) -> None:
            for digest in digests:
                row = connection.execute(sql.BLOB, (run_id, digest)).fetchone()
                if row is not None:
                    if type(row[0]) is not bytes:
                        raise self._damaged(run_id, "a blob is of another type", what="blob")
                    found[digest] = row[0]

        self._connections.read(work)
        return found

    def select(self, query: Query) -> list[Summary]:
        damaged = query.status == "damaged"
        terms: tuple[Any, ...] = (query.graph, None if damaged else query.status)
        statement = sql.SELECT
        if query.limit is not None and query.tag is None and not damaged:
            statement, terms = sql.NEWEST, (*terms, query.limit)
        rows = self._connections.read(lambda connection: connection.execute(statement, terms).fetchall())
        found: list[Summary] = []
        data: Any
        name: Any
        for data, name in rows:  # read whole first: taking them apart holds up no writer
            try:
                summary = unpack(data, self.location)
            except CorruptCheckpointError:
                summary = unreadable(str(name or b"", "utf-8", "replace"), query.graph or "")
            if matches(summary, query):
                found.append(summary)
        # The column may be behind the summary; of a damaged one it is not known what was in it.
        found.sort(key=lambda summary: -summary.updated if summary.status != "damaged" else -math.inf)
        return found[: query.limit]

    def run_ids(self, prefix: str = "") -> list[str]:
        terms = (prefix, prefix.encode() + b"\xff")  # which no text holds
        rows = self._connections.read(lambda connection: connection.execute(sql.RUN_IDS, terms).fetchall())
        found = [str(name or b"", "utf-8", "replace") for (name,) in rows]  # type: ignore[arg-type]
        return [run_id for run_id in found if run_id.startswith(prefix)]

    def some_run_ids(self, limit: int) -> list[str]:
        return [row.run_id for row in self.select(Query(limit=limit))]

    def lease(self, run_id: str) -> Lease | None:
        row = self._connections.read(lambda connection: connection.execute(sql.LEASE, (run_id,)).fetchone())
        return None if row is None else self._lease(run_id, row)

    def due(self, graph: str, limit: int, *, watched: bool = True) -> list[Due]:
        now = time.time()

        def taken(data: Any, run_id: Any) -> Summary | None:
            with suppress(CorruptCheckpointError):  # what is damaged is left out
                summary = unpack(data, self.location, run_id)
                return summary if summary.graph == graph and summary.may_be_taken(now) else None
            return None

        def work(connection: apsw.Connection) -> list[Due]:
            found: list[Due] = []
            for data, run_id, *lease in connection.execute(sql.RUNNING, (graph, self._clock(), clock_space())):
                if (summary := taken(data, run_id)) is not None and summary.status == "running":
                    with suppress(CorruptCheckpointError):
                        found.append((summary, self._lease(str(run_id), lease)))
            free = connection.execute(sql.FREE, (graph, now))
            some = islice((one for row in free if (one := taken(*row)) is not None), limit)
            found += [(summary, None) for summary in some]
            free.close()
            return found

        return in_order(self._connections.read(work), limit, watched=watched)

    def leases(self, run_ids: Iterable[str]) -> Mapping[str, Lease]:
        ids = json.dumps(list(run_ids))
        rows = self._connections.read(lambda connection: connection.execute(sql.LEASES, (ids,)).fetchall())
        found = {str(run_id): self._lease(str(run_id), lease) for run_id, *lease in rows}
        return {run_id: lease for run_id, lease in found.items() if lease is not None}

    def _lease(self, run_id: str, row: Sequence[Any]) -> Lease | None:
        if row[0] is None:
            return None
        nonce, counter, seconds, expires, boot, summary = row
        if not (type(nonce) is str and type(counter) is int and type(seconds) is type(expires) is float):
            raise self._damaged(run_id, "its lease record is malformed", what="lease")
        left = expires - self._clock()
        if boot and boot == clock_space() and left <= seconds:
            return Lease(nonce, counter, left)
        owner = unpack(summary, self.location, run_id).owner
        if owner is not None and has_ended(boot, owner.host):
            return Lease(nonce, counter, min(-seconds, -0.001))
        return Lease(nonce, counter, None)  # by a clock that is not ours, or cannot be told, nothing ran out

    def close(self) -> None:
        self._connections.close()
        self._lost = None
        self._is_indexed = False

    def _check(self, run_id: str, rows: Sequence[Any], after: int) -> None:
        broken = _gap(rows, after)
        if broken is not None:
            raise self._damaged(run_id, f"records are missing at or below position {broken}", broken, "log")

    def _damaged(self, run_id: str, why: str, position: int | None = None, what: str = "row") -> CorruptCheckpointError:
        return CorruptCheckpointError(
            f"run {run_id!r} in {self.location} is damaged: {why}; restore it from a backup",
            run_id=run_id,
            position=position,
            what=what,
        )


def _rows(statement: str, terms: tuple[Any, ...], connection: apsw.Connection) -> list[Any]:
    """The first rows of a statement, one block of them at most."""
    cursor = connection.execute(statement, terms)
    try:
        return list(islice(cursor, _BLOCK))
    finally:
        cursor.close()


def _starts(terms: tuple[int, int, int, int], connection: apsw.Connection) -> list[tuple[int, int]]:
    """The id and position of the newest row of each block from one row on, newest first; ``terms`` are the id, run and
    position of that, and the position above which to read."""
    first, _, newest, after = terms
    found = [(first, newest)]
    for count, (position, previous) in enumerate(connection.execute(sql.WALK_FROM, terms), 1):
        if count % _BLOCK == 0 and previous is not None and position > after + 1:
            found.append((previous, position - 1))
    return found


def _gap(rows: Sequence[Any], after: int) -> int | None:
    """Where the chain of (position, previous, record) breaks off above ``after``; ``None`` where it is whole.

    Damage can turn the type of a column into another.
    """
    for position, _, record, *_ in rows:
        if type(record) is not bytes:
            return position if type(position) is int else 0
    if rows and rows[-1][1] is not None and rows[-1][0] > after + 1:
        return int(rows[-1][0])
    return None
