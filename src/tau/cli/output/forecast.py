"""How long a run may still take, judged by earlier runs of its graph in the same store."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from msgspec import Struct

from tau.errors import TauError
from tau.log.encoding import unseal
from tau.log.records import CheckpointRecord
from tau.stores import Store, Summary
from tau.stores.contract import Query

RUNS = 3
"""So many earlier runs are looked at, the newest."""
LONGEST = 2_000
"""A run with more records than this is not: reading it would cost more than the answer is worth."""

Visits = Sequence[tuple[str, float]]


class Estimate(Struct, frozen=True):
    """``seconds`` are left where it goes on as in ``runs`` earlier runs; 0 where it takes longer than they did."""

    seconds: float
    runs: int


class Forecast:
    """What earlier runs took: the node and the seconds of each visit, in order."""

    def __init__(self, earlier: Sequence[Visits] = ()) -> None:
        self.earlier = earlier

    def left(self, finished: int, node: str, elapsed: float) -> Estimate | None:
        """What is left after so many finished visits, ``elapsed`` seconds into ``node``.

        The median over those earlier runs that went through the same node at this point; ``None`` where none did.
        """
        likely = [
            max(0.0, visits[finished][1] - elapsed) + sum(seconds for _, seconds in visits[finished + 1 :])
            for visits in self.earlier
            if len(visits) > finished and visits[finished][0] == node
        ]
        return Estimate(statistics.median(likely), len(likely)) if likely else None


def forecast(store: Store, graph: str, run_id: str) -> Forecast:
    """Read the newest finished runs of ``graph`` but ``run_id``; nothing where the store cannot tell."""
    try:
        rows = store.select(Query(graph=graph, status="finished", limit=4 * RUNS))
        useful = [row for row in rows if row.run_id != run_id and row.base > 0 and row.position <= LONGEST]
        return Forecast([visits for row in useful[:RUNS] if (visits := _visits(store, row))])
    except TauError:
        return Forecast()


def _visits(store: Store, row: Summary) -> Visits:
    """The finished visits of one run; empty where its log does not tell all of them."""
    found: dict[int, tuple[str, float]] = {}
    for position, data in store.read(row.run_id):
        record = unseal(row.run_id, position, data)
        if isinstance(record, CheckpointRecord) and not record.scope:
            found[record.iteration] = (record.node, record.seconds)
    return [found[number] for number in sorted(found)] if len(found) == row.iterations else ()
