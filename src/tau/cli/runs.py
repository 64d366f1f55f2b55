"""`tau runs`."""

from __future__ import annotations

from typing import Any

import click

from tau.cli import options, screen
from tau.cli.outcome import Exit, Session, complain, reporting
from tau.cli.places import reading
from tau.cli.targets import read_project
from tau.stores import Summary

STATUSES = ["running", "waiting", "interrupted", "failed", "finished", "cancelled", "dead"]


@click.command()
@click.option("--graph", metavar="NAME", help="Only runs of this graph.")
@click.option("--status", type=click.Choice(STATUSES), help="Only runs with this status; dead: its owner is gone.")
@click.option("--tag", metavar="TAG", help="Only runs with this tag.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most so many, the newest.")
@options.store
@options.as_json
@reporting
def runs(
    session: Session, *, graph: str | None, status: str | None, tag: str | None, limit: int | None, store: str | None
) -> int:
    """List the runs of a store, the most recently updated first."""
    place = reading(store, read_project(), session)
    found = [] if place is None else place.runs(graph=graph, status=status, tag=tag, limit=limit)
    if session.as_json:
        screen.document([document(row) for row in found])
    elif found:
        heads = ("run", "graph", "status", "node", "visits", "updated", "tags")
        screen.table(heads, (_row(row) for row in found))
    else:
        complain(f"no such runs in {session.store}" + (": nothing was ever stored there" if place is None else ""))
    return Exit.DONE


def document(row: Summary) -> dict[str, Any]:
    """A run at a glance, for JSON."""
    return {
        "run_id": row.run_id,
        "graph": row.graph,
        "status": row.status,
        "node": row.node,
        "visits": row.iterations,
        "tags": list(row.tags),
        "owner": str(row.owner) if row.owner is not None else None,
        "created": screen.stamp(row.created),
        "updated": screen.stamp(row.updated),
        "checkpoints": row.base > 0,
    }


def _row(row: Summary) -> list[str]:
    visits = str(row.iterations)
    return [row.run_id, row.graph, row.status, row.node or "", visits, screen.moment(row.updated), ", ".join(row.tags)]
