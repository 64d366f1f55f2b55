"""`tau runs`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from tau.cli import options
from tau.cli.outcome import Exit, Session, complain, reporting
from tau.cli.output import screen
from tau.cli.output.watching import follow, watch
from tau.cli.places import reading
from tau.cli.targets import read_project
from tau.stores import Summary
from tau.stores.contract import STATUSES

HEADS = ("run", "graph", "status", "node", "visits", "updated", "tags")


@click.command()
@click.option("--graph", metavar="NAME", help="Only runs of this graph.")
@click.option("--status", type=click.Choice(STATUSES), help="Only runs with this status; dead: its owner is gone.")
@click.option("--tag", metavar="TAG", help="Only runs with this tag.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most so many, the newest.")
@click.option("--watch", "watching", is_flag=True, help="Go on showing them until Ctrl-C; exit code 130.")
@click.option(
    "--every",
    type=options.seconds,
    default=2.0,
    metavar="SECONDS",
    help="With --watch: how often to look; 2 by default.",
)
@options.store
@options.as_json
@reporting
def runs(
    session: Session,
    *,
    graph: str | None,
    status: str | None,
    tag: str | None,
    limit: int | None,
    watching: bool,
    every: float,
    store: str | None,
) -> int:
    """List the runs of a store, the most recently updated first.

    \b
    Examples:
      tau runs --status failed --tag monthly
      tau runs --graph climate --watch
    """
    project = read_project()

    def look() -> Sequence[Summary]:
        place = reading(store, project, session)
        return [] if place is None else place.runs(graph=graph, status=status, tag=tag, limit=limit)

    if watching and session.as_json:
        return follow(look, lambda row: screen.document(document(row), indent=None), every)
    if watching:
        return watch(look, HEADS, _row, every)
    found = look()
    if session.as_json:
        screen.document([document(row) for row in found])
    elif found:
        screen.table(HEADS, (_row(row) for row in found))
    else:
        nothing = reading(store, project, session) is None
        complain(f"no such runs in {session.store}" + (": nothing was ever stored there" if nothing else ""))
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
