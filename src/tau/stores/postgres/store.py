"""Runs in a PostgreSQL database: any number of machines, and the server's clock for all of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

from tau.errors import CorruptCheckpointError, StoreError
from tau.stores.contract import Batch, Lease, PositionConflict, Query, Summary, begins
from tau.stores.due import Due, found_by_status, in_order, sizes
from tau.stores.failures import apart
from tau.stores.postgres import statements as sql
from tau.stores.postgres.connection import Session
from tau.stores.postgres.connections import Connections
from tau.stores.postgres.listening import TELL, Listening, channels_of
from tau.stores.postgres.place import Place, key_of
from tau.stores.server_store import SLACK, TRIES, ServerStore, digest_of, judged
from tau.stores.summaries import matches, pack, unpack, unreadable


class PostgresStore(ServerStore):
    """A store in the database at ``url``, ``postgresql://user:password@host:port/database``, in its schema ``tau``.

    What the URL leaves out is taken from PGHOST, PGPORT, PGUSER, PGPASSWORD, PGDATABASE and the rest of libpq's
    environment. ``durability`` is ``"strict"``, or ``"relaxed"`` for a server that may lose acknowledged commits in a
    power cut, which is refused otherwise; the URL may say it, too (``?durability=relaxed``). ``timeout`` is for how
    many seconds the server may be silent, ``max_connections`` how many sessions this process has at most. ``listen`` is
    the URL of the same database without a pooler, by which workers are woken; by default that is the URL itself, where
    it is seen that there is none.

    Making one raises `ConfigError` for a URL that cannot be used. The server is asked at the first use. Reading creates
    nothing: a database without the schema is a store without runs.
    """

    def __init__(
        self,
        url: str = "postgresql://",
        *,
        durability: str = "",
        timeout: float = 30.0,
        max_connections: int = 8,
        listen: str | None = None,
    ) -> None:
        place = Place.of(url)
        self._place, self._silence = place, timeout
        self._listens_at = None if listen is None else Place.of(listen)
        self.location = place.location
        self._strict = self._is_strict(durability or place.durability, max_connections)
        self._connections: Connections = Connections(place, silence=timeout, most=max_connections, strict=self._strict)

    # Writing

    def _commit(self, batches: Sequence[Batch]) -> list[int | Exception]:
        try:
            results = self._connections.write("commit to", lambda session: self._apply(session, batches))
        except Exception as error:
            return apart(error, batches, self._commit)
        if channels := channels_of(batches, results):
            with suppress(StoreError):  # workers also look by themselves
                self._connections.write("tell workers of", lambda session: session.execute(TELL, (channels,)))
        return results

    def listen(self, graph: str) -> Listening | None:
        place = self._listens_at
        if place is None and self._connections.read(lambda session: session.is_direct, False):
            place = self._place
        return None if place is None else Listening(place, self._silence, graph)

    def _apply(self, session: Session, batches: Sequence[Batch]) -> list[int | Exception]:
        (first, *more) = batches
        if not more and not first.blobs and first.expected and self._append_next(session, first):
            return [first.summary.position]
        done = self._append(session, batches)
        missed = [batch for batch in batches if key_of(batch.run_id) not in done]
        refused = self._refused(session, missed) if missed else {}
        return [refused.get(batch.run_id, batch.summary.position) for batch in batches]

    def _append_next(self, session: Session, batch: Batch) -> bool:
        """Append records alone; whether the run was where it is expected."""
        terms = {**_terms(batch), "strict": self._strict}
        records = batch.records
        if len(records) == 1:
            statement, terms["record"] = sql.APPEND_NEXT, records[0]
        elif len(records) == 2:
            statement, terms["record"], terms["second"] = sql.APPEND_TWO, *records
        else:
            statement, terms["records"] = sql.APPEND_SEVERAL, list(records)
        return len(session.append(statement, terms)) == len(records)

    def _append(self, session: Session, batches: Sequence[Batch]) -> set[bytes]:
        """Append what is where it is expected; the keys of those runs."""
        rows = [_terms(batch) for batch in batches]
        terms: dict[str, Any] = {name: [row[name] for row in rows] for name in rows[0]}
        records = [
            (row["key"], position, record)
            for row, batch in zip(rows, batches, strict=True)
            for position, record in enumerate(batch.records, batch.expected + 1)
        ]
        blobs = [
            (row["key"], digest, data) for row, batch in zip(rows, batches, strict=True) for digest, data in batch.blobs
        ]
        for names, triples in ((("record_key", "record_position", "record"), records), (_BLOB, blobs)):
            terms.update(zip(names, map(list, zip(*triples, strict=True)) if triples else ([], [], []), strict=True))
        few = len(batches) <= _FEW
        done = session.append(sql.APPEND, {**terms, "strict": self._strict}, prepare=few)
        return {bytes(key) for key, _ in done}

    def _refused(self, session: Session, batches: Sequence[Batch]) -> dict[str, Exception | int]:
        """Why those were not appended."""
        found: dict[str, Exception | int] = {}
        keys = [key_of(batch.run_id) for batch in batches]
        rows = session.execute(sql.WHERE, (keys,), binary=True).fetchall()
        at = {bytes(key): (position, floor, bytes(last)) for key, position, floor, last in rows}
        for key, batch in zip(keys, batches, strict=True):
            position, floor, last = at.get(key, (0, 0, b""))
            refusal = self._refusal(batch, position, floor, last)
            found[batch.run_id] = self._apply(session, [batch])[0] if refusal is None else refusal
        return found

    def _delete(self, run_id: str, keep_summary: bool, expected: int | None) -> bool:
        def work(session: Session) -> bool:
            return any(self._try_to_delete(session, run_id, keep_summary, expected) for _ in range(TRIES))

        return self._connections.write("delete from", work)

    def _try_to_delete(self, session: Session, run_id: str, keep_summary: bool, expected: int | None) -> bool:
        """Whether it is done; if not, the run has moved on."""
        row = session.execute(sql.FIND, (key_of(run_id),), binary=True).fetchone()
        if row is None:
            if expected:
                raise PositionConflict(run_id, expected, 0)
            return True
        number, position, floor, data = row
        after = self._after_deletion(run_id, (position, floor, data), keep_summary, expected)
        if after is None:
            return True
        terms = {
            "id": number, "position": position, "after": after.position, "summary": pack(after),
            "graph": _plain(after.graph), "status": _plain(after.status), "strict": self._strict,
        }  # fmt: skip
        return session.change(sql.DELETE, terms).rowcount == 1

    def trim(self, run_id: str, first: int, blobs: Iterable[bytes], *, expected: int) -> None:
        terms = {
            "key": key_of(run_id), "floor": first - 1, "expected": expected, "blobs": list(blobs),
            "strict": self._strict,
        }  # fmt: skip

        def work(session: Session) -> int:
            return session.change(sql.TRIM, terms).rowcount

        if self._connections.write("trim a run in", work) != 1:
            found = self.summary(run_id)
            raise PositionConflict(run_id, expected, 0 if found is None else found.position)

    def renew(self, run_id: str, nonce: str, seconds: float) -> bool:
        terms = {"key": key_of(run_id), "nonce": nonce, "seconds": seconds}
        return self._connections.write(
            "renew a lease in", lambda session: session.change(sql.RENEW, terms).rowcount == 1
        )

    def release(self, run_id: str, nonce: str) -> None:
        terms = {"key": key_of(run_id), "nonce": nonce}
        self._connections.write("release a lease in", lambda session: session.change(sql.RELEASE, terms))

    # Reading

    def _rows(self, statement: str, terms: Any) -> list[Any]:
        return self._connections.read(
            lambda session: session.execute(statement, terms, binary=True).fetchall(),
            [],
        )

    def _read(self, run_id: str, after: int, limit: int | None = None) -> tuple[list[tuple[int, bytes]], int]:
        rows = self._rows(sql.READ, {"key": key_of(run_id), "after": after, "limit": limit})
        return self._whole(run_id, rows, after, limit)

    def _whole(
        self, run_id: str, rows: list[Any], after: int, limit: int | None = None
    ) -> tuple[list[tuple[int, bytes]], int]:
        """The records in these rows, and the position of the last deletion. Raises where one is missing."""
        if not rows:
            return [], 0
        end, floor = rows[0][:2]
        start = max(after, floor)
        found = [(position, record) for _, _, position, record in rows if position is not None]
        for number, (position, _) in enumerate(found, start + 1):
            if position != number:
                raise self._damaged(run_id, f"record {number} is missing", number, "log")
        if len(found) != limit and start + len(found) != max(start, end):
            raise self._damaged(run_id, f"it is at {end}, its log ends at {start + len(found)}", end, "log")
        return found, floor

    def logs(self, after: Mapping[str, int]) -> Mapping[str, Sequence[tuple[int, bytes]]]:
        ids = {key_of(run_id): run_id for run_id in after}
        rows: dict[str, list[Any]] = {run_id: [] for run_id in after}
        terms, found_rows = {"keys": list(ids), "after": list(after.values())}, list[Any]()
        if ids:
            found_rows = self._connections.read(lambda session: session.read(sql.LOGS, terms), found_rows)
        for key, *row in found_rows:
            rows[ids[bytes(key)]].append(row)
        found: dict[str, list[tuple[int, bytes]]] = {}
        for run_id, log in rows.items():
            with suppress(CorruptCheckpointError):  # who reads it alone is told
                found[run_id] = self._whole(run_id, log, after[run_id])[0]
        return found

    def summary(self, run_id: str) -> Summary | None:
        for data, position in self._rows(sql.SUMMARY, (key_of(run_id),)):
            return self._unpack(data, run_id, position)
        return None

    def blobs(self, run_id: str, digests: Iterable[bytes]) -> Mapping[bytes, bytes]:
        wanted = list(digests)
        return dict(self._rows(sql.BLOBS, (key_of(run_id), wanted))) if wanted else {}

    def select(self, query: Query) -> list[Summary]:
        damaged = query.status == "damaged"
        graph, status = _plain(query.graph), None if damaged else _plain(query.status)
        exact = query.tag is None and not damaged and graph == query.graph and status == query.status
        rows = self._rows(sql.SELECT, {"graph": graph, "status": status, "limit": query.limit if exact else None})
        found: list[Summary] = []
        for data, name in rows:
            if query.limit is not None and len(found) >= query.limit:
                break
            try:
                summary = unpack(data, self.location)
            except CorruptCheckpointError:
                summary = unreadable(name, query.graph or "")
            if matches(summary, query):
                found.append(summary)
        return found

    def run_ids(self, prefix: str = "") -> list[str]:
        return [name for (name,) in self._rows(sql.RUN_IDS, (prefix,)) if name.startswith(prefix)]

    def some_run_ids(self, limit: int) -> list[str]:
        return [row.run_id for row in self.select(Query(limit=limit))]

    def leases(self, run_ids: Iterable[str]) -> Mapping[str, Lease]:
        ids = {key_of(run_id): run_id for run_id in run_ids}
        rows = self._rows(sql.LEASES, (list(ids),)) if ids else []
        return {ids[bytes(key)]: judged(nonce, counter, seconds, left) for key, nonce, counter, seconds, left in rows}

    def due(self, graph: str, limit: int, *, watched: bool = True) -> list[Due]:
        nothing: list[Due] | None = []
        found = self._connections.read(partial(self._due, graph, limit), nothing)
        if found is None:  # older tables, to which nothing has been written since
            return found_by_status(self, graph, limit, watched=watched)
        return in_order(found, limit, watched=watched)

    def some_due(self, graph: str, limit: int, among: int, *, watched: bool = True) -> list[Due]:
        if limit >= among:
            return self.due(graph, among, watched=watched)
        nothing: list[Due] | None = []
        found = self._connections.read(partial(self._some_due, graph, limit, among), nothing)
        if found is None:
            return self.due(graph, among, watched=watched)
        return in_order(found, among, watched=watched)

    def _some_due(self, graph: str, limit: int, among: int, session: Session) -> list[Due] | None:
        if session.format != sql.FORMAT:
            return None
        terms = {"queue": key_of(graph), "graph": _plain(graph), "slack": SLACK, "limit": limit, "among": among}
        rows = session.read(sql.SOME_DUE, terms)
        found = self._readable(graph, rows)
        return found if found or not rows else None

    def _readable(self, graph: str, rows: Iterable[Sequence[Any]]) -> list[Due]:
        """The runs of these rows, without what is damaged."""
        found: list[Due] = []
        for data, *lease in rows:
            with suppress(CorruptCheckpointError):
                summary = unpack(data, self.location)
                if summary.graph == graph and summary.may_be_taken(math.inf):  # the server has compared the time
                    found.append((summary, _lease(*lease)))
        return found

    def _due(self, graph: str, limit: int, session: Session) -> list[Due] | None:
        if session.format != sql.FORMAT:
            return None
        found: list[Due] = []
        terms = {"queue": key_of(graph), "graph": _plain(graph), "slack": SLACK, "not_before": -math.inf, "id": 0}
        for size in sizes(limit):
            rows = session.execute(sql.DUE, {**terms, "limit": size}, binary=True).fetchall()
            found += self._readable(graph, [row[2:] for row in rows])
            queued = [row for row in rows if row[0] is not None]
            if len(queued) < size or len(in_order(found, limit, watched=False)) >= limit:
                break
            terms["not_before"], terms["id"] = queued[-1][:2]
        return found


def _lease(nonce: str | None, counter: int, seconds: float, left: float) -> Lease | None:
    return None if nonce is None else judged(nonce, counter, seconds, left)


_FEW: Final = 32
"""So many batches, at most, are appended by a prepared statement: its plan, which is made for any number of them, joins
each with each. To plan anew takes the server longer than to append some."""

_BLOB: Final = ("blob_key", "digest", "data")


def _plain(text: str | None) -> str | None:
    """As PostgreSQL can hold it: for people who look, and to select by. The summary has it as it is."""
    if text is None or (text.isascii() and "\0" not in text):
        return text
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def _terms(batch: Batch) -> dict[str, Any]:
    """The columns that a commit sets; for `statements.APPEND` each is a list."""
    summary = batch.summary
    owner = summary.owner
    return {
        "key": key_of(batch.run_id),
        "run_id": _plain(batch.run_id),
        "expected": batch.expected,
        "begins": begins(batch),
        "before": digest_of(batch.before) if batch.before else b"",
        "position": summary.position,
        "last": digest_of(batch.records[-1]),
        "summary": pack(summary),
        "graph": _plain(summary.graph),
        "status": _plain(summary.status),
        "queue": key_of(summary.graph) if summary.may_be_taken(math.inf) else None,
        "not_before": 0.0 if summary.not_before is None else summary.not_before,
        "updated": summary.updated,
        "quarter": int(summary.updated * 4 // 1),
        "nonce": None if owner is None else owner.nonce,
        "seconds": 0.0 if owner is None else owner.lease,
    }
