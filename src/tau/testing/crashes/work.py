"""What a child process of a crash test does: one attempt at the run, on a store of its own, and a report of it."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from tau.errors import ConfigError, RunWaitingError, TauError
from tau.events import NODE_START, Event
from tau.log.digests import ITEM
from tau.state import State, raw
from tau.state_graph import StateGraph
from tau.stores.contract import Store
from tau.stores.file import FileStore
from tau.stores.registry import divert
from tau.stores.sqlite import SQLiteStore
from tau.testing.crashes.calls import watch_sqlite
from tau.testing.crashes.finished import Finished, Piece, Visit, finished, twice
from tau.testing.crashes.interrupting import Interrupter
from tau.testing.crashes.killing import KillingStore, acknowledged, digest_of
from tau.testing.crashes.points import CTRL_C, Point
from tau.values.types.artifact import Artifact

RUN_ID = "crash-test"
SEED = 1
EFFECTS = "TAU_EFFECTS"
"""The environment variable that names the file to which a graph appends its effects."""

STORES = ("sqlite", "file")
StoreFactory = Callable[[Path], Store]


class Job(Struct):
    """One attempt, in the directory ``place``, which it shares with the other attempts of its run. ``number`` counts
    these from 1. ``point`` is where the process is struck."""

    place: str
    number: int
    store: str
    input: dict[str, Any]
    answers: dict[str, Any] = {}
    point: Point | None = None
    effects: str = ""

    def file(self, name: str) -> str:
        """A file of this attempt."""
        return os.path.join(self.place, f"{name}-{self.number}")


class Ran(Struct, frozen=True):
    """A node began: its path, its visit, and the visit of the node of the run around it, as (node, number)."""

    path: str
    visit: int
    outer: tuple[str, int]


class Report(Struct):
    """How an attempt ended that was not killed.

    ``error`` is empty where it has the final state, of which ``keys`` are digests. ``lost`` are acknowledged positions
    that the store does not hold as they were; ``before`` is what was finished as it began; ``ran`` are the nodes that
    it began, ``again`` what is in the log twice; ``calls`` are those of each of its commits. ``waits`` are pauses
    without an answer, ``struck`` tells that Ctrl-C was sent; ``nodes`` are those that are no graphs.
    """

    error: str = ""
    error_type: str = ""
    refused: bool = False
    keys: dict[str, str] = {}
    calls: list[int] = []
    seconds: float = 0.0
    before: Finished = Finished()
    lost: list[int] = []
    ran: list[Ran] = []
    again: list[str] = []
    waits: list[str] = []
    struck: bool = False
    nodes: list[str] = []


def do(job: Job, load: Callable[[], StateGraph], factory: StoreFactory | None, resources: Any = None) -> None:
    """Make one attempt and write its report; nothing of the user's is written but what the nodes themselves write."""
    os.environ[EFFECTS] = job.effects or os.path.join(job.place, "effects")
    report = Report()
    began = time.monotonic()
    try:
        watch_sqlite()
        store = KillingStore(_store(job, factory), RUN_ID, job.file("ledger"), job.point)
        divert(lambda url: _elsewhere(job, url))
        graph = load()
        report.nodes = [name for name, node in graph.nodes.items() if not node.inside]
        _attempt(job, report, _prepared(job, graph, store), resources)
    except BaseException as error:
        report.error, report.error_type = str(error) or type(error).__name__, type(error).__name__
        report.refused = isinstance(error, ConfigError)
    report.seconds = time.monotonic() - began
    report.calls = [line.calls for line in acknowledged(job.file("ledger")) if not line.records]
    data = msgspec.json.encode(report)
    Path(job.file("unfinished")).write_bytes(data)
    os.rename(job.file("unfinished"), job.file("report"))


def report_of(job: Job) -> Report | None:
    """What the attempt reported; ``None`` where it did not come to that."""
    try:
        return msgspec.json.decode(Path(job.file("report")).read_bytes(), type=Report)
    except FileNotFoundError:
        return None


