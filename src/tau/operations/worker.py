"""`tau.worker`: takes the runs of a graph that may be taken, and runs them, until it is told to end."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from tau.config import ObserverSpec
from tau.engine.driver import Driver
from tau.engine.stop import Stop, StopNow, checked_options
from tau.engine.sync_driver import SyncDriver
from tau.errors import ConfigError
from tau.graph.graph import Graph
from tau.late_imports import load_module
from tau.operations.finding import Candidate
from tau.operations.report import Tally, Tell, WorkerReport
from tau.operations.serving import GRACE, STALE, TURNS, Options, Worker
from tau.operations.taking import Taker
from tau.spelling import names_keywords
from tau.state_graph import StateGraph

if TYPE_CHECKING:
    from tau.stores.contract import Store
    from tau.stores.user_store import FourVerbs

D = TypeVar("D", bound=Driver)

_log = logging.getLogger("tau")


@names_keywords
def worker(
    graph: StateGraph[Any],
    *,
    store: str | os.PathLike[str] | Store | FourVerbs | None = None,
    concurrency: int = 1,
    once: bool = False,
    max_runtime: float | None = None,
    all_interrupted: bool = False,
    grace: float = GRACE,
    gc: bool = False,
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
    graph whose nodes are all async share one event loop, and others run in child processes, each a fork of this one. In
    an event loop, and with 1, runs are in this process, and one that kills its process ends the worker.
    ``once``: return when there is nothing to take, and no run that died on this machine is in its pause after a crash;
    runs of other workers, and those with a ``not_before`` yet to come, are not waited for.
    ``max_runtime``: seconds after which it ends; ``stop``: a `Stop`, or
    the one that ``with stop_on(...)`` gives, which ends it. Then nothing new is taken, and each run stops at its next
    node or item and is free for other workers; after ``grace`` seconds async nodes and child processes are broken off.
    ``gc``: also remove runs that have ended, by the graph's own `Retention`, now and then, or with ``once`` at the end,
    as `collect_runs` does. ``resources`` and ``observer`` are those of `StateGraph.execute`. ``tell`` is called with
    the id of a run, what became of it, and why.

    A run that ends with an error ends for itself. One that the code of this worker may not resume is left alone and
    said once, in the log and in the report. Errors of the store are logged, and it is asked again.

    Raises `ConfigError` for a wrong argument, `GraphError` for a graph that cannot be run, `StoreError` if the store
    fails at the first question.

    >>> from tau import StateGraph, worker
    >>> graph = StateGraph("one", store="sqlite:///tau.db")
    >>> graph.add_node("work", lambda state: {"n": 2 * state["n"]})
    >>> graph.sequence("work")
    >>> for number in range(3):
    ...     _ = graph.admit({"n": number}, run_id=f"one-{number}")
    >>> worker(graph, once=True).finished
    3
    >>> graph.wait("one-2")["n"]
    4
    """
    if not isinstance(graph, StateGraph):
        raise ConfigError(f"a worker runs a StateGraph, found {type(graph).__name__}")
    if isinstance(concurrency, bool) or not isinstance(concurrency, int) or concurrency < 1:
        raise ConfigError(f"concurrency must be a whole number from 1 on, found {concurrency!r:.80}")
    checked_options(0.0, resources, stop, max_runtime)
    checked_options(0.0, None, None, grace)
    if gc and graph.config.checkpoint.retention is None:
        raise ConfigError(
            f"nothing says which runs of graph {graph.name!r} are kept; give it a limit: "
            "CheckpointConfig(retention=Retention(keep_last=100))"
        )
    if store is not None:
        graph.use_store(store)
    _ = graph.store
    graph.freeze()
    options = Options(concurrency, once, max_runtime, all_interrupted, grace, resources, observer, gc)
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


def one_after_the_other(work: Worker) -> None:
    """Serve with one run at a time, in this thread."""

    def make(candidate: Candidate, shared: bool) -> SyncDriver:
        return work.driver(SyncDriver, candidate, shared=shared)

    taker = Taker(make, work.ended, work.stop, work.graph.store)
    work.stop.event.then(work.break_off_later)
    while not work.is_over:
        found = work.look(taker.at_once, are_short=taker.at_once > 1)
        looked = time.monotonic()
        if not found:
            if work.is_done():
                break
            if not work.collect():
                work.rest()
            continue
        turns = 0
        while found and turns < TURNS and not work.is_over and time.monotonic() - looked < STALE:
            several, found = found[: taker.at_once], found[taker.at_once :]
            turns = 0 if taker.take(several) else turns + 1
        work.collect()


def is_async(graph: Graph) -> bool:
    """Whether all its nodes run in an event loop, those of graphs inside nodes included."""
    for node in graph.nodes.values():
        if node.inside is not None:
            if not all(is_async(branch.graph) for branch in node.inside.branches):
                return False
        elif not node.is_async or node.executor is not None:
            return False
    return True
