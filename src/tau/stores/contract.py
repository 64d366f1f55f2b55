"""The store contract: bytes in, bytes out, one conditional append.

A store keeps the logs of runs. It knows nothing about values, graphs or engines: records and blobs are opaque bytes,
already encoded and checksummed by the caller. Everything that a store must get right is stated on `Store`; the public
test suite `tau.testing.StoreContract` checks every sentence.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from inspect import signature
from typing import TYPE_CHECKING, Protocol, Self

from msgspec import Struct
from msgspec.structs import replace

from tau.errors import ConfigError, CorruptCheckpointError, StoreError
from tau.late_imports import load_module
from tau.stores.summaries import FINAL, STATUSES, Lease, Owner, Query, Rows, Summary

if TYPE_CHECKING:
    from tau.log.committer import Committer
    from tau.state import State

__all__ = [
    "FINAL", "STATUSES", "Batch", "Lease", "News", "Owner", "PositionConflict", "Query", "Rows", "Store", "Summary",
    "begins", "deletion", "emptied", "problem",
]  # fmt: skip


class Batch(Struct, frozen=True, gc=False):
    """What one commit appends to one run.

    The records get the positions ``expected + 1 ... expected + len(records)``. ``blobs`` are (digest, data) pairs; a
    blob whose digest the run already holds changes nothing. ``token`` is unique to this commit and also inside every
    record, so that a lost reply can be resolved by reading back. ``summary.position`` is the position after the commit.
    ``before`` is the record at ``expected``, where the writer knows it: a store whose server may forget what it has
    acknowledged refuses the batch with a `StoreError` if it is behind that, or has another record there.
    """

    run_id: str
    expected: int
    token: bytes
    records: tuple[bytes, ...]
    blobs: tuple[tuple[bytes, bytes], ...]
    summary: Summary
    before: bytes = b""


class PositionConflict(Exception):
    """A batch expected a different position; ``position`` is the one that the run has. Nothing was changed."""

    def __init__(self, run_id: str, expected: int, position: int) -> None:
        super().__init__(f"run {run_id!r} is at position {position}, not {expected}")
        self.run_id = run_id
        self.expected = expected
        self.position = position


class News(Protocol):
    """What a worker waits for; closed by the worker. What is missed costs a wait, never a run."""

    def wait(self, seconds: float) -> bool:
        """Wait for at most so long; whether there is news. Raises nothing."""

    def close(self) -> None:
        """Wait for no more. Twice is fine."""


class Store(ABC):
    """Where runs are kept.

    Atomic: a batch is applied whole or not at all; no reader ever sees a part of it. Conditional: it is applied if and
    only if the run's position equals ``expected`` (0 for a run that never existed). A deletion takes a position, too:
    positions are never reused, and a writer that knew the run before is refused. Durable: when `commit` returns, the
    batch survives a power cut. Isolated: the error of one batch does not affect the others of the same call.

    Every method may be called from any thread, and from any number of processes that opened the same location. A store
    opens its location at first use and again after ``os.fork`` in the child. It is closed by the code that created it;
    a closed store opens again when used.

    Failures raise (or, in `commit`, are returned as) `tau.errors.StoreError` and its kinds, with the location and the
    remedy in the message. Damage that the store itself can see raises `tau.errors.CorruptCheckpointError`.
    """

    location: str = ""
    """Where this store is, as a URL without a password."""

    artifacts: str | None = None
    """The directory for the files of its runs, if it has one; `delete` removes those of the run."""

    forgets: bool = False
    """Whether a deletion leaves no position behind, so that a run begun again reuses positions that earlier owners
    know."""

    keeps_history: bool = True
    """Whether it keeps the records before the newest manifest, and the values that were replaced, and can hold a run
    that is put in part by part."""

    default_lease: float = 60.0
    """The lease in seconds where `CheckpointConfig` has its default: a sign of life may cost money."""

    _committer: Committer | None = None

    @property
    def committer(self) -> Committer:
        """What commits for all runs of this process; made at first use."""
        committer = self._committer
        if committer is None or committer.stale:
            load_module("tau.log.committer")
            from tau.log.committer import committer_of

            committer = committer_of(self)
        return committer

    @abstractmethod
    def commit(self, batches: Sequence[Batch]) -> Sequence[int | Exception]:
        """Apply each batch or say why not, in order: the new position, a `PositionConflict`, or a ``StoreError``.

        Two batches of one run in one call are applied one after the other. A batch whose summary has an owner starts
        or extends that owner's lease in the same atomic step; one without an owner ends the lease. Raises `StoreError`
        only if it cannot give a result for any batch.
        """

    @abstractmethod
    def read(self, run_id: str, after: int = 0) -> Sequence[tuple[int, bytes]]:
        """The (position, record) pairs with a position above ``after``, ascending; empty for an unknown run.

        Raises `StoreError`, or `CorruptCheckpointError` for damage that the store can see.
        """

    def scan(self, run_id: str, after: int = 0) -> Iterator[tuple[int, bytes]]:
        """What `read` gives, one after the other. A store may hold a part of it in memory at a time, and raise when it
        comes to what it cannot read."""
        return iter(self.read(run_id, after))

    def logs(self, after: Mapping[str, int]) -> Mapping[str, Sequence[tuple[int, bytes]]]:
        """`read` of several runs, each after a position of its own; damaged ones are left out. Raises `StoreError`."""
        found: dict[str, Sequence[tuple[int, bytes]]] = {}
        for run_id, position in after.items():
            with suppress(CorruptCheckpointError):  # who reads it alone is told
                found[run_id] = self.read(run_id, position)
        return found

    @abstractmethod
    def summary(self, run_id: str) -> Summary | None:
        """The newest summary; status ``deleted`` for a deleted run, ``None`` for one that never existed.

        Raises `StoreError`, or `CorruptCheckpointError` for damage that the store can see.
        """

    @abstractmethod
    def blobs(self, run_id: str, digests: Iterable[bytes]) -> Mapping[bytes, bytes]:
        """The named blobs of this run; those it does not hold are left out.

        Raises `StoreError`, or `CorruptCheckpointError` for damage that the store can see.
        """

    @abstractmethod
    def select(self, query: Query) -> Sequence[Summary]:
        """The runs that match, the most recently updated first; never those with status ``deleted``.

        One whose summary is damaged has status ``damaged``. Raises `StoreError`.
        """

    def run_ids(self, prefix: str = "") -> Sequence[str]:
        """The ids that begin with ``prefix`` of the runs that `select` lists, in no order; those of deleted runs may be
        among them, and long ones may be left out. By default it is made of `select`. Raises `StoreError`."""
        return [summary.run_id for summary in self.select(Query()) if summary.run_id.startswith(prefix)]

    def some_run_ids(self, limit: int) -> Sequence[str]:
        """The ids of ``limit`` runs or fewer, the newest if possible, among which an error looks for the one that is
        meant by a mistyped id; those of deleted runs may be among them. Nothing where it takes more than one cheap
        question, as it does by default. Raises `StoreError`."""
        return ()

    @abstractmethod
    def delete(self, run_id: str, keep_summary: bool = False, *, expected: int | None = None) -> None:
        """Remove all records and blobs of a run; if there are none, nothing happens.

        It does not ask who works on the run: a process that does gets `LeaseLostError` at its next commit. (The command
        ``tau delete`` refuses such a run, and one that it does not find.) `StateGraph.cancel` ends a run first.

        A deletion takes the next position, as a commit of one record does, so that every writer that knew the run
        before is refused. What stays is the same summary with ``base`` 0 (``keep_summary``), or one with status
        ``deleted``, both without owner and lease. With ``expected`` it raises `tau.stores.contract.PositionConflict`,
        and changes nothing, if the run is at a different position; a deletion that was already carried out there may be
        repeated.

        A run whose summary is damaged is removed too, and its next position is one that no writer knows; with
        ``keep_summary`` or ``expected`` it raises `CorruptCheckpointError` instead. Raises `StoreError`.
        """

    def delete_at(self, run_id: str, position: int, keep_summary: bool = False) -> None:
        """`delete` with ``expected``; not quite atomic for a subclass whose `delete` does not take it.

        Raises `PositionConflict` if the run is at a different position, and what `delete` raises.
        """
        if "expected" in signature(type(self).delete).parameters:
            self.delete(run_id, keep_summary, expected=position)
            return
        found = self.summary(run_id)
        if found is not None and found.position != position:
            raise PositionConflict(run_id, position, found.position)
        self.delete(run_id, keep_summary)

    def trim(self, run_id: str, first: int, blobs: Iterable[bytes], *, expected: int) -> None:
        """Remove the records of a run before position ``first``, that of a manifest, and the named blobs, which no
        record from there on needs. Its position, summary and lease stay as they are; `read` begins at ``first``.

        One atomic step, as a commit is; a store may leave what it cannot remove in one. It raises
        `tau.stores.contract.PositionConflict`, and changes nothing, if the run is not at position ``expected``. What is
        gone already may be removed again. A store that cannot do this raises `StoreError`, and so does one that fails.
        """
        raise StoreError(
            f"{self.location} cannot drop what lies before the newest manifest of a run; nothing was changed",
            location=self.location,
        )

    @abstractmethod
    def lease(self, run_id: str) -> Lease | None:
        """The lease that is held on a run, expired or not; ``None`` if there is none. Raises `StoreError`."""

    def leases(self, run_ids: Iterable[str]) -> Mapping[str, Lease]:
        """`lease` of many runs; those that have none are left out. Raises what `lease` raises."""
        return {run_id: lease for run_id in run_ids if (lease := self.lease(run_id)) is not None}

    def listen(self, graph: str) -> News | None:
        """What wakes a worker of this graph at once when a run is admitted, answered or let go; ``None`` where nothing
        does, and `due` is called every ``look_every`` seconds. Raises `StoreError`."""
        return None

    look_every: float = 1.0
    """How many seconds a worker that has nothing to do waits between two calls of `due`."""

    def due(self, graph: str, limit: int, *, watched: bool = True) -> Sequence[tuple[Summary, Lease | None]]:
        """At most ``limit`` runs of a graph that may be taken now, with their leases, oldest ``not_before`` first.

        These are the runs of which `Summary.may_be_taken` says so, by the store's clock where it has one; a running
        one if it has no lease, or one that has run out. A running one whose lease can only be watched (``expires_in``
        is ``None``) comes behind them, beyond the limit, and only if it is to be ``watched``: where leases lie apart,
        that costs a look at each, and a store without a clock may leave out all running ones otherwise.

        What is damaged is left out. Whether the owner of a running one is dead although its lease has time left is not
        asked. By default it is made of `select` and `leases`. Raises `StoreError`.
        """
        load_module("tau.stores.due")
        from tau.stores.due import found_by_status

        return found_by_status(self, graph, limit, watched=watched)

    def some_due(
        self, graph: str, limit: int, among: int, *, watched: bool = True
    ) -> Sequence[tuple[Summary, Lease | None]]:
        """Those of ``due(graph, among)`` that are to be watched, and ``limit`` of the others or more, from a random one
        on, if they can be read: no more is needed by one of many workers. By default all. Raises `StoreError`."""
        return self.due(graph, among, watched=watched)

    @abstractmethod
    def renew(self, run_id: str, nonce: str, seconds: float) -> bool:
        """Extend the lease from now if ``nonce`` holds it, expired or not; else ``False``. Raises `StoreError`."""

    @abstractmethod
    def release(self, run_id: str, nonce: str) -> None:
        """End the lease if ``nonce`` holds it; otherwise do nothing. Raises `StoreError`."""

    @abstractmethod
    def close(self) -> None:
        """Close files and connections; twice is fine. Raises `StoreError` only in a signal handler that interrupted a
        call to this store."""

    # What users call, built on the methods above.

    def save(self, state: State) -> None:
        """Save a state under its run id; inside a node of that very run, save what an interval held back.

        Raises `ConfigError` for anything but a `State`, `RunOwnedError` if the run has an owner,
        `UnserializableError` for a value that cannot be stored, `StoreError`.
        """
        load_module("tau.engine.saved_state")
        from tau.engine.saved_state import save

        save(self, state)

    def load(self, run_id: str) -> State:
        """The newest state of a run; a store that does not exist yet is created, and then holds none. While a node that
        consists of graphs is in flight, it is the state that this node was given.

        Raises `CheckpointNotFoundError` (`RunFinishedError` if the run finished and its checkpoints were deleted),
        `CorruptCheckpointError` or `StoreError`.
        """
        load_module("tau.engine.saved_state")
        from tau.engine.saved_state import load_state

        return load_state(self, run_id)

    def list(self) -> Sequence[str]:
        """The ids of the runs that `load` knows, the most recently updated first. Raises `StoreError`."""
        return [summary.run_id for summary in self.select(Query()) if summary.base > 0]

    def runs(
        self, *, graph: str | None = None, status: str | None = None, tag: str | None = None, limit: int | None = None
    ) -> Sequence[Summary]:
        """The summaries of runs, the most recently updated first; a running one that lost its owner has status
        ``dead``, and one whose summary cannot be read ``damaged``. A store that does not exist yet is created.

        Raises `ConfigError` for a ``status`` that does not exist, `StoreError`.
        """
        load_module("tau.engine.saved_state")
        from tau.engine.saved_state import runs

        if status is not None and status not in STATUSES:
            raise ConfigError(f"no run has status {status!r:.80}; a status is one of {', '.join(STATUSES)}")
        return runs(self, Query(graph=graph, status=status, tag=tag, limit=limit))

    def identity(self) -> str:
        """A random name of this store, the same wherever it is opened, made at the first call. Raises `StoreError`.

        It is kept as the one record of a run with an empty id, which has status ``deleted`` and so is never listed.
        """
        while True:
            for _, record in self.read(""):
                return record.decode()
            name = os.urandom(8).hex().encode()
            summary = Summary(run_id="", graph="", status="deleted", position=1, base=0)
            (result,) = self.commit([Batch("", 0, name, (name,), (), summary)])
            if isinstance(result, Exception) and not isinstance(result, PositionConflict):
                raise result

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.location!r})"


def emptied(summary: Summary, keep_summary: bool) -> Summary:
    """The summary that `Store.delete` leaves behind; a run that was running or admitted is cancelled by that."""
    position = summary.position + 1
    if keep_summary:
        status = "cancelled" if summary.status in ("running", "admitted") else summary.status
        return replace(
            summary,
            position=position,
            base=0,
            owner=None,
            status=status,
            pauses=0,
            deadline=None,
            not_before=None,
            next=None,
            items=0,
            planned=None,
        )
    return replace(
        summary, position=position, base=0, owner=None, status="deleted", graph="", node=None, tags=(), iterations=0,
        pauses=0, deadline=None, not_before=None, next=None, items=0, planned=None,
    )  # fmt: skip


def deletion(summary: Summary, keep_summary: bool, expected: int | None, *, empty: bool) -> Summary | None:
    """The summary after a deletion, or ``None`` if there is nothing to change; ``empty``: there are no records.

    Raises `PositionConflict`.
    """
    done = empty and (keep_summary or summary.status == "deleted")
    if expected not in (None, summary.position, *([summary.position - 1] if done else ())):
        assert expected is not None
        raise PositionConflict(summary.run_id, expected, summary.position)
    return None if done else emptied(summary, keep_summary)


def begins(batch: Batch) -> bool:
    """Whether a run of which nothing is left may begin again with this batch: it has a manifest, and nothing is
    finished in it yet. Any other batch is from an owner that does not know of the deletion, because deletions by the
    first version of tau took no position."""
    return batch.summary.base > batch.expected and batch.summary.iterations == 0


def problem(batch: Batch) -> ValueError | None:
    """Why no store can apply ``batch``, whatever the position of its run; ``None`` if one can."""
    summary = batch.summary
    if not batch.records:
        return ValueError(f"a batch of run {batch.run_id!r} has no records")
    if summary.run_id != batch.run_id:
        return ValueError(f"a batch of run {batch.run_id!r} has the summary of run {summary.run_id!r}")
    end = batch.expected + len(batch.records)
    if summary.position != end:
        return ValueError(f"a batch of run {batch.run_id!r} ends at {end}, its summary says {summary.position}")
    return None
