"""`tau runs`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

from tau.cli import options
from tau.cli.exits import Exit
from tau.cli.ids import in_short
from tau.cli.outcome import Session, complain, reporting
from tau.cli.output import screen
from tau.cli.output.watching import follow, watch
from tau.cli.places import note_none, note_nothing, reading
from tau.cli.targets import read_project
from tau.stores import Summary
from tau.stores.contract import STATUSES

HEADS = ("run", "graph", "status", "node", "visits", "updated", "tags", "items")
ENDED = ("finished", "cancelled", "damaged")


@click.command()
@click.option("--graph", metavar="NAME", help="Show only runs of this graph.")
@click.option(
    "--status",
    type=click.Choice(STATUSES),
    metavar="STATUS",
    help=f"Show only runs with this status: {', '.join(STATUSES)}. A dead run lost its process and can be resumed.",
)
@click.option("--tag", metavar="TAG", help="Show only runs with this tag.")
@click.option("--limit", type=options.Count(), metavar="N", help="Show only the N newest runs.")
@click.option("--watch", "watching", is_flag=True, help="Keep showing them until Ctrl-C (exit code 130).")
@click.option(
    "--every",
    type=options.seconds,
    metavar="SECONDS",
    help="With --watch: the pause between two updates; 2 by default.",
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
    every: float | None,
    store: str | None,
) -> int:
    """List the runs of a store, last updated first.

    \b
    Examples:
      tau runs --status failed --tag monthly
      tau runs --graph climate --watch
    """
    project = read_project()
    if every is not None and not watching:
        complain("--every has no effect without --watch")
    pause = 2.0 if every is None else every

    short: Callable[[str], str] = str

    def look() -> Sequence[Summary]:
        nonlocal short
        place = reading(store, project, session)
        found = [] if place is None else place.runs(graph=graph, status=status, tag=tag, limit=limit)
        ids = [row.run_id for row in found]
        short = in_short(place, ids, all_of_them=not (graph or status or tag or limit))
        return found

    def shown(row: Summary) -> list[str]:
        return _row(row, short)

    if watching and session.as_json:
        return follow(look, lambda row: screen.document(document(row), indent=None), pause)
    if watching:
        return watch(look, HEADS, shown, pause)
    found = look()
    if session.as_json:
        screen.document([document(row) for row in found])
    elif found:
        screen.table(HEADS, map(shown, found))
    else:
        place = reading(store, project, session)
        narrowed = graph or status or tag
        which = "no such runs" if narrowed else "there are no runs"
        if place is not None and narrowed:
            note_none(which, place, session, graph=graph, tag=tag)
        elif narrowed:
            complain(f"{which} in {session.store}: nothing was ever stored there")
        else:
            never = ": nothing was ever stored there" if place is None else ""
            note_nothing(f"{which} in {session.store}{never}", session)
    return Exit.DONE


def document(row: Summary) -> dict[str, Any]:
    """A run at a glance, for JSON."""
    return {
        "run_id": row.run_id,
        "graph": row.graph,
        "status": row.status,
        "node": row.node,
        "next": None if row.status in ENDED else row.next,
        "items_finished": 0 if row.status in ENDED else row.items,
        "items_planned": None if row.status in ENDED else row.planned,
        "visits": row.iterations,
        "tags": list(row.tags),
        "owner": str(row.owner) if row.owner is not None else None,
        "created": screen.stamp(row.created),
        "updated": screen.stamp(row.updated),
        "checkpoints": row.base > 0,
        "pauses": row.pauses,
        "deadline": None if row.deadline is None else screen.stamp(row.deadline),
        "not_before": None if row.not_before is None else screen.stamp(row.not_before),
    }


def _row(row: Summary, short: Callable[[str], str]) -> list[str]:
    visits, updated, tags = str(row.iterations), screen.ago(row.updated), ", ".join(row.tags)
    return [short(row.run_id), row.graph, row.status, _where(row), visits, updated, tags, _items(row)]


def _where(row: Summary) -> str:
    """The node at which the run is: where it is over the last one, where that is not known the one before."""
    if row.status in ENDED:
        return row.node or ""
    return row.next or (f"after {row.node}" if row.node else "")


def _items(row: Summary) -> str:
    """How far it is in that node."""
    if row.status in ENDED or (not row.items and row.planned is None):
        return ""
    return f"{row.items:,}" + (f" of {row.planned:,}" if row.planned is not None else "")
