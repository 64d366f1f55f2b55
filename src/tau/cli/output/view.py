"""What people see of a run while it goes on: a view on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

from tau.cli.commands.plan import reachable
from tau.cli.output import screen
from tau.cli.output.forecast import Forecast, forecast
from tau.cli.output.progress import SHOWN, OwnProgress, Progress, Work
from tau.cli.output.terminal import Terminal
from tau.state_graph import StateGraph

FIRST_SIGN = 60.0
"""Without a terminal a node gives a sign of life after so many seconds, then after twice as many, and so on."""
LAST_SIGN = 3600.0
WORTH_ASKING = 1.0
"""A run that has not lasted for so many seconds is not worth a look at earlier ones."""
LARGE = 1_000
"""In a graph with more nodes than this, those that may follow are not counted."""


class Status:
    """The run in one line: what is finished, what runs and since when, what may follow, how long it may take; and a
    line for each node at work, where there are several."""

    def __init__(self, graph: StateGraph, progress: Progress) -> None:
        self.graph = graph
        self.progress = progress
        self.began = time.monotonic()
        self._forecast: Forecast | None = None
        self._pending: tuple[str, int, int] = ("", -1, 0)

    def __call__(self) -> str:
        return "; ".join(self.lines())

    def lines(self) -> list[str]:
        """The first line is of the whole run."""
        progress, outer = self.progress, self.progress.outer
        if outer is None:
            return ["starting"]
        innermost = progress.innermost()
        if not innermost:
            return [f"{progress.finished} finished"]
        parts = [f"{progress.finished} finished", *at_work(innermost[0] if len(innermost) == 1 else outer)]
        pending = self.pending(outer.node)
        if pending is not None:
            parts.append(f"{pending} pending")
        left = self.left(outer.node, time.monotonic() - outer.began)
        found = [", ".join([*parts, left] if left else parts)]
        if len(innermost) > 1:
            found += [", ".join(at_work(one)) for one in innermost[:SHOWN]]
        return [*found, f"{len(innermost) - SHOWN} more"] if len(innermost) > SHOWN else found

    def visits(self) -> frozenset[Work]:
        """The visits in flight, told apart from all others."""
        return frozenset(self.progress.innermost())

    def elapsed(self) -> float:
        """Seconds since the last of the nodes in flight began, or since the start where none has."""
        return time.monotonic() - max((one.began for one in self.progress.innermost()), default=self.began)

    def pending(self, node: str) -> int | None:
        """How many nodes may still follow for the first time; which of them do is decided by the edges."""
        if len(self.graph.nodes) > LARGE:
            return None
        known, visited, count = self._pending
        if (known, visited) != (node, len(self.progress.visited)):
            seen = self.progress.visited | {node}
            count = sum(name not in seen for name in reachable(self.graph, node))
            self._pending = (node, len(self.progress.visited), count)
        return count

    def left(self, node: str, elapsed: float) -> str:
        """The estimate with what it rests on; empty without one."""
        if self._forecast is None:
            if time.monotonic() - self.began < WORTH_ASKING:
                return ""
            self._forecast = forecast(self.graph.store, self.graph.name, self.progress.session.run_id)
        estimate = self._forecast.left(self.progress.finished, node, elapsed)
        if estimate is None:
            return ""
        runs = f"{estimate.runs} earlier run{'' if estimate.runs == 1 else 's'}"
        if estimate.seconds <= 0:
            return f"longer than in {runs}"
        return f"about {screen.duration(max(1.0, estimate.seconds))} left (as in {runs})"


def at_work(work: Work) -> list[str]:
    """A node that runs, since when, and how far it is."""
    elapsed = time.monotonic() - work.began
    parts = [f"{work.node} {screen.duration(elapsed) if elapsed >= 1 else 'runs'}"]
    if work.items or work.expected:
        of = f" of {work.expected}" if work.expected >= work.items else ""
        parts.append(f"{work.items}{of} items")
    return parts if work.own is None else [*parts, own(work.own)]


def own(progress: OwnProgress) -> str:
    """How far a node says that it is, and how long it may still take."""
    of = "" if progress.total is None else f" of {progress.total:,g}"
    left = progress.left
    return f"{progress.done:,g}{of}" + ("" if not left else f" ({screen.duration(max(1.0, left))} left in it)")


@contextmanager
def shown(graph: StateGraph, progress: Progress) -> Iterator[None]:
    """While the block runs, show it on stderr, unless the progress is quiet."""
    if progress.quiet:
        yield
        return
    status = Status(graph, progress)
    if not can_draw():
        with signs_of_life(status):
            yield
        return
    with Terminal(status.lines) as view:
        progress.say = lambda *parts: view.say(screen.styled(*parts))
        progress.at_start = view.node_began
        yield


def can_draw() -> bool:
    """Whether stderr is a terminal on which a line can be drawn again."""
    return sys.stderr.isatty() and os.environ.get("TERM", "").lower() not in ("dumb", "unknown")


@contextmanager
def signs_of_life(status: Status, first: float = FIRST_SIGN) -> Iterator[None]:
    """Say how far the run is when nothing else was to be said for a while: for logs of batch jobs."""
    over = Event()

    def speak() -> None:
        visits, due = status.visits(), first
        while not over.wait(first):
            if status.visits() != visits:
                visits, due = status.visits(), first
            elif status.elapsed() >= due:
                screen.line(("... ", "dim"), status(), error=True)
                due = min(2 * due, due + LAST_SIGN)

    thread = Thread(target=speak, name="tau-view", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
