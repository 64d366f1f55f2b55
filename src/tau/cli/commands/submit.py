"""`tau submit`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import click

from tau.cli import inputs, options
from tau.cli.attempt import stdout_to_stderr
from tau.cli.exits import Exit
from tau.cli.outcome import Session, complain, reporting
from tau.cli.output import screen
from tau.cli.places import furnish
from tau.cli.targets import load_graph, read_project
from tau.errors import ConfigError
from tau.operations.submit import BadLine, Submitted, read_lines, requests_of, send

SHOWN = 20
"""So many bad lines are named."""


@click.command()
@options.target
@click.argument("file", metavar="FILE.jsonl")
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="A tag to find the runs by; may be repeated.")
@options.store
@options.as_json
@reporting
def submit(session: Session, *, target: str, file: str, tags: tuple[str, ...], store: str | None) -> int:
    """Put runs into a store for workers, one for each line of a file.

    A line is an input, a JSON object. Its run_id, if it has one, is the id of the run; else that is a digest of the
    line. Submitting a file again sends what is missing. FILE.jsonl is - for stdin.

    \b
    Examples:
      tau submit climate.py:graph stations.jsonl --store postgresql://host/runs
    """
    project = read_project()
    with stdout_to_stderr(session.as_json):
        graph = load_graph(target, project)
    graph.validate()
    furnish(graph, store, project, session)
    lines, bad = read_lines(_texts(file), graph.name, inputs.parse)
    found = requests_of(graph, lines, tags)
    bad = sorted([*bad, *(one for one in found if isinstance(one, BadLine))], key=lambda one: one.number)
    if bad:
        _name(bad)
        session.refused = _reasons(bad)
        raise ConfigError(f"{file}: {_count(len(bad), 'line')} cannot be submitted, and nothing was sent; correct them")
    done = Submitted()
    try:
        send(graph, lines, [one for one in found if not isinstance(one, BadLine)], done)
    except BaseException:
        sent = done.admitted + done.known
        complain(f"{sent} of {_count(len(lines), 'run')} are in the store; submit the file again to send the rest")
        raise
    _name(done.refused)
    code = Exit.REFUSED if done.refused else Exit.DONE
    if session.as_json:
        about = {"graph": graph.name, "store": session.store, "admitted": done.admitted, "known": done.known}
        screen.document({**about, "refused": _reasons(done.refused), "exit_code": int(code)})
        return code
    known = f", {done.known} had been" if done.known else ""
    screen.line(f"{_count(done.admitted, 'run')} of {graph.name} admitted to {session.store}{known}")
    return code


def _texts(file: str) -> Sequence[str]:
    """The lines of a file. Raises `ConfigError`."""
    try:
        if file == "-":
            return sys.stdin.read().split("\n")
        with open(file, encoding="utf-8", newline="\n") as opened:
            return opened.read().split("\n")
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}; name a file of JSON lines") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: it is not UTF-8 ({error}); write it as UTF-8") from error


def _name(bad: Sequence[BadLine]) -> None:
    for one in bad[:SHOWN]:
        complain(f"line {one.number}: {one.why}")
    if len(bad) > SHOWN:
        complain(f"and {len(bad) - SHOWN} more lines")


def _reasons(bad: Sequence[BadLine]) -> list[dict[str, Any]]:
    return [{"line": one.number, "why": one.why} for one in bad]


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"
