"""The options that several commands share, each with one meaning."""

from __future__ import annotations

import click

from tau.cli import completion


def seconds(text: str) -> float:
    """A finite number of seconds that is not negative."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise click.BadParameter(f"{text!r} is not a number of seconds; write 90 or 0.5")
    return number


class Count(click.IntRange):
    """A whole number from ``least`` on, to ``most`` where that is given."""

    name = "whole number"

    def __init__(self, least: int = 1, most: int | None = None) -> None:
        super().__init__(min=least, max=most)


run_id = click.argument("run_id", shell_complete=completion.run_ids)
target = click.argument("target", shell_complete=completion.targets)
store = click.option(
    "--store",
    metavar="URL",
    help="The store: sqlite:///FILE, file:DIRECTORY, postgresql://HOST/DB, redis://HOST, s3://BUCKET/PREFIX or a "
    "registered name.",
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
values = click.option(
    "--values", is_flag=True, help="Show the values too, except those under names that suggest a secret."
)
quiet = click.option("-q", "--quiet", is_flag=True, help="Do not show progress.")
max_runtime = click.option(
    "--max-runtime",
    type=seconds,
    metavar="SECONDS",
    help="Stop after SECONDS, once the node that is then running has finished (exit code 75).",
)
wait = click.option(
    "--wait",
    type=seconds,
    default=0.0,
    metavar="SECONDS",
    help="How long to wait for another process to release the run.",
)
