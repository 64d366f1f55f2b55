"""`tau replay`."""

from __future__ import annotations

from functools import partial

import click

from tau.cli import options
from tau.cli.attempt import attempt, resume_command, stdout_to_stderr
from tau.cli.commands.resume import named_by_project
from tau.cli.completion import targets
from tau.cli.outcome import Session, reporting
from tau.cli.places import find_in, furnish
from tau.cli.targets import load_graph, read_project
from tau.state import State
from tau.state_names import check_run_id
from tau.verbs.replaying import Missing


@click.command()
@options.run_id
@click.argument("target", required=False, shell_complete=targets)
@click.option("--as", "new_run_id", metavar="NEW", help="The id of the new run; by default it is given one.")
@click.option(
    "--missing",
    type=click.Choice(["error", "call"]),
    default="error",
    show_default=True,
    help="What to do with a call, step or question that the run has not made: fail, or make it.",
)
@options.store
@options.max_runtime
@options.values
@options.quiet
@options.as_json
@reporting
def replay(
    session: Session,
    *,
    run_id: str,
    target: str | None,
    new_run_id: str | None,
    missing: Missing,
    store: str | None,
    max_runtime: float | None,
    values: bool,
    quiet: bool,
) -> int:
    """Run a run once more, as a new one: only the code of nodes runs.

    TARGET names the graph as for `tau resume`; its code may have changed. Journaled calls, steps, items and questions
    are answered from the log of the run, which must be kept with its whole history. If the new run is stopped or
    killed, `tau resume` goes on with it as a replay.

    \b
    Examples:
      tau replay climate-2024 page.py:graph
      tau replay climate-2024 page.py:graph --as climate-b --missing call
    """
    session.run_id = check_run_id(run_id)
    project = read_project()
    option = store
    if target is None:
        named, store = named_by_project(run_id, store, project, session)
    else:
        named = target
    with stdout_to_stderr(session.as_json):
        graph = load_graph(named, project)
    graph.validate()
    furnish(graph, store, project, session)
    run_id = find_in(graph, run_id, session)[1].run_id
    new = session.run_id = State().run_id if new_run_id is None else check_run_id(new_run_id)
    session.resume = resume_command(new, target, option)
    act = partial(graph.replay, run_id, new_run_id=new, missing=missing)
    return attempt(session, graph, act, quiet=quiet, values=values, max_runtime=max_runtime)
