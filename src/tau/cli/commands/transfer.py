"""`tau export`, `tau import` and `tau copy`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import click

from tau.cli import options
from tau.cli.exits import Exit
from tau.cli.outcome import Session, complain, reporting
from tau.cli.output import screen
from tau.cli.places import find, opened, reading
from tau.cli.targets import read_project
from tau.errors import ConfigError, RunOwnedError, StoreUnavailableError
from tau.operations.transfer import Transfer, copy_run, export_run, import_run
from tau.state_names import check_run_id

_new = click.option("--as", "new_run_id", metavar="NEW", help="The id that the run has there.")
_artifacts = click.option(
    "--artifacts",
    type=click.Path(file_okay=False),
    metavar="DIRECTORY",
    help="Where its files go, as in CheckpointConfig(artifacts=...); by default beside the store.",
)


@click.command()
@options.run_id
@click.argument("file", type=click.Path(dir_okay=False))
@options.store
@options.as_json
@reporting
def export(session: Session, *, run_id: str, file: str, store: str | None) -> int:
    """Write a run, its values and its artifacts into one file.

    The run may be at work: it is written as it is at one moment. Nothing is changed, and the right to read is enough.
    `tau import` makes a run of the file, which can be resumed.

    \b
    Example:
      tau export climate-2024 climate-2024.tau
    """
    place, summary = find(reading(store, read_project(), session), check_run_id(run_id), session)
    with _named(file):
        done = export_run(place, summary.run_id, file)
    return _report(session, done, "is written")


@click.command(name="import")
@click.argument("file", type=click.Path(dir_okay=False))
@_new
@_artifacts
@options.store
@options.as_json
@reporting
def import_(session: Session, *, file: str, new_run_id: str | None, artifacts: str | None, store: str | None) -> int:
    """Put a run that `tau export` wrote into a store.

    The run is there when all of it is. An id that is in use is refused (exit code 4), and so is a file that was cut or
    altered (exit code 5). A run that was at work when it was written is interrupted, and can be resumed.

    \b
    Examples:
      tau import climate-2024.tau --store sqlite:///runs.db
      tau import climate-2024.tau --as climate-again
    """
    place = opened(store, read_project(), session)
    with _named(file):
        done = import_run(place, file, new_run_id=new_run_id, artifacts=artifacts)
    return _report(session, done, "is there")


@click.command()
@options.run_id
@click.option("--to", required=True, metavar="URL", help="The store to which it is copied.")
@_new
@click.option("--move", is_flag=True, help="End the run where it was: it goes on in the other store only.")
@_artifacts
@options.store
@options.as_json
@reporting
def copy(
    session: Session, *, run_id: str, to: str, new_run_id: str | None, move: bool, artifacts: str | None,
    store: str | None,
) -> int:  # fmt: skip
    """Copy a run from one store to another.

    A run that has not ended needs --as NEW or --move, as it could go on in both places. With --move it must not be at
    work, and where it was it ends as cancelled, "moved to" the other place.

    \b
    Examples:
      tau copy climate-2024 --to file:/archive/runs
      tau copy climate-2024 --to postgresql://db.example.org/climate --move
    """
    project = read_project()
    place, summary = find(reading(store, project, session), check_run_id(run_id), session, changes=move)
    run_id = summary.run_id
    target = opened(to, project, session)  # what is wrong from now on is wrong there
    session.run_id = new_run_id or run_id
    try:
        done = copy_run(place, run_id, target, new_run_id=new_run_id, move=move, artifacts=artifacts)
    except RunOwnedError:  # but that one is at work where it was
        opened(store, project, session)
        session.run_id = run_id
        raise
    return _report(session, done, "is there")


@contextmanager
def _named(file: str) -> Iterator[None]:
    """A file that cannot be read or written as it was named is no fault of the store. Raises `ConfigError` for it."""
    try:
        yield
    except StoreUnavailableError as error:
        if error.location != os.path.abspath(file) or error.transient:
            raise
        raise ConfigError(str(error)) from error


def _report(session: Session, done: Transfer, what: str) -> int:
    session.done = f"the run {what}"
    counts = {"records": done.records, "blobs": done.blobs, "artifacts": done.artifacts}
    if session.as_json:
        named = {"run_id": done.run_id, "status": done.status, "place": done.place}
        screen.document({**named, **counts, "missing": list(done.missing)})
    else:
        screen.fields({"run": done.run_id, "status": done.status, "place": done.place, **counts})
    if done.missing:
        complain(f"left out, as they are gone or are not what they were: {len(done.missing)} of the files that earlier "
                 "states, or a run that has ended, refer to: "
                 f"{', '.join(done.missing[:3])}{' and others' if len(done.missing) > 3 else ''}")  # fmt: skip
    return Exit.DONE
