"""`tau stats`."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from typing import Any

import click

from tau.cli import options
from tau.cli.exits import Exit
from tau.cli.ids import in_short
from tau.cli.outcome import Session, reporting
from tau.cli.output import screen
from tau.cli.places import note_none, note_nothing, reading
from tau.cli.targets import read_project
from tau.operations.stats import RunStats, Stats
from tau.operations.stats import stats as count

SHOWN = 10
"""So many runs are listed, and so many damaged ones named."""

HEADS = ("run", "graph", "status", "checkpoints", "resumes", "size", "largest keys")


@click.command()
@click.option("--graph", metavar="NAME", help="Count only runs of this graph.")
@click.option("--limit", type=options.Count(), metavar="N", help="Count only the N newest runs.")
@options.store
@options.as_json
@reporting
def stats(session: Session, *, graph: str | None, limit: int | None, store: str | None) -> int:
    """Say how many runs there are, what they take, and how many resumes succeeded.

    The ten largest runs are listed with their largest keys; --json lists all. Sizes are those of values before
    compression. Runs that are damaged, and so not counted as a whole, are named. Nothing is changed.

    \b
    Examples:
      tau stats --graph climate
      tau stats --limit 100 --json
    """
    place = reading(store, read_project(), session)
    found = Stats(statuses={}, runs=()) if place is None else count(place, graph=graph, limit=limit)
    if session.as_json:
        screen.document({**document(found), "store": session.store})
        return Exit.DONE
    screen.fields(_totals(found))
    largest = sorted(found.runs, key=lambda one: one.size_bytes, reverse=True)[:SHOWN]
    if largest:
        short = in_short(place, [one.run_id for one in largest])
        screen.table(HEADS, (_row(one, short) for one in largest))
    elif place is not None and graph:
        note_none("no such runs", place, session, graph=graph)
    if place is None:
        note_nothing(f"nothing was ever stored in {session.store}", session)
    return Exit.DONE


def document(found: Stats) -> dict[str, Any]:
    """A store in numbers, for JSON."""
    return {
        "statuses": found.statuses,
        "checkpoints": found.checkpoints,
        "interval_seconds": found.interval_seconds,
        "resumes": found.resumes,
        "resume_success_rate": found.resume_success_rate,
        "size_bytes": found.size_bytes,
        "damaged": list(found.damaged),
        "runs": [_run(one) for one in found.runs],
    }


def _run(one: RunStats) -> dict[str, Any]:
    fields = ("run_id", "graph", "status", "checkpoints", "items", "resumes", "succeeded", "failed")
    named = {name: getattr(one, name) for name in fields}
    sizes = {"records": one.records, "size_bytes": one.size_bytes, "keys": one.keys}
    damage = {"damage": one.damage or None}
    return {**named, "interval_seconds": one.interval_seconds, **sizes, **damage}


def _totals(found: Stats) -> dict[str, str]:
    by_status = ", ".join(f"{number} {status}" for status, number in sorted(found.statuses.items()))
    interval, rate = found.interval_seconds, found.resume_success_rate
    often = f", one every {screen.duration(interval)}" if interval is not None else ""
    ended = f", {rate:.0%} of those that ended succeeded" if rate is not None else ""
    return {
        "runs": f"{len(found.runs)}" + (f": {by_status}" if by_status else ""),
        "checkpoints": f"{found.checkpoints}{often}",
        "resumes": f"{found.resumes}{ended}",
        "stored": screen.size(found.size_bytes),
        **({"damaged": _damaged(found.damaged)} if found.damaged else {}),
    }


def _damaged(run_ids: Sequence[str]) -> str:
    """Which runs are not counted as a whole."""
    named = ", ".join(run_ids[:SHOWN]) + (f" and {len(run_ids) - SHOWN} more" if len(run_ids) > SHOWN else "")
    runs = "1 run, which is" if len(run_ids) == 1 else f"{len(run_ids)} runs, which are"
    return f"{runs} not counted as a whole: {named}; tau verify {shlex.quote(run_ids[0])} says what is wrong"


def _row(one: RunStats, short: Callable[[str], str]) -> list[str]:
    keys = sorted(one.keys.items(), key=lambda entry: entry[1], reverse=True)[:3]
    largest = ", ".join(f"{key} {screen.size(size)}" for key, size in keys)
    numbers = [str(one.checkpoints), str(one.resumes), screen.size(one.size_bytes)]
    return [short(one.run_id), one.graph, one.status, *numbers, largest]
