"""Runs in a directory of files: for network file systems, and wherever files are all there is.

It takes no lock and needs none: a commit is the exclusive link of a file to a name.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import islice

from tau.errors import CorruptCheckpointError, StoreUnavailableError, UnsupportedFormatError
from tau.stores import names
from tau.stores.artifact_files import remove
from tau.stores.contract import Batch, Lease, PositionConflict, Query, Store, Summary, begins, problem
from tau.stores.disk import make_directories, read_file, sync_directory
from tau.stores.due import Due, sifted
from tau.stores.failures import from_os, is_foreign
from tau.stores.file.directory import Directory
from tau.stores.file.index import Index
from tau.stores.file.run_directory import MERGE_AFTER, Changed, Mark, RunDirectory, Seen
from tau.stores.file.trimming import trim
from tau.stores.reentry import Guard
from tau.stores.summaries import matches

MARKER = "tau-store"
MARKED = b"tau file store 1\n"

_log = logging.getLogger("tau")


class FileStore(Store):
    """A store in the directory ``root``, created with its parents at first use.

    Its leases have no clock: `lease` gives a counter to watch. Making one raises nothing: the directory is looked at
    when it is first used.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = os.path.realpath(os.fspath(root))
        self.location = f"file://{self.root}"
        self.artifacts = os.path.join(self.root, "artifacts")
        self._runs = os.path.join(self.root, "runs")
        self._index = Index(self.root, self._runs)
        self._identity: tuple[int, int] | None = None
        # What this process knows of the runs it commits to. A wrong guess is harmless: the link decides.
        self._known: dict[str, Seen] = {}
        self._unsettled: dict[str, str] = {}  # the name that a commit of the run was to have, which did not end well
        self._writes = Guard(self.location)

    # Writing

    def commit(self, batches: Sequence[Batch]) -> list[int | Exception]:
        return self._writes.enter(lambda: self._commit_all(batches))

    def _commit_all(self, batches: Sequence[Batch]) -> list[int | Exception]:
        results: list[int | Exception] = []
        for batch in batches:
            result: int | Exception
            try:
                with self._failures("commit to"):
                    result = self._commit(batch)
            except Exception as error:
                self._known.pop(batch.run_id, None)
                result = error
            results.append(result)
        return results

    def _commit(self, batch: Batch) -> int | Exception:
        wrong = problem(batch)
        if wrong is not None:
            return wrong
        self._ready()
        run_id = batch.run_id
        known = self._known.get(run_id)
        try:
            run = self._open(run_id, writes=True, create=batch.expected == 0)
        except FileNotFoundError:
            if known is None and batch.expected:
                return PositionConflict(run_id, batch.expected, 0)
            raise
        with run:
            if known is None:
                run.clean()
            if known is None or known.position != batch.expected:
                known = run.settled()
            emptied = known.floor == known.position > 0
            if known.position != batch.expected or (emptied and not begins(batch)):
                return PositionConflict(run_id, batch.expected, known.position)
            if known.position == 0:
                # The name of the directory must be there to stay before the first commit in it, wherever it was made.
                sync_directory(self._runs)
            return self._append(run, batch, known)

    def _append(self, run: RunDirectory, batch: Batch, known: Seen) -> int | Exception:
        run_id = batch.run_id
        self._unsettled[run_id] = names.slot(batch.expected + 1)
        after = run.append(batch, known)
        self._unsettled.pop(run_id, None)
        if after is None:
            self._known.pop(run_id, None)
            return PositionConflict(run_id, batch.expected, run.seen().position)
        if after.slots >= MERGE_AFTER:
            after = after._replace(slots=1)
            try:
                run.merge()
            except (OSError, CorruptCheckpointError, Changed) as error:
                # The commit stands; reading what is damaged raises an error. The next attempt comes with later commits.
                _log.warning("could not merge the commits of run %r in %s: %s", run_id, self.location, error)
        if batch.summary.owner is None:
            self._known.pop(run_id, None)
            run.clean()
        else:
            self._known[run_id] = after
        return after.position

    def delete(self, run_id: str, keep_summary: bool = False, *, expected: int | None = None) -> None:
        self._writes.enter(lambda: self._delete(run_id, keep_summary, expected))

    def _delete(self, run_id: str, keep_summary: bool, expected: int | None) -> None:
        self._known.pop(run_id, None)
        position = 0
        with self._failures("delete from"), suppress(FileNotFoundError), self._run(run_id, writes=True) as run:
            position = run.delete(keep_summary, expected)
        if expected and not position:
            raise PositionConflict(run_id, expected, 0)
        if not keep_summary:
            remove(self.artifacts, run_id, upto=position)

    def trim(self, run_id: str, first: int, blobs: Iterable[bytes], *, expected: int) -> None:
        def work() -> None:
            with self._failures("trim a run in"):
                try:
                    with self._run(run_id, writes=True) as run:
                        trim(run, run_id, first, blobs, expected)
                except FileNotFoundError:
                    raise PositionConflict(run_id, expected, 0) from None

        self._writes.enter(work)

    # Reading

    def read(self, run_id: str, after: int = 0) -> list[tuple[int, bytes]]:
        with self._failures("read"), suppress(FileNotFoundError), self._run(run_id) as run:
            return run.records(after)
        return []

    def summary(self, run_id: str) -> Summary | None:
        with self._failures("read"), suppress(FileNotFoundError), self._run(run_id) as run:
            return run.seen().summary
        return None

    def blobs(self, run_id: str, digests: Iterable[bytes]) -> Mapping[bytes, bytes]:
        with self._failures("read"), suppress(FileNotFoundError), self._run(run_id) as run:
            return run.blobs(digests)
        return {}

    def select(self, query: Query) -> list[Summary]:
        with self._failures("read"):
            self._ready()
            found = self._index.summaries()
        found = [summary for summary in found if matches(summary, query)]
        found.sort(key=lambda summary: summary.updated, reverse=True)
        return found[: query.limit]

    def run_ids(self, prefix: str = "") -> list[str]:
        with self._failures("read"):
            self._ready()
            found = names.whole_ids(os.listdir(self._runs))
        return [run_id for run_id in found if run_id.startswith(prefix)]

    def some_run_ids(self, limit: int) -> list[str]:
        with self._failures("read"):
            self._ready()
            with os.scandir(self._runs) as entries:
                return list(names.whole_ids(entry.name for entry in islice(entries, limit)))

    def due(self, graph: str, limit: int, *, watched: bool = True) -> list[Due]:
        with self._failures("read"):
            self._ready()
            found = self._index.summaries()
        rows = [row for row in found if row.graph == graph and (watched or row.status != "running")]
        return sifted(rows, self, limit, watched=watched)

    # Leases: the newest summary says who owns the run, every commit is a sign of life, and a small file counts the
    # renewals between commits. It is never synced and may be lost: that costs a wait, not a run.

    def lease(self, run_id: str) -> Lease | None:
        with self._failures("read"), suppress(FileNotFoundError), self._run(run_id) as run:
            return self._lease(run)[0]
        return None

    def _lease(self, run: RunDirectory) -> tuple[Lease | None, Mark, int]:
        seen = run.seen()
        owner = None if seen.summary is None else seen.summary.owner
        nonce = "" if owner is None else owner.nonce
        mark = run.mark()
        if mark is None or mark.nonce != nonce:
            mark = Mark(nonce, 0)
        held = owner is not None and mark.released < seen.position
        return Lease(nonce, seen.position + mark.renewals, None) if held else None, mark, seen.position

    def renew(self, run_id: str, nonce: str, seconds: float) -> bool:
        return self._writes.enter(lambda: self._renew(run_id, nonce))

    def _renew(self, run_id: str, nonce: str) -> bool:
        with self._failures("renew a lease in"), suppress(FileNotFoundError), self._run(run_id) as run:
            lease, mark, _ = self._lease(run)
            if lease is not None and lease.nonce == nonce:
                run.set_mark(Mark(nonce, mark.renewals + 1))
                return True
        return False

    def release(self, run_id: str, nonce: str) -> None:
        self._writes.enter(lambda: self._release(run_id, nonce))

    def _release(self, run_id: str, nonce: str) -> None:
        with self._failures("release a lease in"), suppress(FileNotFoundError), self._run(run_id) as run:
            lease, mark, position = self._lease(run)
            if lease is not None and lease.nonce == nonce:
                run.set_mark(Mark(nonce, mark.renewals, position))

    # The directory

    def close(self) -> None:
        self._writes.enter(self._close)

    def _close(self) -> None:
        self._identity = None
        self._known.clear()

    @contextmanager
    def _failures(self, doing: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if is_foreign(error):
                raise
            raise from_os(error, self.location, doing) from error

    @contextmanager
    def _run(self, run_id: str, writes: bool = False) -> Iterator[RunDirectory]:
        self._ready()
        with self._open(run_id, writes=writes) as run:
            yield run

    def _open(self, run_id: str, *, writes: bool, create: bool = False) -> RunDirectory:
        path = os.path.join(self._runs, names.directory_of(run_id))
        if create:
            with suppress(FileExistsError):
                os.mkdir(path, 0o700)
        name = self._unsettled.get(run_id)
        if name is not None:
            with RunDirectory(path, run_id) as run:
                try:
                    run.settle()
                    self._unsettled.pop(run_id, None)
                except OSError as error:  # a full disk can be read where the commit left nothing to be read
                    if writes or is_foreign(error) or run.has(name):
                        raise
        return RunDirectory(path, run_id)  # not in a variable: after an interrupt the frame would keep it open

    def _ready(self) -> None:
        """Create or recognise the store at first use; afterwards, make sure that it is still the same one."""
        known = self._identity
        if known is None:
            if not self._recognised():
                self._create()
            with Directory(self.root) as root:
                root.clean()
            found = os.stat(self._runs)
            self._identity = found.st_dev, found.st_ino
            return
        try:
            found = os.stat(self._runs)
            same = (found.st_dev, found.st_ino) == known
        except FileNotFoundError:
            same = False
        if not same:
            raise StoreUnavailableError(
                f"{self.location} was removed or replaced while it was in use; bring the old directory back, or close "
                "the store to begin with what is there now",
                location=self.location,
                transient=False,
            )

    def _recognised(self) -> bool:
        path = os.path.join(self.root, MARKER)
        try:
            found = read_file(path)[:100]
        except FileNotFoundError:
            return False
        if found == MARKED:
            return True
        raise UnsupportedFormatError(
            f"{path} does not say that this is a file store of this version (it says {found!r}); use the version "
            "of tau that wrote it, or another directory",
            found=found,
            supported=MARKED,
        )

    def _create(self) -> None:
        make_directories(self._runs)
        sync_directory(os.path.dirname(self.root))
        sync_directory(self.root)
        with Directory(self.root) as root:
            root.publish(MARKER, [MARKED])
        sync_directory(self.root)