def _store(job: Job, factory: StoreFactory | None) -> Store:
    if factory is not None:
        return factory(Path(job.place))
    place = Path(job.place) / "store"
    return SQLiteStore(place) if job.store == "sqlite" else FileStore(place)


def _elsewhere(job: Job, url: str) -> str:
    """Where a store lies that the graph, or what runs in it, names by itself."""
    return f"sqlite:///{job.place}/other-{hashlib.sha256(url.encode()).hexdigest()[:16]}"


def _prepared(job: Job, graph: StateGraph, store: Store) -> StateGraph:
    """The graph with that store, and its artifacts beside it; a finished run is kept, to be looked at."""
    graph.validate()
    graph.use_store(store)
    checkpoint = dataclasses.replace(
        graph.config.checkpoint, preserve=True, artifacts=os.path.join(job.place, "artifacts")
    )
    graph.config = dataclasses.replace(graph.config, checkpoint=checkpoint)
    return graph


def _attempt(job: Job, report: Report, graph: StateGraph, resources: Any) -> None:
    records = graph.store.read(RUN_ID)
    report.before = finished(RUN_ID, records)
    stored = {position: digest_of(record) for position, record in records}
    for number in range(1, job.number):
        for line in acknowledged(f"{job.place}/ledger-{number}"):
            positions = enumerate(line.records, line.expected + 1)
            report.lost += [position for position, record in positions if stored.get(position) != record]
    watching = _Watching(report)
    interrupter = None
    observers: list[Any] = [watching]
    if job.point is not None and job.point.kind == CTRL_C:
        interrupter = Interrupter(graph, job.point.node)
        observers.append(interrupter)
    try:
        state = _run(job, report, graph, observers, resources)
    finally:
        report.struck = interrupter is not None and interrupter.struck
    report.keys = {} if state is None else {name: _digest(state, name) for name in state}
    after = finished(RUN_ID, graph.store.read(RUN_ID))
    report.again = [_told(one) for one in twice([*after.visits, *filter(_is_work, after.pieces)])]


def _run(job: Job, report: Report, graph: StateGraph, observers: list[Any], resources: Any) -> State | None:
    begin: Callable[[], State] = lambda: graph.execute(  # noqa: E731
        job.input, run_id=RUN_ID, if_exists="resume", seed=SEED, observer=observers, resources=resources
    )
    for _ in range(_MOST_PAUSES):
        try:
            return begin()
        except RunWaitingError:
            names = [pause.name for pause in graph.pauses(RUN_ID)]
            if not job.answers.keys() & set(names):
                report.waits = names
                return None
            for name in names:
                if name in job.answers:
                    graph.answer(RUN_ID, name, job.answers[name])
            begin = lambda: graph.resume(RUN_ID, observer=observers, resources=resources)  # noqa: E731
    raise TauError(f"the run asked for answers {_MOST_PAUSES} times; does it take the ones that were given?")


_MOST_PAUSES = 1_000


class _Watching:
    """An observer that notes which nodes begin."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.outer = ("", 0)

    def __call__(self, event: Event) -> None:
        if event.type == NODE_START:
            path, visit = str(event.data["node"]), int(event.data["visit"])
            if "/" not in path:
                self.outer = (path, visit)
            self.report.ran.append(Ran(path, visit, self.outer))


def _digest(state: State, name: str) -> str:
    """What a value is; a file is what it holds, as its path and time differ from run to run."""
    value = state[name]
    if isinstance(value, Artifact):
        told: Any = (value.name, value.size_bytes, value.digest, value.directory, value.node, value.visit)
        return hashlib.sha256(repr(told).encode()).hexdigest()
    return hashlib.sha256(raw(state)[name].data()).hexdigest()


def _is_work(piece: Piece) -> bool:
    return not piece.key or piece.key.startswith(ITEM)


def _told(one: Any) -> str:
    if isinstance(one, Visit):
        return f"visit {one.visit} of node {one.path}"
    node, visit, name = one.scope[-1]
    return f"item {one.label or name} of node {node}, visit {visit}"
