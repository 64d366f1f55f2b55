"""`Context.emit` and `Context.progress`: what a node tells of itself, within bounds, and only while it runs."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from engine_steps import config

from tau import ConfigError, Context, Event, ExecutionError, Retry, State, StateGraph, TauError, current
from tau.executors.afar import about_here, shown
from tau.node.own_events import LARGEST, MOST
from tau.observers import Recorder
from tau.stores.contract import Store

Node = Callable[[State, Context], Any]


def run(node: Any, store: Any = None, observer: Any = None, **options: Any) -> list[Event]:
    """The events of the node's own in a run of it."""
    recorder = Recorder()
    told = recorder if observer is None else [recorder, observer]
    graph = StateGraph("g") if store is None else StateGraph(config(store))
    graph.add_node("n", node, version="1", **options)
    graph.sequence("n")
    graph.execute({}, run_id="r", observer=told)
    between = [event.type for event in recorder.events]
    first, last = between.index("node.start"), len(between) - 1 - between[::-1].index("node.complete")
    own = [event for event in recorder.events if event.type == "node.progress" or "." not in event.type]
    own += [event for event in recorder.events if event.type.startswith("fit.")]
    assert all(first < recorder.events.index(event) < last for event in own)
    return own


def test_an_event_has_its_data_and_says_where_it_is_from(store: Store) -> None:
    def node(state: State, ctx: Context) -> None:
        ctx.emit("fit.done", loss=0.5, name="trend", rows=[1, (2, 3)], about={"ok": True, "none": None})

    (event,) = run(node, store)
    assert (event.type, event.source) == ("fit.done", "g")
    assert event.data == {
        "loss": 0.5, "name": "trend", "rows": [1, [2, 3]], "about": {"ok": True, "none": None},
        "run_id": "r", "node": "n", "visit": 1, "attempt": 1,
    }  # fmt: skip


def test_what_is_told_is_what_was_there_at_that_time() -> None:
    rows = [1]

    def node(state: State, ctx: Context) -> None:
        ctx.emit("fit.rows", rows=rows)
        rows.append(2)

    (event,) = run(node)
    assert event.data["rows"] == [1]


def test_numbers_of_numpy_are_told_as_numbers() -> None:
    def node(state: State, ctx: Context) -> None:
        ctx.emit("fit.done", loss=np.float32(0.5), n=np.int64(3))
        ctx.progress(np.int64(1), np.float64(4.0))

    progress, done = run(node)
    assert [type(done.data[key]) for key in ("loss", "n")] == [float, int]
    assert (progress.data["done"], progress.data["total"]) == (1, 4.0)
    assert type(progress.data["done"]) is int


def test_what_may_be_secret_is_not_told() -> None:
    def node(state: State, ctx: Context) -> None:
        ctx.emit("fit.asked", api_key="k-1", about={"password": "p-1", "user": "u"})

    (event,) = run(node)
    assert (event.data["api_key"], event.data["about"]) == ("[redacted]", {"password": "[redacted]", "user": "u"})


WRONG: dict[str, tuple[Callable[[Context], None], str]] = {
    "no text": (lambda ctx: ctx.emit(3), "event name must be text, found int"),  # type: ignore[arg-type]
    "an empty name": (lambda ctx: ctx.emit(""), "event name cannot be empty"),
    "tau's own": (lambda ctx: ctx.emit("node.start"), "names that begin with 'node' are tau's own"),
    "of a family of tau's": (lambda ctx: ctx.emit("graph.mine", x=1), "names that begin with 'graph'"),
    "a word that tau has": (lambda ctx: ctx.emit("step"), "names that begin with 'step'"),
    "a field that is there": (lambda ctx: ctx.emit("a", node="x"), "event 'a': node is in every event of a node"),
    "an object": (lambda ctx: ctx.emit("a", x=object()), "event 'a': x must be plain data .*, found object"),
    "an array": (lambda ctx: ctx.emit("a", x=[np.zeros(2)]), "event 'a': x must be plain data .*, found ndarray"),
    "a key": (lambda ctx: ctx.emit("a", x={1: 2}), "event 'a': x: keys must be text, found int: 1"),
    "nested too deep": (lambda ctx: ctx.emit("a", x=_deep()), "found data that is nested too deep"),
    "no number": (lambda ctx: ctx.progress("3"), "progress: done must be a number from 0, found '3'"),  # type: ignore[arg-type]
    "a bool": (lambda ctx: ctx.progress(True), "progress: done must be a number"),
    "below 0": (lambda ctx: ctx.progress(-1), "progress: done must be a number from 0, found -1"),
    "nan": (lambda ctx: ctx.progress(1, float("nan")), "progress: total must be a number from 0, found nan"),
    "without end": (lambda ctx: ctx.progress(1, float("inf")), "progress: total must be a number"),
}


def _deep() -> Any:
    found: list[Any] = []
    found.append(found)
    return found


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_told_is_refused(case: str) -> None:
    wrong, said = WRONG[case]
    with pytest.raises(ExecutionError, match=said) as caught:
        run(lambda state, ctx: wrong(ctx))
    assert isinstance(caught.value.__cause__, ConfigError)


def test_more_than_may_be_told_is_dropped_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    def node(state: State, ctx: Context) -> None:
        for number in range(MOST + 100):
            ctx.emit("tick", number=number)

    with caplog.at_level(logging.WARNING, "tau"):
        events = run(node)
    assert [event.data["number"] for event in events] == list(range(MOST))
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith("node 'n' of run 'r': dropped the events that follow the first 10,000 of its own")


