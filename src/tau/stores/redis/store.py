"""Runs in a Redis or Valkey server: any number of machines, and the server's clock for all of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

from msgspec.structs import replace

from tau.errors import CorruptCheckpointError, StoreError, StoreFullError, StoreUnavailableError
from tau.stores.contract import Batch, Lease, PositionConflict, Query, Summary, begins, emptied
from tau.stores.due import Due, in_order, sizes
from tau.stores.failures import apart
from tau.stores.redis import scripts
from tau.stores.redis.connection import Session
from tau.stores.redis.connections import Connections, Given, Terms
from tau.stores.redis.failures import failure
from tau.stores.redis.place import Place
from tau.stores.redis.protocol import ServerError
from tau.stores.redis.scripts import (
    RUNS_KEY,
    blobs_key,
    due_key,
    encoded,
    graph_key,
    leased_key,
    log_key,
    run_key,
    status_key,
)
from tau.stores.server_store import TRIES, ServerStore, digest_of, judged, weight_of
from tau.stores.summaries import GONE, STATUSES, matches, pack, unpack, unreadable

_LISTED: Final = 1024  # so many summaries are asked for at a time
_LONG: Final = 60.0  # seconds; a lease that ends later may be one that a clock which was set back has made longer
_LARGEST: Final = 512 << 20  # what one value may be, and half of what one command may be


class RedisStore(ServerStore):
    """A store in the database at ``url``, ``redis://user:password@host:port/database``, under keys that begin with
    ``tau:``; ``rediss://`` is the same over TLS, ``unix:///path/to/socket?db=database`` by a socket.

    ``redis://`` alone means REDIS_URL. ``durability`` is ``"strict"``, or ``"relaxed"`` for a server that may lose
    acknowledged commits, or may not be asked whether it does, which is refused otherwise; the URL may say it, too
    (``?durability=relaxed``). ``timeout`` is for how many seconds the server may be silent, ``max_connections`` how
    many connections this process has at most.

    Making one raises `ConfigError` for a URL that cannot be used. The server is asked at the first use. Reading creates
    nothing: a database without such keys is a store without runs.
    """

    def __init__(
        self, url: str = "redis://", *, durability: str = "", timeout: float = 30.0, max_connections: int = 8
    ) -> None:
        place = Place.of(url)
        self.location = place.location
        strict = self._is_strict(durability or place.durability, max_connections)
        self._hide = place.hide
        self._connections: Connections = Connections(place, silence=timeout, most=max_connections, strict=strict)

    # Writing

    def _commit(self, batches: Sequence[Batch]) -> list[int | Exception]:
        if len(batches) == 1 and _is_too_large(batches[0]):
            return [self._too_large(batches[0])]
        try:
            return self._connections.write("commit to", lambda session: self._append(session, batches))
        except Exception as error:
            return apart(error, batches, self._commit)

    def _append(self, session: Session, batches: Sequence[Batch]) -> list[int | Exception]:
        keys = [RUNS_KEY]
        terms: Terms = []
        for batch in batches:
            keys += _keys(batch.run_id)
            terms += _terms(batch)
        try:
            found = self._connections.run(session, scripts.APPEND, keys, terms, begin=True)
        except StoreUnavailableError as error:  # the runs are gone
            if error.transient:
                raise
            return [self._refusal(batch, 0, 0, b"") or error if batch.before else error for batch in batches]
        return [self._result(batch, each) for batch, each in zip(batches, found, strict=True)]

    def _result(self, batch: Batch, found: Any) -> int | Exception:
        if found == 1:
            return batch.summary.position
        if isinstance(found, bytes):
            error = ServerError(found.decode("utf-8", "replace"))
            return failure(error, self.location, "commit to", self._hide)
        position, floor, last, *length = found
        if length:
            return self._damaged(
                batch.run_id, f"it is at {position}, its log ends at {floor + length[0]}", position, "log"
            )
        refusal = self._refusal(batch, position, floor, last)
        return refusal or StoreError(f"run {batch.run_id!r} was not appended to", location=self.location)

    def _too_large(self, batch: Batch) -> StoreFullError:
        return StoreFullError(
            f"cannot commit run {batch.run_id!r} to {self.location}: {weight_of(batch):,} bytes in one commit; Redis "
            "holds values up to 512 MB, and takes less than 1 GB at a time: split them, or use artifacts",
            location=self.location,
        )

    def _delete(self, run_id: str, keep_summary: bool, expected: int | None) -> bool:
        def work(session: Session) -> bool:
            return any(self._try_to_delete(session, run_id, keep_summary, expected) for _ in range(TRIES))

        return self._connections.write("delete from", work)

    def _try_to_delete(self, session: Session, run_id: str, keep_summary: bool, expected: int | None) -> bool:
        fields = ("HMGET", run_key(run_id), "position", "floor", "summary")
        listed = ("ZSCORE", RUNS_KEY, encoded(run_id))
        found = self._connections.look([fields, listed], session, each=True)
        try:
            if found is not None and found[0] is None:
                raise self._damaged(run_id, "its key is of another type")
            row = None if found is None else self._row(found[0], run_id)
            if row is None and found is not None and found[1] is not None:
                raise self._damaged(run_id, GONE)
        except CorruptCheckpointError:
            if keep_summary or expected is not None:
                raise
            return self._discard(session, run_id)
        if row is None:
            if expected:
                raise PositionConflict(run_id, expected, 0)
            return True
        after = self._after_deletion(run_id, row, keep_summary, expected)
        if after is None:
            return True
        terms: Terms = [
            encoded(run_id), row[0], after.position, pack(after), encoded(after.graph), encoded(after.status),
            after.updated,
        ]  # fmt: skip
        return bool(self._connections.run(session, scripts.DELETE, [RUNS_KEY, *_keys(run_id)], terms) == 1)

    def _discard(self, session: Session, run_id: str) -> bool:
        """Whether what is left of a run is removed of which it is not known where it is; if not, it is there again."""
        lists = [status_key(status) for status in STATUSES]
        for graph in self._graphs(session):
            lists += [key + graph for key in (graph_key(""), due_key(""), leased_key(""))]
        (whole, parts), *_ = self._connections.look([("TIME",)], session) or [(b"0", b"0")]
        position = int(whole) * 1_000_000 + int(parts)  # beyond any that commits have come to
        after = emptied(replace(unreadable(run_id), position=position), keep_summary=False)
        terms: Terms = [encoded(run_id), after.position, pack(after), after.updated]
        keys = [RUNS_KEY, *_keys(run_id), *lists]
        return bool(self._connections.run(session, scripts.DISCARD, keys, terms) == 1)

    def _graphs(self, session: Session) -> set[bytes]:
        """The names of those that have runs, as keys have them."""
        start, cursor, found = graph_key(""), b"0", set[bytes]()
        while True:
            scan = ("SCAN", cursor, "MATCH", start + b"*", "COUNT", 1000)
            ((cursor, keys),) = self._connections.look([scan], session) or [(b"0", ())]
            found |= {key.removeprefix(start) for key in keys}
            if cursor == b"0":
                return found

    def trim(self, run_id: str, first: int, blobs: Iterable[bytes], *, expected: int) -> None:
        def work(session: Session) -> int:
            found = self._connections.run(session, scripts.TRIM, _keys(run_id), [expected, first, *blobs])
            return found or 0

        position = self._connections.write("trim a run in", work)
        if position != expected:
            raise PositionConflict(run_id, expected, position)

    def renew(self, run_id: str, nonce: str, seconds: float) -> bool:
        return self._of_lease("renew a lease in", scripts.RENEW, run_id, [encoded(nonce), seconds, encoded(run_id)])

    def release(self, run_id: str, nonce: str) -> None:
        self._of_lease("release a lease in", scripts.RELEASE, run_id, [encoded(nonce), "", encoded(run_id)])

    def _of_lease(self, doing: str, script: scripts.Script, run_id: str, terms: Given) -> bool:
        def work(session: Session) -> bool:
            return bool(self._connections.run(session, script, [run_key(run_id)], terms) == 1)

        return self._connections.write(doing, work)

    # Reading

    def _read(self, run_id: str, after: int, limit: int | None = None) -> tuple[list[tuple[int, bytes]], int]:
        floor = 0
        while True:  # until nothing is deleted meanwhile
            start = max(after, floor)
            end = -1 if limit is None else start - floor + limit - 1
            run = run_key(run_id)
            found = self._connections.read(
                ("HMGET", run, "position", "floor"),
                ("LRANGE", log_key(run_id), start - floor, end),
                ("HGET", run, "floor"),
            )
            if found is None or found[0] == [None, None]:
                return [], 0
            position, known = (self._number(each, run_id) for each in found[0])
            if known == floor == self._number(found[2], run_id):
                break
            floor = known
        # It only grows, so what the log has beyond that was appended meanwhile, or by a commit that was broken off.
        records = found[1][: max(0, position - start)]
        if len(records) != limit and start + len(records) != max(start, position):
            raise self._damaged(run_id, f"it is at {position}, its log ends at {start + len(records)}", position, "log")
        return list(enumerate(records, start + 1)), floor

    def summary(self, run_id: str) -> Summary | None:
        found = self._connections.read(("HMGET", run_key(run_id), "position", "floor", "summary"))
        row = None if found is None else self._row(found[0], run_id)
        return None if row is None else self._unpack(row[2], run_id, row[0])

    def _row(self, found: list[Any], run_id: str) -> tuple[int, int, bytes] | None:
        """Position, floor and summary."""
        position, floor, data, *_ = found
        if position is None and floor is None and data is None:
            return None
        return self._number(position, run_id), self._number(floor, run_id), data or b""

    def _number(self, found: Any, run_id: str) -> int:
        try:
            return int(found)
        except (TypeError, ValueError):
            raise self._damaged(run_id, f"{found!r:.40} is not a number") from None

    def blobs(self, run_id: str, digests: Iterable[bytes]) -> Mapping[bytes, bytes]:
        wanted = list(digests)
        found = self._connections.read(("HMGET", blobs_key(run_id), *wanted)) if wanted else None
        if found is None:
            return {}
        return {digest: data for digest, data in zip(wanted, found[0], strict=True) if data is not None}

    def select(self, query: Query) -> list[Summary]:
        found: list[Summary] = []
        limit = query.limit
        for block in self._candidates(query):
            if limit is not None and len(found) >= limit:
                break
            found += [summary for summary in self._summaries(block, query.graph or "") if matches(summary, query)]
        found.sort(key=lambda summary: summary.updated, reverse=True)
        return found[:limit]

    def run_ids(self, prefix: str = "") -> list[str]:
        found = self._connections.read(("ZRANGE", RUNS_KEY, 0, -1))
        wanted = encoded(prefix)
        ids = () if found is None else found[0]
        return [run_id.decode("utf-8", "surrogatepass") for run_id in ids if run_id.startswith(wanted)]

    def some_run_ids(self, limit: int) -> list[str]:
        return [row.run_id for row in self.select(Query(limit=limit))]

    def _candidates(self, query: Query) -> Iterator[list[bytes]]:
        """The ids of runs that may match, newest first, in blocks."""
        wanted = [] if query.status in (None, "damaged") else [status_key(query.status or "")]
        wanted += [] if query.graph is None or query.status == "damaged" else [graph_key(query.graph)]
        index = RUNS_KEY if not wanted else wanted[0]
        if len(wanted) == 2:
            sizes = self._connections.read(*(("ZCARD", key) for key in wanted))
            index = wanted[0] if sizes is None or sizes[0] <= sizes[1] else wanted[1]
        exact = len(wanted) < 2 and query.tag is None and query.status != "damaged"
        last = query.limit - 1 if exact and query.limit is not None else -1
        if query.limit == 0:
            return
        found = self._connections.read(("ZREVRANGE", index, 0, last))
        ids = [] if found is None else found[0]
        size = _LISTED if query.limit is None or exact else max(64, min(_LISTED, 2 * query.limit))
        for start in range(0, len(ids), size):
            yield ids[start : start + size]

    def _summaries(self, ids: list[bytes], graph: str) -> Iterator[Summary]:
        rows = self._connections.read_each(*(("HGET", b"tau:run:" + run_id, "summary") for run_id in ids))
        for run_id, data in zip(ids, rows or (), strict=False):
            name = run_id.decode("utf-8", "surrogatepass")
            try:
                yield unpack(data or b"", self.location, name)
            except CorruptCheckpointError:
                yield unreadable(name, graph)

    def leases(self, run_ids: Iterable[str]) -> Mapping[str, Lease]:
        ids = list(run_ids)
        fields = ("nonce", "counter", "seconds", "expires")
        commands = [("HMGET", run_key(run_id), *fields) for run_id in ids]
        found = self._connections.read(("TIME",), *commands) if ids else None
        if found is None:
            return {}
        (whole, parts), *rows = found
        now = int(whole) * 1_000_000 + int(parts)
        held = {run_id: self._lease(row, now, run_id) for run_id, row in zip(ids, rows, strict=True)}
        return {run_id: lease for run_id, lease in held.items() if lease is not None}

    def _lease(self, row: list[Any], now: int, run_id: str) -> Lease | None:
        nonce, counter, seconds, expires = row
        if nonce is None:
            return None
        try:
            length = float(seconds)
        except (TypeError, ValueError):
            raise self._damaged(run_id, f"{seconds!r:.40} is not the length of a lease") from None
        left = (self._number(expires, run_id) - now) / 1_000_000
        return judged(nonce.decode("utf-8", "surrogatepass"), self._number(counter, run_id), length, left)

    def due(self, graph: str, limit: int, *, watched: bool = True) -> list[Due]:
        return self._connections.in_turn_to_read(partial(self._due, graph, limit, watched))

    def _due(self, graph: str, limit: int, watched: bool, session: Session) -> list[Due]:
        keys = [due_key(graph), leased_key(graph)]
        found: dict[str, Due] = {}
        at = 0
        for size in sizes(limit):
            terms: Terms = [size, _LONG if watched else "", at]
            clock, read, *rows = self._connections.run(session, scripts.DUE, keys, terms) or (0, 0)
            for summary, lease in self._taken(rows, int(clock), graph):
                found[summary.run_id] = (summary, lease)  # the queue moves on meanwhile: one may come twice
            at += read
            if read < size or len(in_order([*found.values()], limit, watched=False)) >= limit:
                break
        return in_order([*found.values()], limit, watched=watched)

    def _taken(self, rows: list[Any], now: int, graph: str) -> Iterator[Due]:
        for data, *lease in rows:
            with suppress(CorruptCheckpointError):  # what is damaged is left out
                summary = unpack(data or b"", self.location)
                if summary.graph == graph and summary.may_be_taken(now / 1_000_000):
                    yield summary, self._lease(lease, now, summary.run_id)


def _keys(run_id: str) -> list[bytes]:
    return [run_key(run_id), log_key(run_id), blobs_key(run_id)]


def _is_too_large(batch: Batch) -> bool:
    sizes = (*map(len, batch.records), *(len(data) for _, data in batch.blobs))
    return max(sizes) > _LARGEST or weight_of(batch) > 2 * _LARGEST - (1 << 20)


def _terms(batch: Batch) -> Terms:
    """What `scripts.APPEND` is given for a batch."""
    summary = batch.summary
    owner = summary.owner
    return [
        encoded(batch.run_id),
        batch.expected,
        digest_of(batch.before) if batch.before else b"",
        "begins" if begins(batch) else "",
        summary.position,
        digest_of(batch.records[-1]),
        pack(summary),
        encoded(summary.graph),
        encoded(summary.status),
        summary.updated,
        "" if not summary.may_be_taken(math.inf) else "due" if owner is None else "leased",
        summary.not_before or 0.0,
        b"" if owner is None else encoded(owner.nonce),
        0.0 if owner is None else owner.lease,
        len(batch.records),
        len(batch.blobs),
        *batch.records,
        *(part for blob in batch.blobs for part in blob),
    ]
