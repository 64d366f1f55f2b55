"""What `tau run` and `tau resume` have in common: one attempt at a run, with signals, progress and result."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tau.cli.exits import Exit, discard_output
from tau.cli.outcome import Session, said_here
from tau.cli.output import contents, screen
from tau.cli.output.progress import Progress, announcing
from tau.cli.output.view import shown
from tau.engine.stop import stop_on
from tau.events import CHECKPOINT_LOAD
from tau.state import State, raw
from tau.state_graph import StateGraph
from tau.stores.urls import for_a_command

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
"""SIGUSR1 is what batch systems can be told to send before the time is up."""


RESULTS, RESULT = 12, 60
"""On a terminal a finished run shows so many of its keys, the newest, and so many characters of each."""


def resume_command(run_id: str, target: str | None, store: str | None, verb: str = "resume") -> str:
    """The command line that goes on with a run, or does something else to it, to be pasted into a shell; without the
    password of the store."""
    words = ["tau", verb]
    if store is not None:
        words += ["--store", for_a_command(store)]
    if run_id.startswith("-") or (target or "").startswith("-"):
        words.append("--")
    return shlex.join([*words, run_id, *([target] if target else [])])


def attempt(
    session: Session,
    graph: StateGraph,
    act: Callable[..., State],
    *,
    quiet: bool,
    values: bool,
    max_runtime: float | None,
) -> int:
    """Let ``act`` run or resume the graph, and show how it ended; what it raises passes through."""
    progress = Progress(session, quiet)
    if not quiet:
        screen.line("run ", (session.run_id, "bold"), f" of {graph.name} in {session.store}", error=True)
    # The view goes last: a second signal must not break it off while it gives the terminal back.
    with (
        said_here(CHECKPOINT_LOAD),
        stdout_to_stderr(session.as_json),
        shown(graph, progress),
        stop_on(*SIGNALS) as stop,
        announcing(stop, progress),
    ):
        state = act(observer=progress, stop=stop, max_runtime=max_runtime)
        show = shlex.join(["tau", "show", "--store", session.store, *(["--"] if state.run_id.startswith("-") else [])])
        session.done = f"the run is finished; {show} {shlex.quote(state.run_id)} --values shows its result"
        keys = list(contents.keys_of(raw(state)))
    found = {"run_id": state.run_id, "graph": graph.name, "status": "finished", "node": state.checkpoint_node}
    if session.as_json:
        screen.document({**found, "store": session.store, "keys": contents.documents(keys, values), "exit_code": 0})
        return Exit.DONE
    screen.fields({"run": found["run_id"], **found, "run_id": None})
    if values:
        contents.show_keys(keys, with_values=True)
    elif screen.on_terminal():  # who is at it sees what came out; into a log goes what was asked for
        contents.show_keys(keys[-RESULTS:], with_values=True, shown=RESULT)
        if len(keys) > RESULTS:
            screen.line(f"and {len(keys) - RESULTS} more; {show} {shlex.quote(state.run_id)} --values shows all")
    else:
        screen.fields({"keys": ", ".join(key.name for key in keys)})
    return Exit.DONE


@contextmanager
def stdout_to_stderr(wanted: bool) -> Iterator[None]:
    """What nodes print, and the programs they start, goes to stderr, so that stdout holds one JSON document."""
    if not wanted:
        yield
        return
    screen.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        try:
            sys.stdout.flush()
        except OSError:  # what stderr does not take must not get into the document
            discard_output()
            sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)
