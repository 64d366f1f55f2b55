"""`tau graph`."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Mapping
from typing import Any

import click

from tau.cli import options
from tau.cli.attempt import stdout_to_stderr
from tau.cli.completion import run_ids
from tau.cli.exits import Exit
from tau.cli.outcome import Session, complain, reporting, said_here
from tau.cli.output import screen
from tau.cli.places import find, furnish, is_there
from tau.cli.reading import Account, read_run
from tau.cli.targets import load_graph, read_project
from tau.errors import ConfigError
from tau.graph import drawing
from tau.graph.graph import Graph
from tau.graph.svg import svg
from tau.graph.validation import problems_of
from tau.state_graph import StateGraph
from tau.state_names import check_run_id


def _svg(graph: Graph, marks: Mapping[str, str]) -> str:
    """What Graphviz makes of the graph where it is installed, else a simpler picture. Raises `ConfigError` where
    Graphviz refuses."""
    program = shutil.which("dot")
    if program is None:
        return svg(graph, marks)
    given = drawing.dot(graph, marks).encode()
    done = subprocess.run([program, "-Tsvg"], input=given, capture_output=True, check=False)
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip()
        raise ConfigError(f"dot ended with exit code {done.returncode}: {said}; use --format mermaid instead")
    return done.stdout.decode()


FORMATS: dict[str, Callable[..., str]] = {"text": drawing.text, "mermaid": drawing.mermaid, "svg": _svg}


@click.command()
@options.target
@click.option(
    "--format",
    "form",
    type=click.Choice(list(FORMATS)),
    help="text (default), mermaid for Markdown pages, or svg, laid out by Graphviz if it is installed.",
)
@click.option("--run", "run_id", metavar="RUN_ID", shell_complete=run_ids, help="Mark how far that run has come.")
@options.store
@options.as_json
@reporting
def graph(session: Session, *, target: str, form: str | None, run_id: str | None, store: str | None) -> int:
    """Draw a graph.

    TARGET names it as for `tau run`. No node is run. With --run, the nodes are marked as finished, running, failed or
    next in that run. What makes a graph impossible to run is listed below the drawing (exit code 2).

    \b
    Examples:
      tau graph page.py:graph
      tau graph page.py:graph --format mermaid --run climate-2024
      tau graph page.py:graph --format svg > graph.svg
    """
    project = read_project()
    with stdout_to_stderr(True), said_here("warnings"):
        loaded = load_graph(target, project)
    problems = problems_of(loaded)
    for warning in () if problems else loaded.warnings:
        complain(warning)
    marks: dict[str, str] = {}
    if run_id is not None:
        furnish(loaded, store, project, session)
        place = loaded.store if is_there(loaded.store) else None
        place, summary = find(place, check_run_id(run_id), session)
        run_id = summary.run_id
        marks = marks_of(read_run(place, summary))
    form = form or ("" if session.as_json else "text")
    drawn = FORMATS[form](loaded, marks) if form else ""
    if session.as_json:
        found = {**_document(loaded, marks), "problems": problems, "run_id": run_id}
        screen.document({**found, **({"drawing": drawn} if form else {})})
    else:
        screen.drawing(drawn)
        screen.flush()
    for problem in problems:
        screen.line(("error: ", "bold red"), problem, error=True)
    return Exit.USAGE if problems else Exit.DONE


def marks_of(account: Account) -> dict[str, str]:
    """How each node stands in a run; those that were not reached are not in it."""
    marks = {visit.node: "finished" for visit in account.visits}
    if account.pending is not None:
        marks[account.pending] = {"failed": "failed", "running": "running"}.get(account.status, "next")
    if account.failed:
        marks[account.failed] = "failed"
    return marks


def _document(graph: StateGraph, marks: dict[str, str]) -> dict[str, Any]:
    edges = [
        {
            "source": edge.source,
            "target": edge.target,
            "name": edge.name or None,
            "predicate": edge.predicate is not None,
            "route": edge.route.name if edge.route is not None else None,
        }
        for leaving in graph.edges.values()
        for edge in leaving
    ]
    return {
        "graph": graph.name,
        "entry": graph.entry_point,
        "exits": list(graph.exit_points),
        "nodes": [{"name": name, "mark": marks.get(name)} for name in graph.nodes],
        "edges": edges,
        "warnings": list(graph.warnings),
    }
