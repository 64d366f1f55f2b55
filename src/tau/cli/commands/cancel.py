"""`tau cancel`."""

from __future__ import annotations

import click

from tau.cli import options
from tau.cli.exits import Exit
from tau.cli.outcome import Session, complain, reporting
from tau.cli.output import screen
from tau.cli.places import find, reading
from tau.cli.targets import read_project
from tau.host import Host
from tau.log.cancellation import cancel_run
from tau.state_names import check_run_id


@click.command()
@options.run_id
@options.store
@options.as_json
@reporting
def cancel(session: Session, *, run_id: str, store: str | None) -> int:
    """End a run for good, even while it is running.

    It cannot be resumed. What it has stored is kept, and can be looked at. A finished run is left as it is (exit code
    4).

    \b
    Example:
      tau cancel climate-2024
    """
    place, summary = find(reading(store, read_project(), session), check_run_id(run_id), session, changes=True)
    run_id = summary.run_id
    cancel_run(place, run_id, Host())
    after = place.summary(run_id)
    status = after.status if after is not None else "deleted"
    session.done = f"the run is {status}"
    if session.as_json:
        screen.document({"run_id": run_id, "status": status, "store": session.store})
    else:
        screen.fields({"run": run_id, "status": status})
    if status == "cancelled":
        return Exit.DONE
    complain(f"the run is {status} already; nothing was changed")
    return Exit.REFUSED
