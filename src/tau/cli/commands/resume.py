"""`tau resume`."""

from __future__ import annotations

import dataclasses
from functools import partial

import click

from tau.cli import options
from tau.cli.attempt import attempt, resume_command, stdout_to_stderr
from tau.cli.commands.plan import show_plan
from tau.cli.completion import targets
from tau.cli.outcome import Session, reporting
from tau.cli.places import find, find_in, furnish, reading
from tau.cli.targets import FORMS, Project, load_graph, read_project
from tau.errors import ConfigError
from tau.state_names import check_run_id
from tau.verbs.running import OnChange


@click.command()
@options.run_id
@click.argument("target", required=False, shell_complete=targets)
@click.option(
    "--on-change",
    type=click.Choice(["error", "continue", "redo"]),
    default="error",
    show_default=True,
    help="What to do if the graph has changed: refuse, keep everything that is stored, or keep it but drop the "
    "finished steps of the node that was running.",
)
@click.option("--plan", "planning", is_flag=True, help="Only show what would be skipped, run and refused, and why.")
@click.option(
    "--verify-artifacts",
    is_flag=True,
    help="Read every file of the state in full, not only those whose size or time has changed.",
)
@options.store
@options.wait
@options.max_runtime
@options.values
@options.quiet
@options.as_json
@reporting
def resume(
    session: Session,
    *,
    run_id: str,
    target: str | None,
    on_change: OnChange,
    planning: bool,
    verify_artifacts: bool,
    store: str | None,
    wait: float,
    max_runtime: float | None,
    values: bool,
    quiet: bool,
) -> int:
    """Resume a run that failed, was stopped or was killed.

    TARGET names the graph as for `tau run`. You may leave it out if [tool.tau.graphs] in pyproject.toml has the name of
    the graph that made the run. With --plan, nothing is run or changed, even if another process owns the run; if the
    resume would be refused, the exit code is the one that it would have.

    \b
    Examples:
      tau resume climate-2024 page.py:graph --plan
      tau resume climate-2024 page.py:graph
    """
    session.run_id = check_run_id(run_id)
    project = read_project()
    session.resume = resume_command(run_id, target, store)
    if target is None:
        target, store = named_by_project(run_id, store, project, session)
        run_id = session.run_id
    with stdout_to_stderr(session.as_json):
        graph = load_graph(target, project)
    graph.validate()
    furnish(graph, store, project, session)
    given, run_id = run_id, find_in(graph, run_id, session)[1].run_id
    if given != run_id:
        session.resume = resume_command(run_id, target, store)
    if verify_artifacts:
        checkpoint = dataclasses.replace(graph.config.checkpoint, verify_artifacts=True)
        graph.config = dataclasses.replace(graph.config, checkpoint=checkpoint)
    if planning:
        return show_plan(session, graph, run_id, on_change)
    act = partial(graph.resume, run_id, on_change=on_change, wait=wait)
    return attempt(session, graph, act, quiet=quiet, values=values, max_runtime=max_runtime)


def named_by_project(
    run_id: str, option: str | None, project: Project, session: Session, verb: str = "resume"
) -> tuple[str, str]:
    """The target and the store of a run whose graph was not named on the command line of that ``verb``; the
    session has its id."""
    store, summary = find(reading(option, project, session), run_id, session, changes=True)
    run_id = summary.run_id
    if session.resume:
        session.resume = resume_command(run_id, None, option)
    if summary.graph not in project.graphs:
        named = f", or add {summary.graph!r} to [tool.tau.graphs] in pyproject.toml"
        raise ConfigError(
            f"run {run_id!r} was made by graph {summary.graph!r}; name it: "
            f"{resume_command(run_id, 'FILE.py:GRAPH', option, verb)}{named if summary.graph else f' ({FORMS})'}"
        )
    return project.graphs[summary.graph], option if option is not None else store.location
