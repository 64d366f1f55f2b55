"""How far a run is: what its events tell, and a line for each node that ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from threading import Thread
from typing import Any, NamedTuple

from tau.cli.outcome import Session, complain
from tau.cli.output import screen
from tau.engine.stop import Stop, StopNow
from tau.errors import RunInterruptedError
from tau.events import (
    CALL_RETRY,
    CHAIN_START,
    CHECKPOINT_LOAD,
    CHECKPOINT_RESUME,
    CHECKPOINT_SAVE,
    GRAPH_CHANGED,
    GRAPH_FAILED,
    GRAPH_START,
    NODE_COMPLETE,
    NODE_PROGRESS,
    NODE_RETRY,
    NODE_START,
    PARALLEL_START,
    PROVENANCE_CHANGED,
    STEP_COMPLETE,
    TERMINAL_TYPES,
    WORKER_COMPLETE,
    Event,
)
from tau.node.paused import Paused

Data = Mapping[str, Any]

SHOWN = 8
"""Of so many nodes that are at work at the same time, each is named."""


_BROKEN_OFF = {
    Paused.__name__: "waits for an answer",
    StopNow.__name__: "stopped; resume runs it again",
    RunInterruptedError.__name__: "stopped; resume goes on inside it",
}
"""What is said of a node that did not fail, although it ended with an error; the last is of graphs inside it."""


class OwnProgress(NamedTuple):
    """What a node told last of itself, ``at`` that time, and first."""

    done: float
    total: float | None
    began: float
    first: float
    at: float

    @property
    def left(self) -> float | None:
        """The seconds that it may still take, at the pace since it told first; ``None`` if nothing can be said yet."""
        if self.total is None or self.done <= self.first or self.at <= self.began:
            return None
        left = (self.total - self.done) * (self.at - self.began) / (self.done - self.first)
        return max(0.0, left - (time.monotonic() - self.at))


class Work:
    """A visit of a node that goes on since ``began`` of `time.monotonic`: ``items`` of its ``expected`` ones (0:
    unknown) are finished; ``own`` is how far the node says that it is."""

    def __init__(self, node: str) -> None:
        self.node = node
        self.began = time.monotonic()
        self.items = self.expected = 0
        self.own: OwnProgress | None = None


class Progress:
    """An observer that keeps count of a run, notes in the session that it has started, and says a line on stderr for
    each node that ends, unless ``quiet``.

    ``finished`` counts the visits of the whole run, also those of other processes; ``outer`` is the node of the run
    itself that began last; ``at_work`` are those in flight, by name: that node, and those inside of it.
    """

    def __init__(self, session: Session, quiet: bool) -> None:
        self.session = session
        self.quiet = quiet
        self.say: Callable[..., None] = partial(screen.line, error=True)
        self.at_start: Callable[[], None] = _nothing
        self.finished = 0
        self.visited: set[str] = set()
        self.outer: Work | None = None
        self.at_work: dict[str, Work] = {}
        self.resumed = ""
        self.ended: tuple[Any, ...] = ()
        self.handlers: dict[str, Callable[[Data], None]] = {
            GRAPH_START: self._started,
            CHECKPOINT_LOAD: self._loaded,
            CHECKPOINT_RESUME: self._resumed,
            GRAPH_CHANGED: self._changed,
            PROVENANCE_CHANGED: self._moved,
            NODE_START: self._node_began,
            NODE_COMPLETE: self._node_ended,
            CHECKPOINT_SAVE: self._saved,
            **dict.fromkeys(TERMINAL_TYPES, self._tell_ended),
            GRAPH_FAILED: self._failed,
            NODE_RETRY: self._failed,
            CALL_RETRY: self._asks_again,
            NODE_PROGRESS: self._own_progress,
            CHAIN_START: self._expects,
            PARALLEL_START: self._expects,
            STEP_COMPLETE: self._item,
            WORKER_COMPLETE: self._item,
        }

    def __call__(self, event: Event) -> None:
        handle = self.handlers.get(event.type)
        if handle is not None:
            handle(event.data)

    def _started(self, _: Data) -> None:
        self.session.started = True

    def _loaded(self, data: Data) -> None:
        self.session.started = True
        if data.get("damaged"):
            what = data["damaged"].partition("; restore ")[0]
            complain(f"{what}; the run continues from the newest undamaged checkpoint")
        if self.quiet:
            return
        if data.get("status") == "finished":
            complain("this run is finished; its result comes from the store")

    def _resumed(self, data: Data) -> None:
        visits, items = data.get("kept_visits", 0), data.get("kept_items", 0)
        kept = [_counted(visits, "finished visit", " inside it"), _counted(items, "finished item")]
        is_more = visits + items > 1
        what = f"{' and '.join(filter(None, kept))} {'are' if is_more else 'is'} kept" if any(kept) else ""
        after = f", after {data['checkpoint_node']}" if data["checkpoint_node"] else "" if what else ", from the start"
        self.resumed = after + (f"{';' if after else ','} {what}" if what else "")

    def _changed(self, data: Data) -> None:
        for change in () if self.quiet else data["changes"]:
            complain(f"the graph has changed: {change}")

    def _moved(self, data: Data) -> None:
        if not self.quiet:
            found = (f"{name.removeprefix('package.')} {old} -> {new}" for name, (old, new) in data["changes"].items())
            complain(f"changed since the run was last worked on: {', '.join(found)}")

    def innermost(self) -> list[Work]:
        """What is at work, without the nodes that only consist of others at work."""
        at_work = dict(self.at_work)
        around = {name[:end] for name in at_work for end, sign in enumerate(name) if sign == "/"}
        return [one for name, one in at_work.items() if name not in around]

    def _is_inside(self, node: str) -> bool:
        """Whether it is inside the node of the run that is in flight."""
        outer = self.outer
        return outer is not None and outer.node in self.at_work and node.startswith(f"{outer.node}/")

    def _node_began(self, data: Data) -> None:
        self._tell_ended()
        work = Work(data["node"])
        if self._is_inside(work.node):
            self.at_work[work.node] = work
        else:
            self.outer, self.at_work = work, {work.node: work}
            self.finished = data["iteration"] - 1
        if self.resumed and not self.quiet:
            visit = f" (visit {data['visit']})" if data["visit"] > 1 else ""
            self.say(("resumes", "cyan"), f" at {data['node']}{visit}{self.resumed}")
        self.resumed = ""
        if len(self.innermost()) == 1:  # otherwise another that draws may still be at work
            self.at_start()

    def _node_ended(self, data: Data) -> None:
        failed, inside = data["error"], self._is_inside(data["node"])
        if inside:
            self.at_work.pop(data["node"], None)
        else:
            self.at_work = {}
        if not failed and not inside:
            self.finished = data["iteration"]
            self.visited.add(data["node"])
        if self.quiet:
            return
        visit = f" (visit {data['visit']})" if data["visit"] > 1 else ""
        attempt = f" (attempt {data['attempt']})" if data["attempt"] > 1 else ""
        kind = data.get("error_type", "")
        error = f" {_BROKEN_OFF.get(kind, kind)}" if failed else ""
        mark = (screen.tick(not failed), "red" if failed else "green")
        if failed and kind in _BROKEN_OFF:
            mark = ("-", "yellow")
        seconds = (f" {screen.duration(data['duration_seconds'])}", "dim")
        self.ended = (mark, f" {data['node']}", seconds, f"{visit}{attempt}{error}")
        if failed or inside:
            self._tell_ended()

    def _saved(self, data: Data) -> None:
        if not self._is_inside(data["node"]):
            self._tell_ended()

    def _failed(self, data: Data) -> None:
        """What a node returned cannot be stored, or does not fit: it has failed after all."""
        if self.ended and data.get("node") in (None, self.ended[1].strip()):
            _, node, seconds, more = self.ended
            self.ended = ((screen.tick(False), "red"), node, seconds, f"{more} {data['error_type']}")
        self._tell_ended()

    def _tell_ended(self, _: Data | None = None) -> None:
        """Say what has ended. A node of the run itself waits here until it is stored: no kill takes a tick back."""
        if self.ended:
            self.say(*self.ended)
        self.ended = ()

    def _asks_again(self, data: Data) -> None:
        """A model did not answer: without a word, a run that waits for a server would look as if it hung."""
        if not self.quiet:
            complain(f"{data['agent']}: {data['error']}; asks again in {data['wait_seconds']:.2g} s")

    def _own_progress(self, data: Data) -> None:
        now = time.monotonic()
        if (work := self._work(data)) is not None:
            began, first = (now, data["done"]) if work.own is None else (work.own.began, work.own.first)
            work.own = OwnProgress(data["done"], data["total"], began, first, now)

    def _expects(self, data: Data) -> None:
        count = data.get("item_count", 0)
        if (work := self._work(data)) is not None:
            work.expected += count if isinstance(count, int) else 0

    def _item(self, data: Data) -> None:
        if (work := self._work(data)) is None or (work.expected and "step" in data):
            return  # a step of `ctx.step` within an item, which is counted when it is done
        work.items += not data.get("error")

    def _work(self, data: Data) -> Work | None:
        """Of which node in flight an event tells."""
        return self.at_work.get(data.get("node", ""))


def _counted(count: int, what: str, where: str = "") -> str:
    """So many of them in words; empty where there are none."""
    return f"{count:,} {what}{'s' * (count > 1)}{where}" if count else ""


def _nothing() -> None:
    """The beginning of a node is not shown."""


@contextmanager
def announcing(stop: Stop, progress: Progress) -> Iterator[None]:
    """While the block runs, say so once when it is asked to stop: a long node gives no other sign."""
    ended = False

    def announce() -> None:
        stop.event.wait()
        if not ended:
            names = [one.node for one in progress.innermost()[:SHOWN]]
            verb = "is" if len(names) == 1 else "are"
            when = f"when {' and '.join(names)} {verb} finished" if names else "as soon as it can"
            complain(f"{stop.reason}: stopping {when}; a second signal stops in the middle of the node")

    thread = Thread(target=announce, name="tau-announce", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended = True
        stop.event.set()
        thread.join()
