"""`tau worker`."""

from __future__ import annotations

from contextlib import nullcontext

import click

from tau.cli import options
from tau.cli.attempt import SIGNALS, stdout_to_stderr
from tau.cli.exits import Exit
from tau.cli.outcome import Session, reporting, said_here
from tau.cli.output import screen
from tau.cli.places import furnish
from tau.cli.targets import load_graph, read_project
from tau.engine.stop import stop_on
from tau.operations.report import WorkerReport
from tau.operations.serving import GRACE
from tau.operations.worker import worker as work

_STYLES = {"finished": "green", "failed": "red", "died": "red", "left": "yellow"}
_WORDS = {"left": "left alone", "store": "let go", "died": "died"}


@click.command()
@options.target
@click.option(
    "--concurrency", type=options.Count(), default=1, show_default=True, metavar="N", help="Runs at once; see above."
)
@click.option("--once", is_flag=True, help="End when there is nothing left to take.")
@click.option(
    "--max-runtime",
    type=options.seconds,
    metavar="SECONDS",
    help="End after SECONDS: runs stop at their next node or item, for other workers.",
)
@click.option(
    "--all-interrupted",
    is_flag=True,
    help="Take also what a person stopped or saved by hand, not only what was drained.",
)
@click.option(
    "--grace",
    type=options.seconds,
    default=GRACE,
    show_default=True,
    metavar="SECONDS",
    help="How long runs may take to stop, once the worker is told to end.",
)
@click.option("--gc", is_flag=True, help="Now and then remove runs that have ended, by the graph's own Retention.")
@options.store
@options.quiet
@options.as_json
@reporting
def worker(
    session: Session,
    *,
    target: str,
    concurrency: int,
    once: bool,
    max_runtime: float | None,
    all_interrupted: bool,
    grace: float,
    gc: bool,
    store: str | None,
    quiet: bool,
) -> int:
    """Run what is in a store: runs that were submitted, whose process died, or that may go on.

    Any number of workers, on any machines, share a store. SIGTERM, SIGINT or SIGUSR1 end a worker: it takes nothing
    more, and its runs stop at the next node or item, free for others. A second signal, or the end of --grace, breaks
    them off.

    With --concurrency 1, runs are in the worker's own process: one that kills its process kills the worker, and whoever
    starts workers has to start another. Above 1, each run has a child process, whose death costs no other run; but
    those of a graph whose nodes are all async share the worker's process.

    \b
    Examples:
      tau worker climate.py:graph --store postgresql://host/runs --concurrency 4
      tau worker climate.py:graph --once --max-runtime 3500
    """
    project = read_project()
    with stdout_to_stderr(session.as_json):
        graph = load_graph(target, project)
    graph.validate()
    furnish(graph, store, project, session)

    def tell(run_id: str, word: str, why: str) -> None:
        shown = (_WORDS.get(word, word), _STYLES.get(word, ""))
        screen.line(
            "run ",
            (run_id, "bold"),
            " ",
            shown,
            *([": ", "; ".join(map(str.strip, why.splitlines()))] if why else []),
            error=True,
        )

    if not quiet:
        screen.line(f"worker of {graph.name} in {session.store}", error=True)
    said = nullcontext() if quiet else said_here("run.ended")
    with stop_on(*SIGNALS) as stop:
        with stdout_to_stderr(session.as_json), said:
            report = work(
                graph,
                concurrency=concurrency,
                once=once,
                max_runtime=max_runtime,
                all_interrupted=all_interrupted,
                grace=grace,
                gc=gc,
                stop=stop,
                tell=None if quiet else tell,
            )
        stop.hurry = lambda: None  # nothing is left to be broken off
        _say(report, graph.name, session)
    return Exit.DONE


def _say(report: WorkerReport, graph: str, session: Session) -> None:
    if session.as_json:
        screen.document({"graph": graph, "store": session.store, **_document(report), "exit_code": 0})
        return
    counts = {name: count for name, count in _document(report).items() if name not in ("left", "later") and count}
    screen.fields(counts)
    if not any(_document(report).values()):
        screen.line("no run was taken")
    if report.later:
        screen.line(f"{report.later} admitted for later are left: their not_before is yet to come")


def _document(report: WorkerReport) -> dict[str, object]:
    return {name: getattr(report, name) for name in report.__struct_fields__}
