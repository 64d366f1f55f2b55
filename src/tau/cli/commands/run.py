"""`tau run`."""

from __future__ import annotations

from functools import partial

import click

from tau.cli import inputs, options
from tau.cli.attempt import attempt, resume_command, stdout_to_stderr
from tau.cli.outcome import Session, complain, reporting
from tau.cli.places import furnish, is_there
from tau.cli.targets import load_graph, read_project
from tau.state import State
from tau.state_graph import StateGraph
from tau.verbs.running import IfExists


@click.command()
@options.target
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="A value of the input, as JSON or else as text; may be repeated.",
)
@click.option("--input", "file", metavar="FILE.json", help="The input as a JSON object; --set overrides its values.")
@click.option("--run-id", metavar="ID", help="The id of the run; by default a new one is generated.")
@click.option(
    "--if-exists",
    type=click.Choice(["error", "resume"]),
    default="error",
    show_default=True,
    help="What to do if the run id is already in use.",
)
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="A tag to find the run by; may be repeated.")
@click.option(
    "--seed",
    type=options.Count(0, 2**63 - 1),
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
    """Run a graph.

    TARGET is FILE.py:GRAPH, package.module:GRAPH, or a name from [tool.tau.graphs] in pyproject.toml. GRAPH is a
    StateGraph, or a function without parameters that returns one.

    \b
    Examples:
      tau run page.py:graph --set years=3 --run-id climate-2024
      tau run climate --input climate.json --max-runtime 3600
    """
    if if_exists == "resume" and run_id is None:
        raise click.UsageError("--if-exists resume needs --run-id: without it, every command starts a new run")
    if wait and if_exists != "resume":
        complain("--wait has no effect without --if-exists resume: a new run has no owner to wait for")
    given = State(inputs.gather(file, settings), run_id=run_id)
    project = read_project()
    with stdout_to_stderr(session.as_json):
        graph = load_graph(target, project)
    graph.validate()
    furnish(graph, store, project, session)
    if if_exists == "resume" and (more := _tags_left_out(graph, given.run_id, tags)):
        complain(f"the run already exists and keeps the tags it began with: --tag {', '.join(more)} has no effect")
    session.run_id = given.run_id
    session.begins = True
    session.resume = resume_command(given.run_id, target, store)
    act = partial(graph.execute, given, if_exists=if_exists, wait=wait, tags=tags, seed=seed)
    return attempt(session, graph, act, quiet=quiet, values=values, max_runtime=max_runtime)


def _tags_left_out(graph: StateGraph, run_id: str, tags: tuple[str, ...]) -> list[str]:
    """The tags that an existing run does not have, and does not get either."""
    summary = graph.store.summary(run_id) if tags and is_there(graph.store) else None
    if summary is None or summary.status == "deleted":
        return []
    return [tag for tag in dict.fromkeys(tags) if tag not in summary.tags]
