"""Stores that break the contract: a simulation that does not notice them proves nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from tau.stores.contract import Batch
from tau.stores.memory import MemoryStore


class Unfenced(MemoryStore):
    """Takes a batch at whatever position it is."""

    def commit(self, batches: Sequence[Batch]) -> list[int | Exception]:
        results: list[int | Exception] = []
        for batch in batches:
            summary = self.summary(batch.run_id)
            position = 0 if summary is None else summary.position
            after = position + len(batch.records)
            moved = replace(batch, expected=position, summary=replace(batch.summary, position=after))
            result = super().commit([moved])[0]
            results.append(batch.expected + len(batch.records) if isinstance(result, int) else result)
        return results


class Forgetful(MemoryStore):
    """Acknowledges the fourth commit and does not keep it."""

    commits = 0

    def commit(self, batches: Sequence[Batch]) -> list[int | Exception]:
        self.commits += 1
        if self.commits == 4:
            return [batch.expected + len(batch.records) for batch in batches]
        return super().commit(batches)


class Torn(MemoryStore):
    """Keeps all records of a batch but the last."""

    def commit(self, batches: Sequence[Batch]) -> list[int | Exception]:
        results: list[int | Exception] = []
        for batch in batches:
            after = batch.summary.position
            part = batch
            if len(batch.records) > 2:
                part = replace(batch, records=batch.records[:-1], summary=replace(batch.summary, position=after - 1))
            result = super().commit([part])[0]
            results.append(after if isinstance(result, int) else result)
        return results


class Losing(MemoryStore):
    """Loses the newest record of a longer log between two reads."""

    def read(self, run_id: str, after: int = 0) -> list[tuple[int, bytes]]:
        rows = super().read(run_id, after)
        return rows[:-1] if after == 0 and len(rows) > 4 else rows


class Hollow(MemoryStore):
    """Keeps no blobs."""

    def blobs(self, run_id: str, digests: object) -> Mapping[bytes, bytes]:
        return {}
