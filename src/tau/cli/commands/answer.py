"""`tau answer`."""

from __future__ import annotations

from typing import Any

import click

from tau.cli import inputs, options
from tau.cli.attempt import resume_command
from tau.cli.exits import Exit
from tau.cli.outcome import Session, note_left_out, reporting
from tau.cli.output import screen
from tau.cli.places import find, reading
from tau.cli.targets import read_project
from tau.errors import ConfigError
from tau.host import Host
from tau.log.answers import answer as give
from tau.log.answers import open_pauses
from tau.log.json_schema import summary_of, takes_text
from tau.state_names import check_run_id


@click.command()
@options.run_id
@click.argument("name")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="A field of the answer, as JSON or else as text; may be repeated.",
)
@click.option("--value", metavar="JSON", help="The whole answer, as JSON or else as text.")
@click.option(
    "--input", "file", metavar="FILE.json", help="The whole answer as a JSON file, - for stdin; --set overrides fields."
)
@click.option(
    "--change",
    "changes",
    multiple=True,
    metavar="NAME=VALUE",
    help="A value of the state to be changed with the answer to a pause_node; may be repeated.",
)
@click.option("--by", metavar="NAME", help="Who answers; by default the user and host of this command.")
@options.store
@options.as_json
@reporting
def answer(
    session: Session,
    *,
    run_id: str,
    name: str,
    settings: tuple[str, ...],
    value: str | None,
    file: str | None,
    changes: tuple[str, ...],
    by: str | None,
    store: str | None,
) -> int:
    """Answer the question NAME of a run; tau resume goes on with it.

    The answer is checked against the form of the question, which tau pauses shows; the graph is not needed. It is
    recorded with the time and with who answers.

    \b
    Examples:
      tau answer week-12 review --set ok=true --set note="fine"
      tau answer week-12 degree --value 2
    """
    project = read_project()
    place, found_run = find(reading(store, project, session), check_run_id(run_id), session, changes=True)
    run_id = found_run.run_id
    host = Host()
    form = next((one.form for one in open_pauses(place, host, run_id=run_id) if one.name == name), None)
    given = _given(form, settings, value, file)
    who = by or host.user()
    give(place, run_id, {name: given}, host, by=who, changes=inputs.gather(None, changes, option="--change"))
    summary = place.summary(run_id)
    status = summary.status if summary is not None else "deleted"
    session.done = "the answer is stored"
    target = None if found_run.graph in project.graphs else "FILE.py:GRAPH"
    goes_on = resume_command(run_id, target, store)
    if session.as_json:
        found = {"run_id": run_id, "name": name, "by": who, "status": status, "store": session.store}
        screen.document({**found, "resume": goes_on})
    else:
        screen.fields({"run": run_id, "answered": name, "by": who, "status": status, "resume": goes_on})
    note_left_out(session, goes_on)
    return Exit.DONE


def _given(form: dict[str, Any] | None, settings: tuple[str, ...], value: str | None, file: str | None) -> Any:
    """The answer as the options give it. Raises `ConfigError`."""
    if value is not None and (settings or file is not None):
        raise ConfigError("--value is the whole answer; leave it out, or --set and --input")
    if value is not None:
        return inputs.parse_value("--value", value, as_text=takes_text(form))
    if file is not None:
        whole = inputs.read_value(file)
        if not settings:
            return whole
        if not isinstance(whole, dict):
            raise ConfigError(f"--set changes a field, and --input {file} holds no JSON object")
        return {**whole, **inputs.gather(None, settings, form=form)}
    if not settings:
        wanted = summary_of(form)
        raise ConfigError(
            f"there is no answer: give {wanted or 'a value'} with --set NAME=VALUE, --value JSON or --input FILE.json"
        )
    return inputs.gather(None, settings, form=form)
