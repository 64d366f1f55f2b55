"""`tau delete`."""

from __future__ import annotations

import click

from tau.cli import options
from tau.cli.exits import Exit
from tau.cli.outcome import Session, refuse, reporting
from tau.cli.output import screen
from tau.cli.places import find, reading
from tau.cli.reading import status_of
from tau.cli.targets import read_project
from tau.errors import CheckpointNotFoundError, ConfigError, CorruptCheckpointError, RunOwnedError
from tau.host import Host
from tau.log.cancellation import cancel_at
from tau.log.loading import await_free
from tau.operations.verify import is_listed_as_damaged
from tau.state_names import check_run_id
from tau.stores import Store, Summary
from tau.stores.artifact_files import remove
from tau.stores.contract import PositionConflict
from tau.stores.summaries import unreadable


@click.command()
@options.run_id
@click.option("--yes", is_flag=True, help="Delete without asking.")
@click.option("--keep-summary", is_flag=True, help="Keep the line that `tau runs` shows for the run.")
@options.store
@options.as_json
@reporting
def delete(session: Session, *, run_id: str, yes: bool, keep_summary: bool, store: str | None) -> int:
    """Delete a run and everything stored for it.

    That is its checkpoints, values, errors and artifacts; artifacts in a directory that CheckpointConfig(artifacts=...)
    names are kept. The command asks first, unless --yes is given. It refuses a run that another process is working on
    (exit code 4): end that run first, with `tau cancel`.

    \b
    Examples:
      tau delete climate-2024
      tau delete climate-2024 --yes --keep-summary
    """
    place, summary = _found(reading(store, read_project(), session), check_run_id(run_id), keep_summary, session)
    given, run_id = run_id, summary.run_id
    if yes and given != run_id:
        raise ConfigError(f"{given!r} is the beginning of {run_id!r}; with --yes, which asks nothing, write all of it")
    if not yes and (unasked := _unconfirmed(session, status_of(place, summary), summary)):
        return refuse(session, unasked)
    delete_run(place, summary, keep_summary, Host())
    session.done = "the run is deleted"
    if session.as_json:
        screen.document({"run_id": run_id, "status": "deleted", "summary_kept": keep_summary, "store": session.store})
    else:
        screen.fields({"run": run_id, "status": "deleted"})
    return Exit.DONE


def _found(place: Store | None, run_id: str, keep_summary: bool, session: Session) -> tuple[Store, Summary]:
    """The store and the run in it, which has no owner; also one whose summary is damaged."""
    try:
        found, summary = find(place, run_id, session, changes=True)
        await_free(found, summary.run_id, Host(), 0.0)
    except (CorruptCheckpointError, CheckpointNotFoundError) as error:
        is_gone = isinstance(error, CheckpointNotFoundError)
        if place is None or keep_summary or (is_gone and not is_listed_as_damaged(place, session.run_id)):
            raise
        _refuse_leased(place, session.run_id)
        return place, unreadable(session.run_id)
    return found, summary


def _refuse_leased(store: Store, run_id: str) -> None:
    """Raise `RunOwnedError` where a lease has not run out, of an owner that cannot be read."""
    try:
        lease = store.lease(run_id)
    except CorruptCheckpointError:
        return
    if lease is not None and lease.expires_in is not None and lease.expires_in > 0:
        raise RunOwnedError(
            f"run {run_id!r} is damaged, so its owner cannot be read, and has a lease for another "
            f"{lease.expires_in:.0f} s; delete the run after that",
            run_id=run_id,
        )


def _unconfirmed(session: Session, status: str, summary: Summary) -> str:
    """Why nothing may be deleted; empty if the answer is yes."""
    made = f" of graph {summary.graph}" if summary.graph else ""
    visits = f"{summary.iterations} visit{'' if summary.iterations == 1 else 's'}"
    question = screen.clean(f"Delete run {summary.run_id}{made} ({status}, {visits}) in {session.store}?")
    try:
        return "" if click.confirm(question, err=True) else "nothing was deleted"
    except (click.Abort, OSError):
        screen.line(error=True)
        return "nothing was deleted: the question had no answer; --yes deletes without asking"


def delete_run(store: Store, summary: Summary, keep_summary: bool, host: Host) -> None:
    """Delete a run that has no owner. Raises `RunOwnedError`.

    One that could still be resumed is ended first, and every one is deleted at the very position at which it had no
    owner: a process that takes it at the same moment either has it, and it stays, or finds it gone.
    """
    run_id = summary.run_id
    if summary.status == "damaged":
        _refuse_leased(store, run_id)
        store.delete(run_id)
        return
    position = await_free(store, run_id, host, 0.0)
    taken = RunOwnedError(f"run {run_id!r} was taken or changed at this moment; nothing was deleted", run_id=run_id)
    try:
        if summary.base > 0 and summary.status not in ("finished", "cancelled"):
            position = cancel_at(store, summary, position, "deleted", host)
        store.delete_at(run_id, position, keep_summary)
    except PositionConflict as error:
        raise taken from error
    remove(store.artifacts, run_id, upto=position)  # which a store leaves where it keeps the summary
