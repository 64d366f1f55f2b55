"""`tau gc`."""

from __future__ import annotations

import re

import click

from tau.cli import options
from tau.cli.attempt import stdout_to_stderr
from tau.cli.completion import targets
from tau.cli.exits import Exit
from tau.cli.ids import in_short
from tau.cli.outcome import Session, complain, reporting
from tau.cli.output import screen
from tau.cli.places import furnish, is_there, near_names, reading
from tau.cli.targets import load_graph, read_project
from tau.config import Retention
from tau.errors import ConfigError
from tau.operations.retention import Collected, collect_runs
from tau.stores import Store

HEADS = ("run", "graph", "status", "ended", "over")
_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


def age(text: str) -> float:
    """Seconds: ``3600``, ``90m``, ``12h``, ``7d`` or ``2w``."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw]?)", text)
    if found is None:
        raise click.BadParameter(f"{text!r} is not an age; write 3600, 90m, 12h, 7d or 2w")
    return float(found[1]) * _UNITS[found[2]]


@click.command()
@click.argument("target", required=False, shell_complete=targets)
@click.option("--graph", metavar="NAME", help="Without TARGET: only runs of this graph; by default of each.")
@click.option("--keep-last", type=options.Count(0), metavar="N", help="Keep the N newest runs that have ended.")
@click.option(
    "--max-age", type=age, metavar="AGE", help="Keep those that ended less than AGE ago: 3600 (seconds), 12h, 7d."
)
@click.option("--max-bytes", type=options.Count(0), metavar="N", help="Keep as many as take N bytes, the newest.")
@click.option("--artifacts", type=click.Path(file_okay=False), metavar="DIRECTORY",
              help="Without TARGET: where the files are, as in CheckpointConfig(artifacts=...).")  # fmt: skip
@click.option(
    "--trim", is_flag=True, help="Also cut the history of runs that are not at work at their newest manifest."
)
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@options.store
@options.as_json
@reporting
def gc(
    session: Session,
    *,
    target: str | None,
    graph: str | None,
    keep_last: int | None,
    max_age: float | None,
    max_bytes: int | None,
    artifacts: str | None,
    trim: bool,
    dry_run: bool,
    store: str | None,
) -> int:
    """Remove runs that have ended and are over a limit, with their values and artifacts.

    TARGET names a graph as for `tau run`; its CheckpointConfig(retention=...) says what is kept, unless options do.
    Without TARGET the options count for each graph of the store. Only finished and cancelled runs are removed; never
    one that could be resumed, and none whose files another one needs.

    \b
    Examples:
      tau gc page.py:graph --dry-run
      tau gc --keep-last 100 --max-age 90d
    """
    project = read_project()
    given = keep_last is not None or max_age is not None or max_bytes is not None
    retention = Retention(keep_last=keep_last, max_age=max_age, max_bytes=max_bytes) if given else None
    if target is not None:
        with stdout_to_stderr(session.as_json):
            made = load_graph(target, project)
        furnish(made, store, project, session)
        checkpoint = made.config.checkpoint
        graph, retention, artifacts = made.name, retention or checkpoint.retention, checkpoint.artifacts
        place = made.store if is_there(made.store) else None
    else:
        place = reading(store, project, session)
    if retention is None and not trim:
        raise ConfigError(
            "nothing says which runs are kept: give --keep-last, --max-age or --max-bytes, or name a graph with "
            "CheckpointConfig(retention=Retention(...))"
        )
    nothing = Collected(removed=(), kept={}, dry_run=dry_run)
    found = nothing if place is None else collect_runs(
        place, retention, graph=graph, artifacts=artifacts, dry_run=dry_run, trim=trim)  # fmt: skip
    if target is None and place is not None and not found.removed and (near := near_names(place, graph)):
        complain(f"no run is of graph {graph!r}{near}")
    session.done = f"{len(found.removed)} runs are removed"
    return _show(session, found, place)


def _show(session: Session, found: Collected, place: Store | None) -> int:
    if session.as_json:
        removed = [
            {"run_id": one.run_id, "graph": one.graph, "status": one.status, "ended": screen.stamp(one.ended),
             "limit": one.limit}
            for one in found.removed
        ]  # fmt: skip
        kept = [{"run_id": run_id, "why": why} for run_id, why in found.kept.items()]
        screen.document(
            {
                "removed": removed,
                "kept": kept,
                "trimmed": list(found.trimmed),
                "dry_run": found.dry_run,
                "store": session.store,
            }
        )
        return Exit.DONE
    short = in_short(place, [*(one.run_id for one in found.removed), *found.trimmed])
    if found.removed:
        rows = ([short(one.run_id), one.graph, one.status, screen.ago(one.ended), one.limit] for one in found.removed)
        screen.table(HEADS, rows)
    for run_id, why in found.kept.items():
        complain(f"run {run_id!r} stays: {why}")
    count = len(found.removed)
    if found.trimmed:
        would = "would be" if found.dry_run else "was"
        screen.line(f"the history of {len(found.trimmed)} {would} cut: {', '.join(map(short, found.trimmed[:10]))}")
    screen.line(f"{count} run{'s' * (count != 1)} {'would be removed' if found.dry_run else 'removed'}")
    return Exit.DONE
