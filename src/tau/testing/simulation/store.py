"""A process's way to the store of a simulated world; here its calls fail, get lost, or never come back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from msgspec.structs import replace

from tau.errors import StoreUnavailableError
from tau.log.committer import Committer
from tau.log.tickets import Ticket, wake
from tau.stores.contract import Batch, Lease, Query, Store, Summary

if TYPE_CHECKING:
    from tau.testing.simulation.process import Process
    from tau.testing.simulation.world import World

T = TypeVar("T")

_FAILING_AFTER = {"blind": 1, "outage": 4}


class _AtOnce(Committer):
    """Commits in the caller's thread, as nothing happens beside a simulation."""

    def submit(self, ticket: Ticket) -> Ticket:
        ticket.result = self.commit(ticket.batch)
        if ticket.answer is not None:
            ticket.answer(ticket.result)
        wake((ticket,))
        return ticket

    def soon(self, work: Callable[[], object]) -> None:
        work()


class SimulatedStore(Store):
    """One connection to the world's store. With ``watched`` leases have no time, as in files and S3.

    Without a ``process`` it belongs to the world outside, and nothing goes wrong.
    """

    def __init__(self, world: World, process: Process | None, *, watched: bool = False) -> None:
        self.location = "simulated:"
        self._world = world
        self._process = process
        self.watched = watched
        self._failing = 0

    @property
    def committer(self) -> Committer:
        if self._committer is None:
            self._committer = _AtOnce(self)
        return self._committer

    def commit(self, batches: Sequence[Batch]) -> Sequence[int | Exception]:
        return self._call("store.commit", lambda: [self._commit(batch) for batch in batches])

    def _commit(self, batch: Batch) -> int | Exception:
        world = self._world
        result = world.store.commit([batch])[0]
        if batch.run_id == world.run_id:
            number = -1 if self._process is None else self._process.number
            world.history.note(batch, result, number, world.turns)
        return result

    def read(self, run_id: str, after: int = 0) -> Sequence[tuple[int, bytes]]:
        return self._call("store.read", lambda: self._world.store.read(run_id, after))

    def summary(self, run_id: str) -> Summary | None:
        return self._call("store.summary", lambda: self._world.store.summary(run_id))

    def blobs(self, run_id: str, digests: Iterable[bytes]) -> Mapping[bytes, bytes]:
        wanted = list(digests)
        return self._call("store.blobs", lambda: self._world.store.blobs(run_id, wanted))

    def select(self, query: Query) -> Sequence[Summary]:
        return self._call("store.select", lambda: self._world.store.select(query))

    def delete(self, run_id: str, keep_summary: bool = False, *, expected: int | None = None) -> None:
        self._call("store.delete", lambda: self._delete(run_id, keep_summary, expected))

    def _delete(self, run_id: str, keep_summary: bool, expected: int | None) -> None:
        self._world.store.delete(run_id, keep_summary, expected=expected)
        if run_id == self._world.run_id:
            self._world.history.dropped()

    def lease(self, run_id: str) -> Lease | None:
        lease = self._call("store.lease", lambda: self._world.store.lease(run_id))
        if self._process is not None:
            # Who can only watch, or was stopped before the owner had a moment to renew, cannot know that it is gone.
            alive = lease is not None and (lease.expires_in or 0.0) > 0
            stop = self._process.driver.stop
            unsure = self.watched or (stop is not None and stop.is_set())
            self._process.met_owner = alive or (lease is not None and unsure)
            self._process.found_free = not alive
        return replace(lease, expires_in=None) if lease is not None and self.watched else lease

    def renew(self, run_id: str, nonce: str, seconds: float) -> bool:
        return self._call("store.renew", lambda: self._world.store.renew(run_id, nonce, seconds))

    def release(self, run_id: str, nonce: str) -> None:
        self._call("store.release", lambda: self._world.store.release(run_id, nonce))

    def close(self) -> None:
        pass

    def _call(self, what: str, call: Callable[[], T]) -> T:
        process = self._process
        if process is None or process.status == "ended":
            return call()
        if self._failing:
            self._failing -= 1
            raise self._unavailable(process, what, "not reached")
        fault = process.reach(what)
        if fault == "error":
            raise self._unavailable(process, what, "not reached")
        if fault == "interrupt":
            raise KeyboardInterrupt
        result = call()
        if fault == "crash-after":
            process.die()
        if fault == "interrupt-after":
            raise KeyboardInterrupt
        self._failing = _FAILING_AFTER.get(fault or "", 0)
        if fault in ("lost", "blind", "outage"):
            raise self._unavailable(process, what, "carried out, but its reply was lost")
        return result

    def _unavailable(self, process: Process, what: str, how: str) -> StoreUnavailableError:
        return StoreUnavailableError(
            f"simulated failure of process {process.number}: {what} was {how}; resume the run",
            location=self.location,
        )
