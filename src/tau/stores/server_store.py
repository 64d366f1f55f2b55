"""What the stores of servers share: groups of batches, what a server has forgotten, deletions, logs read in blocks."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Any, Final

from msgspec.structs import replace

from tau.errors import ConfigError, CorruptCheckpointError, StoreError, StoreUnavailableError
from tau.stores.contract import Batch, Lease, PositionConflict, Store, Summary, begins, deletion, problem
from tau.stores.sessions import Sessions
from tau.stores.summaries import unpack, unreadable

GROUP_BYTES: Final = 16 << 20  # so much goes into one transaction, unless a single batch is larger
BLOCK: Final = 1024  # so many records are in memory at a time when a log is read one after the other
TRIES: Final = 1000  # how often a deletion looks again, where others commit at the same moment
SLACK: Final = 1.0  # seconds by which a lease may seem longer than it is before the server's clock is not believed


class ServerStore(Store):
    """A store at a server that may forget what it has acknowledged, and whose clock all use."""

    _connections: Sessions[Any]

    @staticmethod
    def _is_strict(durability: str, max_connections: int) -> bool:
        """Whether the server must keep what it acknowledges. Raises `ConfigError`."""
        if durability not in ("strict", "relaxed"):
            raise ConfigError(f"durability is 'strict' or 'relaxed', found {durability!r:.80}")
        if max_connections < 1:
            raise ConfigError(f"max_connections is at least 1, found {max_connections!r}")
        return durability == "strict"

    # Writing

    def commit(self, batches: Sequence[Batch]) -> list[int | Exception]:
        results: list[int | Exception] = [StoreError("not committed", location=self.location)] * len(batches)
        away: Exception | None = None
        for group in self._groups(batches, results):
            found = self._commit([batches[number] for number in group]) if away is None else [away] * len(group)
            for number, result in zip(group, found, strict=True):
                results[number] = result
                away = result if isinstance(result, StoreUnavailableError) else away
        return results

    def _groups(self, batches: Sequence[Batch], results: list[int | Exception]) -> list[list[int]]:
        """The numbers of those that go into one transaction: of different runs, and not too much."""
        groups: list[list[int]] = []
        runs: set[str] = set()
        size = 0
        for number, batch in enumerate(batches):
            wrong = problem(batch)
            if wrong is not None:
                results[number] = wrong
                continue
            weight = weight_of(batch)
            if not groups or batch.run_id in runs or size + weight > GROUP_BYTES:
                groups.append([])
                runs, size = set(), 0
            groups[-1].append(number)
            runs.add(batch.run_id)
            size += weight
        return groups

    @abstractmethod
    def _commit(self, batches: Sequence[Batch]) -> list[int | Exception]:
        """What `commit` does, for batches of different runs, in one transaction."""

    def _refusal(self, batch: Batch, position: int, floor: int, last: bytes) -> Exception | None:
        """See `refusal`."""
        return refusal(batch, self.location, position, floor, last)

    def delete(self, run_id: str, keep_summary: bool = False, *, expected: int | None = None) -> None:
        if not self._delete(run_id, keep_summary, expected):
            raise StoreUnavailableError(
                f"cannot delete run {run_id!r} from {self.location}: its owner commits without a pause; stop or cancel "
                "it first",
                location=self.location,
            )

    @abstractmethod
    def _delete(self, run_id: str, keep_summary: bool, expected: int | None) -> bool:
        """Whether it is done; if not, the run has moved on at each of `TRIES`."""

    def _after_deletion(
        self, run_id: str, row: tuple[int, int, bytes], keep_summary: bool, expected: int | None
    ) -> Summary | None:
        """The summary that stays of a run with that position, floor and summary; ``None`` where there is nothing to
        delete."""
        position, floor, data = row
        try:
            before = self._unpack(data, run_id, position)
        except CorruptCheckpointError:
            if keep_summary or expected is not None:
                raise
            before = replace(unreadable(run_id), position=position)
        return deletion(before, keep_summary, expected, empty=floor == position)

    # Reading

    def read(self, run_id: str, after: int = 0) -> list[tuple[int, bytes]]:
        return self._read(run_id, after)[0]

    def scan(self, run_id: str, after: int = 0) -> Iterator[tuple[int, bytes]]:
        block, floor = self._read(run_id, after, BLOCK)
        while block:
            yield from block
            after = block[-1][0]
            block, now = self._read(run_id, after, BLOCK) if len(block) == BLOCK else ([], floor)
            if now != floor:
                raise self._damaged(run_id, f"the records after {after} were deleted as they were read", after, "log")

    @abstractmethod
    def _read(self, run_id: str, after: int, limit: int | None = None) -> tuple[list[tuple[int, bytes]], int]:
        """At most so many records, and the position of the last deletion."""

    def _unpack(self, data: bytes, run_id: str, position: int) -> Summary:
        summary = unpack(data, self.location, run_id)
        if summary.position != position:
            raise self._damaged(run_id, f"it is at {position}, its summary says {summary.position}", what="summary")
        return summary

    def lease(self, run_id: str) -> Lease | None:
        return self.leases([run_id]).get(run_id)

    def close(self) -> None:
        self._connections.close()

    def _damaged(self, run_id: str, why: str, position: int | None = None, what: str = "row") -> CorruptCheckpointError:
        return CorruptCheckpointError(
            f"run {run_id!r} in {self.location} is damaged: {why}; restore it from a backup",
            run_id=run_id,
            position=position,
            what=what,
        )


def refusal(batch: Batch, location: str, position: int, floor: int, last: bytes) -> Exception | None:
    """Why a batch is not appended to a run at that position, with the digest of its newest record and no records up to
    ``floor``; ``None`` where it can be."""
    emptied = 0 < position == floor and not begins(batch)
    if batch.before and position < batch.expected:
        return _forgot(batch, location, f"the server went back from {batch.expected} to {position}")
    if batch.before and position == batch.expected > floor and last != digest_of(batch.before):
        return _forgot(batch, location, f"the server has another history at position {position}")
    if position == batch.expected and not emptied:
        return None
    return PositionConflict(batch.run_id, batch.expected, position)


def _forgot(batch: Batch, location: str, what: str) -> StoreError:
    return StoreError(
        f"cannot commit run {batch.run_id!r} to {location}: {what}; it was put back from a backup, failed over to a "
        "standby that was behind, or lost what it had acknowledged; what this process has done since does not fit to "
        "what is stored: resume the run to go on from there",
        location=location,
    )


def weight_of(batch: Batch) -> int:
    """Its bytes."""
    return sum(map(len, batch.records)) + sum(len(data) for _, data in batch.blobs)


def digest_of(record: bytes) -> bytes:
    """What is compared of the newest record of a run."""
    return sha256(record).digest()[:16]


def judged(nonce: str, counter: int, seconds: float, left: float) -> Lease:
    """The lease of so many seconds that ends in ``left`` by the server's clock, which may have been set back."""
    return Lease(nonce, counter, left if left <= seconds + SLACK else None)