def test_an_event_that_is_too_large_is_dropped_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    def node(state: State, ctx: Context) -> None:
        ctx.emit("text", text="x" * (LARGEST + 1))
        ctx.emit("list", numbers=list(range(LARGEST)))
        ctx.emit("keys", keys={"k" * LARGEST: 1})
        ctx.emit("text", text="x" * LARGEST)

    with caplog.at_level(logging.WARNING, "tau"):
        events = run(node)
    assert [len(event.data["text"]) for event in events] == [LARGEST]
    (said,) = [record.getMessage() for record in caplog.records]
    assert "dropped the event 'text', and perhaps others, as its data has more than 16,384 characters" in said


def test_each_attempt_has_its_own_bounds() -> None:
    def node(state: State, ctx: Context) -> None:
        for _ in range(MOST):
            ctx.emit("tick")
        if ctx.attempt == 1:
            raise OSError("again")

    events = run(node, retry=Retry(attempts=2, delay=0.0))
    assert {attempt: sum(one.data["attempt"] == attempt for one in events) for attempt in (1, 2)} == {1: MOST, 2: MOST}


def test_progress_is_told_when_it_has_grown_enough() -> None:
    def node(state: State, ctx: Context) -> None:
        for done in range(50_001):
            ctx.progress(done, 50_000)
        for done in range(10_000):
            ctx.progress(done)

    told = [(event.data["done"], event.data["total"]) for event in run(node)]
    of_total = [done for done, total in told if total == 50_000]
    assert of_total == list(range(0, 50_001, 50))
    rest = [done for done, total in told if total is None]
    assert rest[:101] == list(range(101))
    assert 400 < len(rest) < 700


def test_all_of_a_few_are_told_and_the_end_too() -> None:
    def node(state: State, ctx: Context) -> None:
        for done in (0, 1, 1, 2, 3):
            ctx.progress(done, 3)
        ctx.progress(9_999.6, 10_000)
        ctx.progress(10_000, 10_000)

    told = [event.data["done"] for event in run(node)]
    assert told == [0, 1, 2, 3, 9_999.6, 10_000]


def test_threads_of_the_node_may_tell_and_none_after_its_end(store: Store) -> None:
    ended = threading.Event()
    late: list[BaseException] = []

    def left_behind(ctx: Context) -> None:
        ended.wait(10)
        for tell in (lambda: ctx.emit("late"), lambda: ctx.progress(1, 2)):
            try:
                tell()
            except TauError as error:
                late.append(error)

    threads: list[threading.Thread] = []

    def node(state: State, ctx: Context) -> None:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda number: ctx.emit("tick", number=number), range(100)))
        threads.append(threading.Thread(target=left_behind, args=(ctx,)))
        threads[0].start()

    events = run(node, store)
    ended.set()
    threads[0].join()
    assert sorted(event.data["number"] for event in events) == list(range(100))
    assert ["cannot be told" in str(error) for error in late] == [True, True]


def test_items_of_a_map_and_tau_current_may_tell() -> None:
    def work(item: int) -> int:
        current().emit("item", number=item)
        return item

    def node(state: State, ctx: Context) -> None:
        ctx.map("all", work, range(5), workers=2)

    assert sorted(event.data["number"] for event in run(node)) == list(range(5))


def test_without_an_observer_nothing_is_told_and_the_end_still_counts() -> None:
    kept: list[Context] = []

    def node(state: State, ctx: Context) -> None:
        kept.append(ctx)
        ctx.emit("tick", what=object())
        ctx.progress(1, 2)

    graph = StateGraph("g")
    graph.add_node("n", node)
    graph.sequence("n")
    graph.execute({})
    with pytest.raises(TauError, match="cannot be told"):
        kept[0].emit("tick")


def test_an_observer_that_raises_does_not_harm_the_node() -> None:
    def breaks(event: Event) -> None:
        raise OSError("no disk")

    (event,) = run(lambda state, ctx: ctx.emit("tick"), observer=breaks)
    assert event.type == "tick"


async def test_an_async_node_tells_its_stream_as_it_goes() -> None:
    seen = asyncio.Event()

    async def node(state: State, ctx: Context) -> None:
        ctx.emit("half", share=0.5)
        await asyncio.wait_for(seen.wait(), 10)
        await asyncio.gather(*(asyncio.to_thread(ctx.progress, done, 3) for done in (1, 2, 3)))

    graph = StateGraph("g")
    graph.add_node("n", node)
    graph.sequence("n")
    told = []
    async for event in graph.astream({}):
        if isinstance(event, Event):
            told.append(event.type)
            if event.type == "half":
                seen.set()
    assert told.index("half") < told.index("node.progress") < told.index("node.complete")


def test_a_child_of_fork_tells_nobody(store: Store) -> None:
    def node(state: State, ctx: Context) -> None:
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                ctx.emit("child")
            except TauError:
                code = 7
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7

    assert run(node, store) == []


def test_in_a_worker_process_it_is_out_of_reach() -> None:
    def node(state: State, ctx: Context) -> None:
        with shown(about_here()):
            for tell in (lambda: current().emit("tick"), lambda: current().progress(1, 2)):
                with pytest.raises(TauError, match="out of reach in a worker process"):
                    tell()

    assert run(node) == []
