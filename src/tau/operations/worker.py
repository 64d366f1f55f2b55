"""`tau.worker`: takes the runs of a graph that may be taken, and runs them, until it is told to end."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from tau.config import ObserverSpec
from tau.engine.driver import Driver
from tau.engine.stop import Stop, StopNow, checked_options
from tau.engine.sync_driver import SyncDriver
from tau.errors import ConfigError, StoreError
from tau.graph.graph import Graph
from tau.late_imports import load_module
from tau.log.records import DRAIN
from tau.operations.finding import Candidate, Finder
from tau.operations.report import Tally, Tell, WorkerReport, word_for
from tau.operations.taking import Taker
from tau.state_graph import StateGraph
from tau.waiting import LOOK, DaemonThread

if TYPE_CHECKING:
    from tau.stores.contract import News, Store
    from tau.stores.user_store import FourVerbs

D = TypeVar("D", bound=Driver)

_log = logging.getLogger("tau")

GRACE: Final = 25.0
"""Seconds that runs have to stop by themselves."""

TOLD: Final = 5.0
"""So many times longer are the pauses of a worker that is told of runs at once."""

TURNS: Final = 2
"""How often a worker takes some of the runs that the store has named: others take from the same ones."""

STALE: Final = 1.0
"""Seconds after which the store is asked anew, instead of taking what it named before."""

_LONGEST_PAUSE: Final = 30.0  # seconds between two questions to a store that does not answer


def worker(
    graph: StateGraph[Any],
    *,
    store: str | os.PathLike[str] | Store | FourVerbs | None = None,
    concurrency: int = 1,
    once: bool = False,
    max_runtime: float | None = None,
    all_interrupted: bool = False,
    grace: float = GRACE,
    stop: Stop | None = None,
    resources: Mapping[str, Any] | None = None,
    observer: ObserverSpec = None,
    tell: Tell | None = None,
) -> WorkerReport:
    """Take the runs of this graph that may be taken, and run them to their end, until it is told to stop.

    These are runs that were admitted (`StateGraph.admit`, ``tau submit``), whose process died, whose question was
    answered or is past its deadline, or that were stopped by a walltime or by a worker that ended; with
    ``all_interrupted`` also those that a person stopped or saved by hand. Any number of workers, on any machines, may
    share a store: no run is at two of them at a time.

    ``store`` takes the place of the graph's. ``concurrency``: how many runs are under way at once; above 1, those of a
    graph whose nodes are all async share one event loop, and others run in child processes, each a fork of this one.
    ``once``: return when there is nothing to take. ``max_runtime``: seconds after which it ends; ``stop``: a `Stop`, or
    the one that ``with stop_on(...)`` gives, which ends it. Then nothing new is taken, and each run stops at its next
    node or item and is free for other workers; after ``grace`` seconds async nodes and child processes are broken off.
    ``resources`` and ``observer`` are those of `StateGraph.execute`. ``tell`` is called with the id of a run, what
    became of it, and why.

    A run that ends with an error ends for itself. One that the code of this worker may not resume is left alone and
    said once, in the log and in the report. Errors of the store are logged, and it is asked again.

    Raises `ConfigError` for a wrong argument, `GraphError` for a graph that cannot be run, `StoreError` if the store
    fails at the first question.
    """
    if not isinstance(graph, StateGraph):
        raise ConfigError(f"a worker runs a StateGraph, found {type(graph).__name__}")
    if isinstance(concurrency, bool) or not isinstance(concurrency, int) or concurrency < 1:
        raise ConfigError(f"concurrency must be a whole number from 1 on, found {concurrency!r:.80}")
    checked_options(0.0, resources, stop, max_runtime)
    checked_options(0.0, None, None, grace)
    if store is not None:
        graph.use_store(store)
    _ = graph.store
    graph.freeze()
    options = Options(concurrency, once, max_runtime, all_interrupted, grace, resources, observer)
    work = Worker(graph, options, stop or Stop(), Tally(tell))
    if concurrency > 1 and is_async(graph):
        load_module("tau.operations.in_loop")
        from tau.operations.in_loop import serve  # asyncio is only loaded where something needs it
    elif concurrency > 1:
        load_module("tau.operations.in_children")
        from tau.operations.in_children import serve
    else:
        serve = one_after_the_other
    with work:
        try:
            serve(work)
        except StopNow:  # a signal more, as there was nothing left to break off
            if not work.stop.is_set():
                raise
    return work.tally.report()


class Options(Struct, frozen=True):
    """What a worker was asked to do; see `worker`."""

    concurrency: int = 1
    once: bool = False
    max_runtime: float | None = None
    all_interrupted: bool = False
    grace: float = GRACE
    resources: Mapping[str, Any] | None = None
    observer: ObserverSpec = None


class Worker:
    """What the ways of running several runs at once share: finding, waiting, stopping, and what became of runs."""

    def __init__(self, graph: StateGraph[Any], options: Options, stop: Stop, tally: Tally) -> None:
        self.graph = graph
        self.options = options
        self.stop = stop
        self.tally = tally
        self.finder = Finder(graph.store, graph.name, graph.host, all_interrupted=options.all_interrupted)
        self._ends = None if options.max_runtime is None else time.monotonic() + options.max_runtime
        self._asked = False
        self._fails = 0
        self._again_at = 0.0
        self._news: News | None = None
        self._was = ""
        self._is_breaking_off = False
        self._ended = threading.Event()

    def __enter__(self) -> Worker:
        self._was, self.stop.always = self.stop.always, DRAIN
        self._news = self.graph.store.listen(self.graph.name)
        if self._news is None:
            _log.info("worker of %s looks for runs every %g s", self.graph.name, self.graph.store.look_every)
        return self

    @property
    def news(self) -> News | None:
        """What tells of runs at once."""
        return self._news

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.stop.always, self.stop.hurry = self._was, None
        if self._news is not None:
            with suppress(Exception):
                self._news.close()

    @property
    def left(self) -> float | None:
        """How many seconds are left until it ends."""
        return None if self._ends is None else max(self._ends - time.monotonic(), 0.0)

    @property
    def is_over(self) -> bool:
        """Whether nothing new is to be taken."""
        return self.stop.is_set() or self.left == 0.0

    def look(self, wanted: int) -> list[Candidate]:
        """Runs that may be taken; none where the store does not answer. Raises `StoreError` at the first question."""
        if time.monotonic() < self._again_at:
            return []
        try:
            found = self.finder.look(wanted)
        except StoreError as error:
            if not self._asked:
                raise
            self._fails += 1
            pause = min(2.0**self._fails, _LONGEST_PAUSE)
            self._again_at = time.monotonic() + pause
            _log.warning("the store does not say which runs may be taken, and is asked again in %g s: %s", pause, error)
            return []
        self._asked, self._fails = True, 0
        return found

    @property
    def pause(self) -> float:
        """Seconds between two looks where nothing else tells that there may be something to take."""
        return self.graph.store.look_every * (1.0 if self._news is None else TOLD)

    def is_done(self) -> bool:
        """Whether that was all there was to take, and it is to return then."""
        if not self.options.once or self._fails:
            return False
        self.finder.look_for_dead()
        return not self.look(1)

    def rest(self) -> None:
        """Wait until it is worth to look again, or until it is over."""
        ends = time.monotonic() + self.pause
        while not self.is_over and (left := ends - time.monotonic()) > 0:
            if self._news is None:
                self.stop.event.wait(left if self.left is None else min(left, self.left))
            elif self._news.wait(min(left, LOOK)):
                return

    def break_off_later(self) -> None:
        """Send this process a second signal when the grace is over, where a signal is what stops it."""
        if self.stop.signals and not self._is_breaking_off:
            self._is_breaking_off = True
            DaemonThread(self._break_off, "tau-grace").start()

    def _break_off(self) -> None:
        if not self._ended.wait(self.options.grace) and self.stop.signals:
            os.kill(os.getpid(), self.stop.signals[0])

    def driver(self, kind: type[D], candidate: Candidate, *, shared: bool) -> D:
        """What resumes a run; ``shared``: other runs are under way in this process."""
        graph, options = self.graph, self.options
        request = graph._resumption(candidate.run_id, "error")
        request.only_at = 0 if candidate.row.status == "waiting" else candidate.row.position
        given = {"resources": options.resources, "stop": self.stop, "max_runtime": self.left}
        driver = graph._driver(kind, request, options.observer, **given)
        journal = driver.journal
        assert journal is not None
        journal.seen = candidate.sign
        if shared:
            journal.owner = replace(journal.owner, shared=True)
        return driver

    def ended(self, candidate: Candidate, driver: Driver, error: BaseException | None) -> None:
        """Note what became of a run."""
        journal = driver.journal
        word = word_for(error, acted=journal is not None and journal.progress is not None)
        self.note(candidate, word, error)

    def note(self, candidate: Candidate, word: str, error: BaseException | str | None) -> None:
        """The same of one that was run elsewhere."""
        if word == "store":
            self._fails += 1
            self._again_at = time.monotonic() + min(2.0**self._fails, _LONGEST_PAUSE)
        is_new = word not in ("left", "waits") or self.finder.leave(candidate.row)
        if word not in ("", "waits") and is_new:
            self.tally.note(candidate.run_id, word, error)


def one_after_the_other(work: Worker) -> None:
    """Serve with one run at a time, in this thread."""

    def make(candidate: Candidate, shared: bool) -> SyncDriver:
        return work.driver(SyncDriver, candidate, shared=shared)

    taker = Taker(make, work.ended, work.stop, lambda: work.graph.store.committer)
    work.stop.event.then(work.break_off_later)
    while not work.is_over:
        found = work.look(taker.at_once)
        looked = time.monotonic()
        if not found:
            if work.is_done():
                break
            work.rest()
        turns = 0
        while found and turns < TURNS and not work.is_over and time.monotonic() - looked < STALE:
            several, found = found[: taker.at_once], found[taker.at_once :]
            taker.take(several)
            turns += 1


def is_async(graph: Graph) -> bool:
    """Whether all its nodes run in an event loop, those of graphs inside nodes included."""
    for node in graph.nodes.values():
        if node.inside is not None:
            if not all(is_async(branch.graph) for branch in node.inside.branches):
                return False
        elif not node.is_async or node.executor is not None:
            return False
    return True
