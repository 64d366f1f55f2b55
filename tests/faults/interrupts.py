"""An interrupt once at each distinct place of the library's own frames, in this process: run, be struck, judge, resume.

A place is an instruction after which Python looks for signals (see `injection.InterruptFault`), or by line the first
such one of a line. What is struck is the first, or the last time that a run comes by there.
"""

from __future__ import annotations

import asyncio
import faulthandler
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, NamedTuple

from injection import InterruptFault, _looking
from struck_code import is_engine

from tau import CheckpointConfig, Context, GraphConfig, Retry, State, StateGraph, open_store
from tau.events import TERMINAL_TYPES
from tau.log.loading import BlobLoader
from tau.log.records import CheckpointRecord, Item
from tau.log.replay import Replay
from tau.observers import Recorder
from tau.stores.contract import Store

Place = tuple[str, str, int]
RUN = "r"
DEADLINE = 60.0
"""Seconds after which a run that hangs ends this process, with a traceback of each thread."""


class Alarm(Exception):
    """What the handler of a signal raises."""


class Strike(InterruptFault):
    """Raises ``error`` at a place, once; without a place it only notes which there are, and how often each was met."""

    def __init__(self, kind: Callable[[], BaseException], place: Place | None, *, by_line: bool, last: int = 1) -> None:
        super().__init__(is_engine)
        self.kind = kind
        self.place = place
        self.by_line = by_line
        self.left = last
        self.met: Counter[Place] = Counter()
        self.error: BaseException | None = None
        self.armed = True

    def __enter__(self) -> Strike:
        sys.settrace(self._enter)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def _strikes(self, code: CodeType) -> bool:
        """Once the place is known nothing else is traced, which is what takes the time."""
        if self.place is not None and (Path(code.co_filename).stem, code.co_qualname) != self.place[:2]:
            return False
        return super()._strikes(code)

    def _point(self, frame: FrameType, event: str) -> None:
        before = self.before.get(id(frame), -1)
        self.before[id(frame)] = frame.f_lasti
        if not self.armed or before not in _looking(frame.f_code):
            return
        place = _place(frame, self.by_line)
        self.met[place] += 1
        if place == self.place:
            self.left -= 1
            if self.left == 0:
                self.error = self.kind()
                raise self.error


def _place(frame: FrameType, by_line: bool) -> Place:
    code: CodeType = frame.f_code
    return (Path(code.co_filename).stem, code.co_qualname, (frame.f_lineno or 0) if by_line else frame.f_lasti)


class Case(NamedTuple):
    """What is run and how."""

    store: str
    interval: int = 1
    is_async: bool = False
    artifacts: bool = True
    observed: bool = True
    second: bool = False
    """Whether the first interrupt comes from a node, and the places are those of what follows."""


class Life:
    """One graph on one store: what its nodes and steps did, in order."""

    def __init__(self, case: Case, directory: Path) -> None:
        self.case = case
        url = {"sqlite": f"sqlite:///{directory}/r.db", "file": f"file://{directory}/runs"}.get(case.store, "memory:")
        self.store: Store = open_store(url) if case.store != "memory" else _memory()
        self.done: list[str] = []
        self.returned: list[str] = []
        self.flaky = 1
        self.breaking: Callable[[], None] = lambda: None
        self.recorder = Recorder()

    def graph(self) -> StateGraph:
        checkpoint = CheckpointConfig(store=self.store, interval=self.case.interval, preserve=True)
        observer = self.recorder if self.case.observed else "noop"
        graph = StateGraph(GraphConfig("g", observer=observer, checkpoint=checkpoint))
        retry = Retry(attempts=3, delay=0.0, on=OSError)
        nodes = {"a": (self.a, None), "b": (self.b, retry), "c": (self.c, None), "d": (self.d, None)}
        for name, (node, again) in nodes.items():
            graph.add_node(name, self.awaited(node) if self.case.is_async else node, version="1", retry=again)
        graph.sequence(*nodes)
        return graph

    def awaited(self, node: Callable[[State, Context], Any]) -> Any:
        async def run(state: State, ctx: Context) -> Any:
            await asyncio.sleep(0)
            return node(state, ctx)

        return run

    def work(self, name: str) -> str:
        self.done.append(name)
        return name

    def a(self, state: State, ctx: Context) -> Any:
        self.done.append("a")
        return {"a": [1, 2, 3]}

    def b(self, state: State, ctx: Context) -> Any:
        """Fails once by itself, and asks once more for a step that an alarm broke off."""
        self.done.append("b")
        for name in ("one", "two"):
            try:
                ctx.step(name, self.work, name)
            except Alarm:
                ctx.step(name, self.work, name)
            self.returned.append(name)
        if self.flaky:
            self.flaky -= 1
            raise OSError("flaky")
        return {"b": bytes(2000)}

    def c(self, state: State, ctx: Context) -> Any:
        self.done.append("c")
        self.breaking()
        if self.case.artifacts and self.case.store != "memory":
            with ctx.artifact("c.txt") as path:
                path.write_text("c")
        return {"c": len(state["a"])}

    def d(self, state: State, ctx: Context) -> Any:
        self.done.append("d")
        return {"d": sorted(key for key in state if key != "c.txt")}

    def start(self) -> State:
        if self.case.is_async:
            return asyncio.run(self.graph().aexecute({}, run_id=RUN))
        return self.graph().execute({}, run_id=RUN)

    def resume(self) -> State:
        return self.graph().resume(RUN)


