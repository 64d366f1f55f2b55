"""`tau crash-test`."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from tau.cli import inputs, options
from tau.cli.attempt import SIGNALS
from tau.cli.exits import Exit
from tau.cli.outcome import Session, reporting
from tau.cli.output import screen
from tau.cli.output.terminal import Terminal
from tau.cli.output.view import can_draw
from tau.cli.targets import read_project
from tau.engine.stop import stop_on

if TYPE_CHECKING:
    from tau.testing.crashes.crash_test import CrashPlan, CrashTestResult

STORES = ("sqlite", "file")
SHOWN = 20
"""So many findings are shown on a terminal; ``--json`` has all."""


@click.command("crash-test")
@options.target
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="A value of the input; may be repeated.")
@click.option("--input", "file", metavar="FILE.json", help="The input as a JSON object; --set overrides its values.")
@click.option(
    "--points",
    type=options.Count(1),
    default=30,
    show_default=True,
    metavar="NUMBER",
    help="Kill before, inside and after so many commits, spread over the run.",
)
@click.option("--all", "everything", is_flag=True, help="Kill at every commit, inside at every call of the store.")
@click.option("--at", "at", multiple=True, metavar="POINT", help="Only this point, as a finding names it.")
@click.option("--seed", type=options.Count(0), default=0, show_default=True, help="Which points are drawn.")
@click.option(
    "--max-time",
    type=options.seconds,
    default=600.0,
    show_default=True,
    metavar="SECONDS",
    help="Begin no point after.",
)
@click.option("--ignore", multiple=True, metavar="KEY", help="Do not compare this key of the state; may be repeated.")
@click.option("--effects", metavar="FILE", help="The file to which nodes append effects, instead of $TAU_EFFECTS.")
@click.option(
    "--answer", "answers", multiple=True, metavar="NAME=VALUE", help="The answer to a pause; may be repeated."
)
@click.option("--store", type=click.Choice(STORES), default="sqlite", show_default=True, help="The kind of store.")
@options.quiet
@options.as_json
@reporting
def crash_test_command(
    session: Session,
    *,
    target: str,
    settings: tuple[str, ...],
    file: str | None,
    points: int,
    everything: bool,
    at: tuple[str, ...],
    seed: int,
    max_time: float,
    ignore: tuple[str, ...],
    effects: str | None,
    answers: tuple[str, ...],
    store: str,
    quiet: bool,
) -> int:
    """Kill a graph for real around its commits, resume it, and compare.

    The graph is run in processes of its own, on a temporary store: twice undisturbed, and then once for each point,
    where it gets SIGKILL before, inside or after a commit, or Ctrl-C in a node. Another process resumes it. The final
    state must be the same, nothing that was finished may run again, and no effect of it may come again (exit code 1).

    \b
    Examples:
      tau crash-test page.py:graph --set years=3
      tau crash-test page.py:graph --input small.json --all --max-time 3600
    """
    from tau.testing.crashes.crash_test import crash_test  # which brings the stores along

    given = inputs.gather(file, settings)
    answered = inputs.gather(None, answers, option="--answer")
    named = read_project().graphs.get(target, target)
    with stop_on(*SIGNALS) as stop, _view(quiet) as watch:
        result = crash_test(
            named, given, points=None if everything else points, at=at, seed=seed, ignore=ignore, effects=effects,
            answers=answered, store=store, max_time=max_time, check=False, stop=stop, watch=watch,
        )  # fmt: skip
    words = ["tau", "crash-test", target, *(f"--set={one}" for one in settings)]
    words += [f"--input={file}"] if file is not None else []
    words += [*(f"--ignore={key}" for key in ignore), *(f"--answer={one}" for one in answers)]
    words += [f"--effects={effects}"] if effects is not None else []
    words += [f"--store={store}"] if store != "sqlite" else []
    _show(session, target, result, shlex.join(words))
    return Exit.FAILED if result.findings else Exit.DONE


class _Status:
    """How far the test is, in one line, and what is planned, in one that is said once."""

    def __init__(self) -> None:
        self.plan: CrashPlan | None = None
        self.done = 0
        self.began = time.monotonic()

    def __call__(self, plan: CrashPlan, done: int) -> None:
        if self.plan is None:
            self.began = time.monotonic()
            screen.line(("* ", "dim"), _planned(plan), error=True)
        self.plan, self.done = plan, done

    def lines(self) -> list[str]:
        if self.plan is None:
            return ["undisturbed runs, to compare with"]
        plan, done = self.plan, self.done
        if done == len(plan.points):
            return [f"{done} points done"]
        each = (time.monotonic() - self.began) / done if done else plan.points_seconds / len(plan.points)
        left = screen.duration(max(1.0, each * (len(plan.points) - done)))
        return [f"{done} of {len(plan.points)} points, {plan.points[done].told}, about {left} left"]


def _planned(plan: CrashPlan) -> str:
    run = f"a run has {plan.commits} commits and takes {screen.duration(plan.seconds)}"
    whole = f"all {plan.all_points} kills would take about {screen.duration(plan.all_seconds)}"
    return f"{run}; {whole}; {len(plan.points)} points, about {screen.duration(plan.points_seconds)}"


@contextmanager
def _view(quiet: bool) -> Iterator[Callable[[CrashPlan, int], object] | None]:
    if quiet:
        yield None
        return
    status = _Status()
    if not can_draw():
        yield status
        return
    with Terminal(status.lines):
        yield status


def _show(session: Session, target: str, result: CrashTestResult, command: str) -> None:
    from tau.testing.crashes.points import parsed

    plan, found = result.plan, result.findings
    again = {one.point: f"{command} --at {shlex.quote(one.point)}" for one in found}
    if session.as_json:
        rows = [{"point": one.point, "kind": one.kind, "what": one.what, "again": again[one.point]} for one in found]
        screen.document({
            "graph": target, "survives": not found, "commits": plan.commits, "run_seconds": plan.seconds,
            "possible": plan.all_points, "possible_seconds": plan.all_seconds, "points": len(plan.points),
            "struck": {kind.replace("-", "_"): number for kind, number in result.struck.items()}, "left": result.left,
            "keys": result.keys, "findings": rows, "duration_seconds": result.seconds, "exit_code": int(bool(found)),
        })  # fmt: skip
        return
    struck = ", ".join(f"{number} {_KINDS[kind]}" for kind, number in result.struck.items() if number)
    screen.fields({"graph": target, "commits": plan.commits, "struck": struck or "nothing"})
    left = f"{result.left} of {len(plan.points)} points: --max-time was over" if result.left else ""
    screen.fields({"left": left, "compared": ", ".join(result.keys), "took": screen.duration(result.seconds)})
    if not found:
        screen.line(("survives  ", "dim"), ("yes: each resumed run ended as an undisturbed one does", "green"))
        return
    screen.line(("survives  ", "dim"), (f"no: {len(found)} broken promise{'s' * (len(found) > 1)}", "red"))
    for one in found[:SHOWN]:
        screen.line(("  ", ""), (parsed(one.point).told, "bold"), f": {one.what}")
        screen.note("again", again[one.point], error=False)
    if len(found) > SHOWN:
        screen.line(f"  and {len(found) - SHOWN} more; --json has them all")


_KINDS = {"before": "before a commit", "inside": "inside one", "after": "after one", "ctrl-c": "by Ctrl-C in a node"}
