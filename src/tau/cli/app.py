"""The commands and how one is started. A new command is one file, and one line in `COMMANDS` and `_HOMES`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module

import click

from tau.cli.exits import EXIT_CODES, Exit, discard_output, unwritten
from tau.cli.output import screen
from tau.other_words import OF_COMMANDS, OF_OPTIONS
from tau.spelling import did_you_mean, nearest
from tau.version import __version__

COMMANDS = {
    "run": "Run a graph.",
    "resume": "Resume a run that failed, was stopped or was killed.",
    "runs": "List the runs of a store, last updated first.",
    "show": "Show a run: its status, path, state and error.",
    "history": "Show the log of a run, oldest entry first.",
    "graph": "Draw a graph.",
    "cancel": "End a run for good, even while it is running.",
    "fork": "Begin a new run where another one is or was, which stays as it is.",
    "replay": "Run a run once more, as a new one: only the code of nodes runs.",
    "delete": "Delete a run and everything stored for it.",
    "pauses": "List the questions that wait for an answer, the first asked first.",
    "answer": "Answer the question NAME of a run; tau resume goes on with it.",
    "submit": "Put runs into a store for workers, one for each line of a file.",
    "worker": "Run what is in a store: runs that were submitted, whose process died, or that may go on.",
    "stats": "Say how many runs there are, what they take, and how many resumes succeeded.",
    "verify": "Read everything that is stored of a run, or of all runs, and say what is damaged.",
    "gc": "Remove runs that have ended and are over a limit, with their values and artifacts.",
    "export": "Write a run, its values and its artifacts into one file.",
    "import": "Put a run that `tau export` wrote into a store.",
    "copy": "Copy a run from one store to another.",
    "crash-test": "Kill a graph for real around its commits, resume it, and compare.",
    "demo": "Kill a run in the middle of a node, and resume it.",
}
"""The first sentence of the help of each, in the order in which they are listed."""

_HOMES = {
    "run": "tau.cli.commands.run",
    "resume": "tau.cli.commands.resume",
    "runs": "tau.cli.commands.runs",
    "show": "tau.cli.commands.show",
    "history": "tau.cli.commands.history",
    "graph": "tau.cli.commands.graph",
    "cancel": "tau.cli.commands.cancel",
    "fork": "tau.cli.commands.fork",
    "replay": "tau.cli.commands.replay",
    "delete": "tau.cli.commands.delete",
    "pauses": "tau.cli.commands.pauses",
    "answer": "tau.cli.commands.answer",
    "submit": "tau.cli.commands.submit",
    "worker": "tau.cli.commands.worker",
    "stats": "tau.cli.commands.stats",
    "verify": "tau.cli.commands.verify",
    "gc": "tau.cli.commands.gc",
    "export": "tau.cli.commands.transfer",
    "import": "tau.cli.commands.transfer",
    "copy": "tau.cli.commands.transfer",
    "crash-test": "tau.cli.commands.crash_test",
    "demo": "tau.cli.commands.demo",
}
"""Where they are: none is loaded until it is asked for."""


_ON_RESUME = dict.fromkeys(
    ("--set", "--input"),
    "the input of a run never changes; a new run that keeps what is finished: tau fork RUN_ID TARGET --set NAME=VALUE",
)
"""What is said of options that `tau resume` does not have, as it cannot."""


class _Late(click.Group):
    """Lists the commands in the order of `COMMANDS`, not by name, and loads one when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.commands and cmd_name in COMMANDS:
            found = vars(import_module(_HOMES[cmd_name])).values()
            self.add_command(next(one for one in found if isinstance(one, click.Command) and one.name == cmd_name))
        return self.commands.get(cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            hint = OF_COMMANDS.get(args[0])
            meant = f"; {hint}" if hint else did_you_mean(args[0], COMMANDS)
            ctx.fail(f"no such command: {args[0]}{meant}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Exit codes"):
            formatter.write_dl([(f"{code.value:>3}", meaning) for code, meaning in EXIT_CODES.items()])


@click.group(cls=_Late, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="tau", message="%(prog)s %(version)s")
def tau() -> None:
    """Run graphs whose finished nodes survive every kill, resume them, and look at their runs."""


def commands() -> dict[str, click.Command]:
    """All commands by name, loaded."""
    context = click.Context(tau)
    found = {name: tau.get_command(context, name) for name in COMMANDS}
    return {name: command for name, command in found.items() if command is not None}


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
        _show(error)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return Exit.CTRL_C
    except BrokenPipeError:
        discard_output()
        return Exit.DONE
    except screen.Unwritten as error:
        return unwritten(error)


def _show(error: click.ClickException) -> None:
    """What is wrong with the command line, as other errors are shown."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        with suppress(OSError):
            error.show()
        return
    from tau.stores.urls import hide_passwords

    context = getattr(error, "ctx", None)
    said = " ".join(error.format_message().split())
    if isinstance(error, click.NoSuchOption) and context is not None:
        said = _no_option(error.option_name, context)
    elif said.startswith("Got unexpected extra argument") and context is not None and context.info_name == "runs":
        said = "tau runs takes no run id; tau show RUN_ID shows one run"
    screen.line(("error: ", "bold red"), hide_passwords(said), error=True)
    if context is not None:
        screen.note("help", f"{context.command_path} --help")


def _no_option(name: str, context: click.Context) -> str:
    """What is said of an option that this command does not have, with the one that is meant."""
    if context.info_name == "resume" and name in _ON_RESUME:
        return _ON_RESUME[name]
    known = {word for one in context.command.get_params(context) for word in one.opts if word.startswith("--")}
    ways = {word[2:]: word for word in known}
    for other, options in OF_OPTIONS.items():
        if found := known.intersection(options):
            ways.setdefault(other, min(found))
    # The dashes would count as letters that are alike.
    near = nearest(name.lstrip("-").replace("_", "-").lower(), ways) if name.startswith("--") else ""
    return f"no such option: {name}" + (f"; did you mean {ways[near]!r}?" if near else "")


def _finish(code: int) -> int:
    """Write what is left of stdout; a command that failed keeps its exit code."""
    try:
        screen.flush()
    except BrokenPipeError:
        discard_output()
    except screen.Unwritten as error:
        return code or unwritten(error)
    return code
