"""`tau pauses`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from tau.cli import options
from tau.cli.completion import run_ids
from tau.cli.exits import Exit
from tau.cli.ids import in_short
from tau.cli.outcome import Session, complain, reporting
from tau.cli.output import screen
from tau.cli.places import find, note_none, note_nothing, reading
from tau.cli.targets import read_project
from tau.host import Host
from tau.log.answers import OpenPause, open_pauses
from tau.log.json_schema import summary_of
from tau.state_names import check_run_id

HEADS = ("run", "pause", "node", "asked", "deadline", "form", "prompt")


@click.command()
@click.argument("run_id", required=False, shell_complete=run_ids)
@click.option("--graph", metavar="NAME", help="Show only runs of this graph.")
@options.store
@options.as_json
@reporting
def pauses(session: Session, *, run_id: str | None, graph: str | None, store: str | None) -> int:
    """List the questions that wait for an answer, the first asked first.

    With RUN_ID, only those of that run. A question past its deadline is answered by its default here, or its run fails,
    as was declared.

    \b
    Examples:
      tau pauses week-12
      tau answer week-12 review --set ok=true
    """
    place = reading(store, read_project(), session)
    if run_id is not None:
        place, summary = find(place, check_run_id(run_id), session)
        run_id = summary.run_id
    found = [] if place is None else open_pauses(place, Host(), run_id=run_id, graph=graph)
    found = [one for one in found if graph in (None, one.graph)]
    if session.as_json:
        screen.document([_document(one) for one in found])
    elif found:
        short = in_short(place, [one.run_id for one in found])
        screen.table(HEADS, (_row(one, short) for one in found))
        for one in found:
            if one.refused:
                complain(f"{one.name} of {one.run_id} was answered, and asks again: {one.refused}")
    elif place is None:
        note_nothing(f"nothing waits for an answer in {session.store}: nothing was ever stored there", session)
    else:
        note_none("nothing waits for an answer", place, session, graph=graph)
    return Exit.DONE


def _row(one: OpenPause, short: Callable[[str], str]) -> list[str]:
    asked = screen.ago(one.asked_at.timestamp())
    until = "" if one.deadline is None else screen.ago(one.deadline.timestamp())
    return [short(one.run_id), one.name, one.node, asked, until, summary_of(one.form) or "anything", one.prompt]


def _document(one: OpenPause) -> dict[str, Any]:
    return {
        "run_id": one.run_id,
        "graph": one.graph,
        "name": one.name,
        "node": one.node,
        "prompt": one.prompt,
        "form": one.form,
        "asked": screen.stamp(one.asked_at.timestamp()),
        "deadline": None if one.deadline is None else screen.stamp(one.deadline.timestamp()),
        "has_default": one.has_default,
        "editable": one.editable,
        "refused": one.refused or None,
    }
