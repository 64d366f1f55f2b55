"""Runs in a bucket: any number of machines, and no clock that they share.

It takes no lock and needs none: a commit is an object that is created only where there is none.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final, TypeVar

from tau.errors import ConfigError, CorruptCheckpointError, StoreError, StoreUnavailableError, UnsupportedFormatError
from tau.signals import pass_on
from tau.stores.contract import Batch, Lease, PositionConflict, Query, Store, Summary, problem
from tau.stores.due import Due, sifted
from tau.stores.reentry import Guard
from tau.stores.s3 import keys, leases
from tau.stores.s3.failures import DRIVERS, failure
from tau.stores.s3.index import Index
from tau.stores.s3.objects import Meta, Objects, side_by_side
from tau.stores.s3.place import Place
from tau.stores.s3.run_changes import RunChanges
from tau.stores.s3.run_log import Changed, Seen
from tau.stores.s3.trimming import trim
from tau.stores.server_store import refusal
from tau.stores.summaries import matches

MARKED: Final = b"tau s3 store 1\n"
MERGE_AFTER: Final = 64  # commits
MERGE_AT_REST: Final = 16  # commits, of a run that its owner lets go of
_TRIES: Final = 20
_FEW: Final = 4

T = TypeVar("T")

_log = logging.getLogger("tau")


class S3Store(Store):
    """A store in a bucket, below a prefix: ``s3://bucket/prefix?endpoint=https://host:9000&region=...``.

    Endpoint and region, where the URL leaves them out, are taken from AWS_ENDPOINT_URL and AWS_REGION, the credentials
    always from the environment: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, or a role of the machine.
    ``timeout`` is for how many seconds the service may leave a request without an answer.

    Making one raises `ConfigError` for a URL that cannot be used. The service is asked at the first use, and checked
    before the first write: one that ignores conditions is refused. Reading writes nothing but, where that is allowed,
    the index of listings. Its leases have no clock: `lease` gives a counter to watch.
    """

    default_lease = 300.0
    look_every = 30.0

    def __init__(self, url: str = "s3:", *, timeout: float = 30.0) -> None:
        if not timeout > 0:
            raise ConfigError(f"timeout is more than 0 seconds, found {timeout!r:.80}")
        self._place = place = Place(url)
        self.location = place.location
        self._objects = Objects(place, timeout)
        self._index = Index(self._objects)
        self._marked = False
        self._checked = False
        # What this process knows of the runs it commits to. A wrong guess is harmless: the name decides.
        self._known: dict[str, Seen] = {}
        self._writes = Guard(self.location)

    # Writing

    def commit(self, batches: Sequence[Batch]) -> list[int | Exception]:
        return self._writes.enter(lambda: self._commit_all(batches))

    def _commit_all(self, batches: Sequence[Batch]) -> list[int | Exception]:
        """Those of one run one after the other, the runs side by side."""
        if not batches:
            return []
        with self._failures("commit to"):
            self._ready_to_write()
        results: dict[int, int | Exception] = {}
        numbers: dict[str, list[int]] = {}
        for number, batch in enumerate(batches):
            numbers.setdefault(batch.run_id, []).append(number)

        def work(of_one_run: list[int]) -> None:
            for number in of_one_run:
                results[number] = self._commit(batches[number])

        side_by_side(work, list(numbers.values()))
        return [results[number] for number in range(len(batches))]

    def _commit(self, batch: Batch) -> int | Exception:
        wrong = problem(batch)
        if wrong is not None:
            return wrong
        known = self._known.pop(batch.run_id, None)  # whatever interrupts this, it is not known any more
        run = self._run(batch.run_id)
        try:
            with self._failures("commit to"):
                for _ in range(_TRIES):
                    if known is None or known.position != batch.expected:
                        known = run.settled()
                    refused = refusal(batch, self.location, known.position, known.floor, known.last)
                    if refused is not None:
                        return refused
                    after = run.append(batch, known)
                    if after is not None:
                        return self._keep(run, batch, after)
                    known = None
        except Exception as error:
            pass_on(error)
            return error
        return StoreUnavailableError(
            f"cannot commit run {batch.run_id!r} to {self.location}: others commit to it all the time",
            location=self.location,
        )

    def _keep(self, run: RunChanges, batch: Batch, after: Seen) -> int:
        """After a commit that stands: what is known, and merging what is due."""
        at_rest = batch.summary.owner is None
        if after.slots >= (MERGE_AT_REST if at_rest else MERGE_AFTER):
            after = after._replace(slots=1)
            try:
                with self._failures("merge commits in"):
                    run.merge()
            except (StoreError, CorruptCheckpointError, Changed) as error:
                # The commit stands; reading what is damaged raises an error. The next attempt comes with later commits.
                _log.warning("could not merge the commits of run %r in %s: %s", batch.run_id, self.location, error)
        if not at_rest:
            self._known[batch.run_id] = after
        return after.position

    def delete(self, run_id: str, keep_summary: bool = False, *, expected: int | None = None) -> None:
        def work() -> int:
            with self._failures("delete from"):
                self._ready_to_write()
                return self._run(run_id).delete(keep_summary, expected)

        self._known.pop(run_id, None)
        if not self._writes.enter(work) and expected:
            raise PositionConflict(run_id, expected, 0)

    def trim(self, run_id: str, first: int, blobs: Iterable[bytes], *, expected: int) -> None:
        def work() -> None:
            with self._failures("trim a run in"):
                self._ready_to_write()
                trim(self._run(run_id), run_id, first, blobs, expected)

        self._writes.enter(work)

    # Reading

    def read(self, run_id: str, after: int = 0) -> list[tuple[int, bytes]]:
        return self._read(lambda: self._run(run_id).records(after), [])

    def summary(self, run_id: str) -> Summary | None:
        return self._read(lambda: self._run(run_id).seen(self._known.get(run_id)).summary, None)

    def blobs(self, run_id: str, digests: Iterable[bytes]) -> Mapping[bytes, bytes]:
        return self._read(lambda: self._run(run_id).blobs(digests), {})

    def select(self, query: Query) -> list[Summary]:
        found = [row for row in self._summaries() if matches(row, query)]
        found.sort(key=lambda summary: summary.updated, reverse=True)
        return found[: query.limit]

    def run_ids(self, prefix: str = "") -> list[str]:
        nothing: list[Meta] = []
        listed = self._read(lambda: self._objects.list(keys.LOG), nothing)
        found = keys.whole_ids(dict.fromkeys(meta.key.split("/")[1] for meta in listed))
        return [run_id for run_id in found if run_id.startswith(prefix)]

    def due(self, graph: str, limit: int, *, watched: bool = True) -> list[Due]:
        found = self._summaries()
        rows = [row for row in found if row.graph == graph and (watched or row.status != "running")]
        return sifted(rows, _Listed(self, rows), limit, watched=watched)

    def _summaries(self) -> list[Summary]:
        nothing: list[Summary] = []
        return self._read(self._index.summaries, nothing)

    # Leases

    def lease(self, run_id: str) -> Lease | None:
        return self._read(lambda: leases.read(self._objects, self.summary(run_id))[0], None)

    def leases(self, run_ids: Iterable[str]) -> Mapping[str, Lease]:
        ids = dict.fromkeys(run_ids)
        if len(ids) <= _FEW:
            return super().leases(ids)
        return self._leases_of(row for row in self._summaries() if row.run_id in ids)

    def _leases_of(self, rows: Iterable[Summary]) -> Mapping[str, Lease]:
        return self._read(lambda: leases.several(self._objects, rows), {})

    def renew(self, run_id: str, nonce: str, seconds: float) -> bool:
        return self._writes.enter(lambda: self._change("renew a lease in", run_id, nonce, release=False))

    def release(self, run_id: str, nonce: str) -> None:
        self._writes.enter(lambda: self._change("release a lease in", run_id, nonce, release=True))

    def _change(self, doing: str, run_id: str, nonce: str, *, release: bool) -> bool:
        with self._failures(doing):
            summary = self.summary(run_id)
            if summary is None or summary.owner is None or summary.owner.nonce != nonce:
                return False
            self._ready_to_write()
            return leases.change(self._objects, summary, nonce, release=release)

    # The bucket

    def close(self) -> None:
        self._writes.enter(self._close)

    def _close(self) -> None:
        self._marked = self._checked = False
        self._known.clear()
        self._index.forget()
        self._objects.close()

    def _run(self, run_id: str) -> RunChanges:
        return RunChanges(self._objects, keys.folder_of(run_id), run_id)

    def _read(self, work: Callable[[], T], nothing: T) -> T:
        """Do ``work``; ``nothing`` where there is no store yet."""
        with self._failures("read"):
            return work() if self._marked or self._is_marked() else nothing

    def _is_marked(self) -> bool:
        """Whether there is a store. Raises `UnsupportedFormatError` where it is one of another version."""
        found = self._objects.get(keys.MARKER)
        if found is not None and found[0] != MARKED:
            where = self._objects.where(keys.MARKER)
            raise UnsupportedFormatError(
                f"{where} does not say that this is an S3 store of this version (it says {found[0][:100]!r}); use the "
                "version of tau that wrote it, or another prefix",
                found=found[0][:100],
                supported=MARKED,
            )
        self._marked = found is not None
        return self._marked

    def _ready_to_write(self) -> None:
        """Create or recognise the store, and check the service, before the first write."""
        if self._checked:
            return
        is_there = self._marked or self._is_marked()
        self._objects.check()
        if not is_there:
            self._objects.exchange(keys.MARKER, MARKED, None)
            self._is_marked()
        self._checked = True

    @contextmanager
    def _failures(self, doing: str) -> Iterator[None]:
        try:
            yield
        except DRIVERS as error:
            pass_on(error)
            told = failure(error, self.location, doing, self._place.hide)
            error.args = ()  # it goes with what is raised, and repeats the service's whole answer
        except RuntimeError as error:  # no thread can be had, or this process ends
            pass_on(error)
            said = f"cannot {doing} {self.location}: {error}; raise the limit of processes (ulimit -u)"
            told = StoreUnavailableError(said, location=self.location, transient=False)
        else:
            return
        raise told from None


class _Listed:
    """What `sifted` asks of a store whose runs are listed already."""

    def __init__(self, store: S3Store, rows: Sequence[Summary]) -> None:
        self.select = store.select
        self.lease = store.lease
        self._store = store
        self._rows = {row.run_id: row for row in rows}

    def leases(self, run_ids: Iterable[str]) -> Mapping[str, Lease]:
        return self._store._leases_of(self._rows[run_id] for run_id in run_ids)
