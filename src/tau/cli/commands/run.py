"""`tau run`."""

from __future__ import annotations

from functools import partial

import click

from tau.cli import inputs, options
from tau.cli.attempt import attempt, resume_command, stdout_to_stderr
from tau.cli.outcome import Session, complain, reporting
from tau.cli.places import furnish
from tau.cli.targets import load_graph, read_project
from tau.state import State
from tau.state_graph import IfExists


@click.command()
@options.target
@click.option(
    "--set", "settings", multiple=True, metavar="NAME=VALUE", help="One value of the input, as JSON or else as text."
)
@click.option("--input", "file", metavar="FILE.json", help="The input as a JSON object; --set wins over it.")
@click.option("--run-id", metavar="ID", help="The id of the run; a new one is made up by default.")
@click.option(
    "--if-exists",
    type=click.Choice(["error", "resume"]),
    default="error",
    show_default=True,
    help="What to do when the run id is in use.",
)
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="A tag to find the run by; may be repeated.")
@click.option(
    "--seed",
    type=click.IntRange(0, 2**63 - 1),
    metavar="NUMBER",
    help="The seed of the run's random numbers, from which ctx.seed derives its own; a new one by default.",
)
@options.store
@options.wait
@options.max_runtime
@options.values
@options.quiet
@options.as_json
@reporting
def run(
    session: Session,
    *,
    target: str,
    settings: tuple[str, ...],
    file: str | None,
    run_id: str | None,
    if_exists: IfExists,
    tags: tuple[str, ...],
    seed: int | None,
    store: str | None,
    wait: float,
    max_runtime: float | None,
    values: bool,
    quiet: bool,
) -> int:
    """Run the graph TARGET: FILE.py:GRAPH, package.module:GRAPH, or a name from [tool.tau.graphs].

    GRAPH is a StateGraph, or a function without parameters that returns one.

    \b
    Examples:
      tau run page.py:graph --set years=3 --run-id climate-2024
      tau run climate --input climate.json --max-runtime 3600
    """
    if if_exists == "resume" and run_id is None:
        raise click.UsageError("--if-exists resume needs --run-id: without it every command begins a new run")
    if wait and if_exists != "resume":
        complain("--wait does nothing here: it waits for the owner of a run that --if-exists resume goes on with")
    given = State(inputs.gather(file, settings), run_id=run_id)
    project = read_project()
    with stdout_to_stderr(session.as_json):
        graph = load_graph(target, project)
    furnish(graph, store, project, session)
    session.run_id = given.run_id
    session.begins = True
    session.resume = resume_command(given.run_id, target, store)
    act = partial(graph.execute, given, if_exists=if_exists, wait=wait, tags=tags, seed=seed)
    return attempt(session, graph, act, quiet=quiet, values=values, max_runtime=max_runtime)