def _memory() -> Store:
    from tau.stores.memory import MemoryStore

    return MemoryStore()


WANTED = {"a": [1, 2, 3], "b": bytes(2000), "c": 3, "d": ["a", "b", "c"]}


def strikes(case: Case, kind: Callable[[], BaseException], base: Path, *, by_line: bool) -> Iterator[str]:
    """What went wrong at each place; the first item is how many there were.

    Each is struck the first and the last time that it is met; by line one place the first time, the next the last.
    """
    plain = Strike(kind, None, by_line=by_line)
    attempt(case, plain, base / "plain")
    places = sorted(plain.met)
    yield f"{len(places)}"
    for number, place in enumerate(places):
        times = [1, plain.met[place]]
        for last in {times[number % 2]} if by_line else {*times}:
            strike = Strike(kind, place, by_line=by_line, last=last)
            for problem in attempt(case, strike, base / f"{number}.{last}"):
                yield f"{'.'.join(map(str, place))} (time {last}): {problem}"


def attempt(case: Case, strike: Strike, directory: Path) -> list[str]:
    """Run, struck once, and resume: what is wrong."""
    directory.mkdir()
    life = Life(case, directory)
    if case.second:
        strike.armed = False

        def break_off() -> None:
            if life.done.count("c") == 1:
                strike.armed = True
                raise KeyboardInterrupt

        life.breaking = break_off
    raised: BaseException | None = None
    faulthandler.dump_traceback_later(DEADLINE, exit=True)
    try:
        with strike:
            life.start()
    except BaseException as error:
        raised = error
    finally:
        faulthandler.cancel_dump_traceback_later()
    if strike.place is None:
        if raised is not None and not (case.second and isinstance(raised, KeyboardInterrupt)):
            raise raised
        return []
    if strike.error is None:  # what an earlier run of this process has done once for all
        return []
    problems = list[str]()
    problems += _judge_error(case, strike, raised)
    problems += _judge_events(life, raised)
    before, returned = list(life.done), list(life.returned)
    problems += _judge_store(life, before)
    raised = strike.error = None  # nothing may live on in a traceback
    try:
        final = life.resume() if life.store.summary(RUN) is not None else life.start()
        if {key: final.get(key) for key in WANTED} != WANTED:
            problems.append(f"another result: {final!r}")
    except BaseException as error:
        problems.append(f"the resume raised {type(error).__name__}: {error}")
    problems += _judge_done(before, returned, life.done[len(before) :], case)
    problems += [f"at the end: {text}" for text in _judge_log(life)]
    life.store.close()
    return problems


def _judge_error(case: Case, strike: Strike, raised: BaseException | None) -> Iterator[str]:
    struck = strike.error
    if raised is None:
        if not isinstance(struck, Alarm):  # an alarm may have been caught by the node
            yield "the interrupt was swallowed"
        return
    if case.second and isinstance(raised, KeyboardInterrupt):
        return
    chain: list[BaseException] = []
    one: BaseException | None = raised
    while one is not None and one not in chain:
        chain.append(one)
        one = one.__cause__ or one.__context__
    if struck is not raised and not (isinstance(struck, Exception) and struck in chain):
        yield f"{type(raised).__name__} came out: {raised}"


def _judge_events(life: Life, raised: BaseException | None) -> Iterator[str]:
    if life.case.observed:
        told = [event.type for event in life.recorder.events if event.type in TERMINAL_TYPES]
        started = any(event.type == "graph.start" for event in life.recorder.events)
        if len(told) != 1 and (told or started):
            yield f"terminal events {told}"
    life.recorder.events.clear()


def _judge_store(life: Life, done: list[str]) -> Iterator[str]:
    summary = life.store.summary(RUN)
    if summary is None:
        if done:
            yield f"nothing is stored of {done}"
        return
    if summary.status not in ("failed", "interrupted", "finished"):
        yield f"the status is {summary.status}"
    if summary.owner is not None or life.store.lease(RUN) is not None:
        yield "somebody still owns it"
    yield from _judge_log(life)


def _judge_log(life: Life) -> Iterator[str]:
    """Sound, each visit and each step finished once, and the summary says what the log adds up to."""
    summary = life.store.summary(RUN)
    fold, counts = Replay(RUN, BlobLoader(life.store, RUN)), Counter[Any]()
    for position, data in life.store.read(RUN):
        record = fold.add(position, data)
        if fold.damage:
            yield f"position {position}: {fold.damage}"
            return
        if isinstance(record, CheckpointRecord):
            counts[record.node, record.visit] += 1
        elif isinstance(record, Item) and not record.key:  # an artifact is made anew by every attempt
            counts[record.scope, record.key] += 1
    twice = [what for what, count in counts.items() if count > 1]
    if twice:
        yield f"stored twice: {twice}"
    if summary is not None and fold.progress is not None:
        said = (summary.status, summary.position, summary.node, summary.iterations)
        found = (fold.progress.status, fold.position, fold.progress.node, fold.progress.iteration)
        if said != found:
            yield f"the summary says {said}, the log {found}"


def _judge_done(before: list[str], returned: list[str], after: list[str], case: Case) -> Iterator[str]:
    """Only the node in flight is run again, and no step that returned."""
    nodes = [name for name in before if len(name) == 1]
    again = set(after) & set(nodes)
    if again - set(nodes[-1:]):
        yield f"ran again: {sorted(again)} after {before}"
    steps = set(after) & set(returned)
    if steps:
        yield f"steps were called again: {sorted(steps)}"
