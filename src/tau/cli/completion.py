"""What a shell offers after Tab: run ids and named graphs. It creates no store and imports no graph."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

import click
from click.shell_completion import CompletionItem

from tau.cli.outcome import Session
from tau.cli.places import reading
from tau.cli.targets import read_project
from tau.errors import TauError

OFFERED = 200
"""Of more runs than this the newest are offered."""


def run_ids(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The newest runs of the store that ``--store`` names before, or of the default one."""
    try:
        store = reading(context.params.get("store"), read_project(), Session())
        rows = [] if store is None else store.runs(limit=OFFERED)
    except (TauError, OSError):  # there is nowhere to say it in the middle of a command line
        return []
    return _offered((row.run_id for row in rows), incomplete)


def targets(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The names of [tool.tau.graphs]; files where none fits."""
    try:
        names = sorted(read_project().graphs)
    except TauError:
        names = []
    return _offered(names, incomplete) or [CompletionItem(incomplete, type="file")]


def _offered(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    # A shell inserts them as they are: what it would take for more than one word, or for a command, is left out.
    return [
        CompletionItem(name)
        for name in names
        if name.startswith(incomplete) and shlex.quote(name) == name and not name.startswith("-")
    ]
