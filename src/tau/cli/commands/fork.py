"""`tau fork`."""

from __future__ import annotations

import click

from tau.cli import inputs, options
from tau.cli.attempt import resume_command, stdout_to_stderr
from tau.cli.commands.resume import named_by_project
from tau.cli.completion import targets
from tau.cli.exits import Exit
from tau.cli.outcome import Session, note_left_out, reporting
from tau.cli.output import screen
from tau.cli.places import find_in, furnish
from tau.cli.targets import load_graph, read_project
from tau.state_names import check_run_id


@click.command()
@options.run_id
@click.argument("target", required=False, shell_complete=targets)
@click.option("--at", type=options.Count(), metavar="SEQ", help="The entry of its history; by default the newest.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="A value of the state to be changed, as JSON or else as text; may be repeated.",
)
@click.option(
    "--input", "file", metavar="FILE.json", help="Values to be changed, as a JSON object; --set overrides them."
)
@click.option("--as", "new_run_id", metavar="NEW", help="The id of the new run; by default it is given one.")
@options.store
@options.as_json
@reporting
def fork(
    session: Session,
    *,
    run_id: str,
    target: str | None,
    at: int | None,
    settings: tuple[str, ...],
    file: str | None,
    new_run_id: str | None,
    store: str | None,
) -> int:
    """Begin a new run where another one is or was, which stays as it is.

    TARGET names the graph as for `tau resume`, which runs the new run under the graph as it is now. It has the state,
    the seed and the visits of the old one as of that entry. With --set or --input the state is changed, and the edges
    after the last finished node are asked anew.

    \b
    Examples:
      tau fork climate-2024 page.py:graph --as climate-b
      tau fork climate-2024 page.py:graph --at 4 --set years=4
    """
    session.run_id = check_run_id(run_id)
    project = read_project()
    changes = inputs.gather(file, settings)
    option = store
    if target is None:
        named, store = named_by_project(run_id, store, project, session, "fork")
        run_id = session.run_id
    else:
        named = target
    with stdout_to_stderr(session.as_json):
        graph = load_graph(named, project)
    graph.validate()
    furnish(graph, store, project, session)
    run_id = find_in(graph, run_id, session)[1].run_id
    if new_run_id is not None:
        session.run_id = check_run_id(new_run_id)
    new = graph.fork(run_id, at=at, changes=changes, new_run_id=new_run_id)
    session.done = f"run {new!r} is forked"
    command = resume_command(new, target, option)
    if session.as_json:
        screen.document({"run_id": new, "parent": run_id, "store": session.store, "resume": command})
    else:
        screen.fields({"run": new, "parent": run_id, "resume": command})
    note_left_out(session, command)
    return Exit.DONE
