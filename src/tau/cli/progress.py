"""What a run shows while it goes on: one line on stderr for each node that ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

from tau.cli import screen
from tau.cli.outcome import Session, complain
from tau.effects import StopNow
from tau.events import (
    CHECKPOINT_LOAD,
    CHECKPOINT_RESUME,
    GRAPH_CHANGED,
    GRAPH_START,
    NODE_COMPLETE,
    NODE_START,
    PROVENANCE_CHANGED,
    Event,
)
from tau.stopping import Stop


class Progress:
    """An observer that writes to stderr, unless ``quiet``, and notes in the session that the run has started."""

    def __init__(self, session: Session, quiet: bool) -> None:
        self.session = session
        self.quiet = quiet
        self.node = ""
        self.lines: dict[str, Callable[[dict[str, Any]], None]] = {
            CHECKPOINT_LOAD: _loaded,
            CHECKPOINT_RESUME: _resumed,
            GRAPH_CHANGED: _changed,
            PROVENANCE_CHANGED: _moved,
            NODE_COMPLETE: _node,
        }

    def __call__(self, event: Event) -> None:
        if event.type in (GRAPH_START, CHECKPOINT_LOAD):
            self.session.started = True
        elif event.type == NODE_START:
            self.node = event.data["node"]
        show = self.lines.get(event.type)
        if show is not None and not self.quiet:
            show(dict(event.data))


def _loaded(data: dict[str, Any]) -> None:
    if data.get("damaged"):
        complain(f"{data['damaged']}; going on from the newest sound checkpoint")
    if data.get("status") == "finished":
        complain("this run is finished; its result comes from the store")


def _resumed(data: dict[str, Any]) -> None:
    after = f", after {data['checkpoint_node']}" if data["checkpoint_node"] else ""
    screen.line(("resumes", "cyan"), f" at {data['resume_node']}{after}", error=True)


def _changed(data: dict[str, Any]) -> None:
    for change in data["changes"]:
        complain(f"the graph has changed: {change}")


def _moved(data: dict[str, Any]) -> None:
    found = (f"{name.removeprefix('package.')} {old} -> {new}" for name, (old, new) in data["changes"].items())
    complain(f"not what the run was last worked on with: {', '.join(found)}")


def _node(data: dict[str, Any]) -> None:
    failed = data["error"]
    visit = f" (visit {data['visit']})" if data["visit"] > 1 else ""
    attempt = f" (attempt {data['attempt']})" if data["attempt"] > 1 else ""
    error = f" {data.get('error_type', '')}" if failed else ""
    mark = (screen.tick(not failed), "red" if failed else "green")
    if error == f" {StopNow.__name__}":
        error, mark = " stopped, runs again", ("-", "yellow")
    seconds = (f" {screen.duration(data['duration_seconds'])}", "dim")
    screen.line(mark, f" {data['node']}", seconds, f"{visit}{attempt}{error}", error=True)


@contextmanager
def announcing(stop: Stop, progress: Progress) -> Iterator[None]:
    """While the block runs, say so once when it is asked to stop: a long node gives no other sign."""
    ended = False

    def announce() -> None:
        stop.event.wait()
        if not ended:
            node = f"when {progress.node} is finished" if progress.node else "as soon as it can"
            complain(f"{stop.reason}: stopping {node}; a second signal breaks off the node in flight")

    thread = Thread(target=announce, name="tau-announce", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended = True
        stop.event.set()
        thread.join()
