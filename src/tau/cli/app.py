"""The commands and how one is started. A new command is one file, and one name in `COMMANDS`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress

import click

from tau.cli.commands.answer import answer
from tau.cli.commands.cancel import cancel
from tau.cli.commands.crash_test import crash_test_command
from tau.cli.commands.delete import delete
from tau.cli.commands.demo import demo
from tau.cli.commands.fork import fork
from tau.cli.commands.gc import gc
from tau.cli.commands.graph import graph
from tau.cli.commands.history import history
from tau.cli.commands.pauses import pauses
from tau.cli.commands.resume import resume
from tau.cli.commands.run import run
from tau.cli.commands.runs import runs
from tau.cli.commands.show import show
from tau.cli.commands.stats import stats
from tau.cli.commands.submit import submit
from tau.cli.commands.transfer import copy, export, import_
from tau.cli.commands.verify import verify
from tau.cli.commands.worker import worker
from tau.cli.outcome import EXIT_CODES, Exit, discard_output, unwritten
from tau.cli.output import screen
from tau.stores.urls import hide_passwords
from tau.version import __version__

COMMANDS = (
    run, resume, submit, worker, runs, show, history, pauses, answer, graph, cancel, fork, delete, gc, stats, verify,
    export, import_, copy, demo, crash_test_command,
)  # fmt: skip

_CODES = "\b\nExit codes:\n" + "\n".join(f"  {code.value:>3}  {meaning}" for code, meaning in EXIT_CODES.items())


class _InOrder(click.Group):
    """Lists the commands in the order of `COMMANDS`, not by name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(
    cls=_InOrder, epilog=_CODES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="tau", message="%(prog)s %(version)s")
def tau() -> None:
    """Run graphs whose finished nodes survive every kill, resume them, and look at their runs."""


for command in COMMANDS:
    tau.add_command(command)


def start(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a name that the terminal cannot show is no reason to fail
    code = _finish(_run(arguments))
    try:
        sys.stderr.flush()
    except OSError:
        discard_output(2)  # else Python ends with an exit code of its own
    return code


def _run(arguments: Sequence[str] | None) -> int:
    try:
        with screen.writing():  # of the help, for one; a command reports its own errors
            return int(tau.main(arguments, prog_name="tau", standalone_mode=False) or Exit.DONE)
    except click.ClickException as error:
        with suppress(OSError):
            vars(error)["message"] = hide_passwords(error.message)
            error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return Exit.CTRL_C
    except BrokenPipeError:
        discard_output()
        return Exit.DONE
    except screen.Unwritten as error:
        return unwritten(error)


def _finish(code: int) -> int:
    """Write what is left of stdout; a command that failed keeps its exit code."""
    try:
        screen.flush()
    except BrokenPipeError:
        discard_output()
    except screen.Unwritten as error:
        return code or unwritten(error)
    return code
