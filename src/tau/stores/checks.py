"""What every store refuses."""

from __future__ import annotations

from tau.stores.contract import Batch


def problem(batch: Batch) -> ValueError | None:
    """Why no store can apply ``batch``, whatever the position of its run; ``None`` where one can."""
    summary = batch.summary
    if not batch.records:
        return ValueError(f"a batch of run {batch.run_id!r} has no records")
    if summary.run_id != batch.run_id:
        return ValueError(f"a batch of run {batch.run_id!r} has the summary of run {summary.run_id!r}")
    if summary.position != batch.expected + len(batch.records):
        return ValueError(
            f"a batch of run {batch.run_id!r} ends at position {batch.expected + len(batch.records)}, its summary says "
            f"{summary.position}"
        )
    return None
