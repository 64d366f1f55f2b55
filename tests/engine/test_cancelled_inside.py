"""What a node raises that cannot cross a future, or that looks like a cancellation and is none."""

from __future__ import annotations

import asyncio
import gc
import linecache
import os
import signal
import sys
import threading
import time
import warnings
from contextlib import suppress
from types import FrameType
from typing import Any, ClassVar

import pytest
from engine_steps import config

from lock_takers import AtTakers, interrupt
from tau import ExecutionError, Retry, State, StateGraph, TauError, current
from tau.node.async_calls import NodeLoop
from tau.node.calls import call_in_thread
from tau.stores.memory import MemoryStore


def graph_of(*nodes: Any, **options: Any) -> StateGraph:
    graph = StateGraph("g", store=MemoryStore())
    for number, node in enumerate(nodes):
        graph.add_node(f"n{number}", node, version="1", **options)
    graph.sequence(*(f"n{number}" for number in range(len(nodes))))
    return graph


def status(graph: StateGraph) -> str:
    row = graph.store.summary("r")
    assert row is not None
    assert row.owner is None
    return row.status


@pytest.mark.parametrize("timeout", [None, 60.0])
@pytest.mark.parametrize("kind", [StopIteration, asyncio.CancelledError])
async def test_a_sync_node_may_raise_what_cannot_cross_a_future(
    kind: type[BaseException], timeout: float | None
) -> None:
    def node(state: State) -> None:
        raise kind

    graph = graph_of(node, timeout=timeout)
    with pytest.raises(ExecutionError):
        await asyncio.wait_for(graph.aexecute({}, run_id="r"), 30)
    assert status(graph) == "failed"


async def test_a_sync_node_that_raises_generator_exit_interrupts_its_run() -> None:
    def node(state: State) -> None:
        raise GeneratorExit

    graph = graph_of(node)
    with pytest.raises(GeneratorExit):
        await asyncio.wait_for(graph.aexecute({}, run_id="r"), 30)
    assert status(graph) == "interrupted"


@pytest.mark.parametrize("timeout", [None, 60.0])
async def test_so_does_an_async_node_and_its_run_is_free_at_once(
    timeout: float | None,
) -> None:
    """No task was dropped: it ends as after any interrupt, before the caller goes on."""
    closed = iter((True, True))

    async def node(state: State) -> None:
        await asyncio.sleep(0)
        if next(closed, False):
            raise GeneratorExit

    graph = graph_of(node, timeout=timeout)
    for resume in (False, True):
        with pytest.raises(GeneratorExit):
            await (graph.aresume("r") if resume else graph.aexecute({}, run_id="r"))
        assert status(graph) == "interrupted"
        assert graph.store.lease("r") is None
    assert (await graph.aresume("r")).checkpoint_node == "n0"


async def cancels_something(state: State) -> None:
    task = asyncio.create_task(asyncio.sleep(60))
    await asyncio.sleep(0)
    task.cancel()
    await task


async def test_a_cancellation_that_nobody_asked_of_the_run_is_a_failure_of_the_node() -> None:
    tries: list[int] = []

    async def node(state: State) -> None:
        tries.append(1)
        await cancels_something(state)

    graph = graph_of(node, retry=Retry(attempts=2, delay=0))
    with pytest.raises(ExecutionError, match="the run was not cancelled") as caught:
        await graph.aexecute({}, run_id="r")
    assert isinstance(caught.value.__cause__, TauError)
    assert (len(tries), status(graph)) == (2, "failed")


def test_so_it_is_in_a_sync_run() -> None:
    graph = graph_of(cancels_something)
    with pytest.raises(ExecutionError, match="the run was not cancelled"):
        graph.execute({}, run_id="r")
    assert status(graph) == "failed"


@pytest.mark.parametrize("more", [0, 1])
async def test_a_run_stops_after_a_node_that_kept_its_cancellation_to_itself(more: int) -> None:
    ran: list[str] = []
    waiting = asyncio.Event()

    async def keeps(state: State) -> dict[str, Any]:
        waiting.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ran.append("kept")
        return {"x": 1}

    async def after(state: State) -> None:
        ran.append("after")

    graph = graph_of(keeps, *[after] * more)
    task = asyncio.create_task(graph.aexecute({}, run_id="r"))
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (ran, status(graph)) == (["kept"], "interrupted" if more else "finished")
    assert (await graph.aresume("r"))["x"] == 1


async def test_a_run_whose_task_is_collected_is_let_go() -> None:
    waiting = asyncio.Event()

    async def first(state: State) -> dict[str, Any]:
        return {"x": 1}

    async def second(state: State) -> None:
        if not waiting.is_set():
            waiting.set()
            await asyncio.sleep(60)

    graph = graph_of(first, second)
    coroutine = graph.aexecute({}, run_id="r")
    coroutine.send(None)
    await asyncio.sleep(0)
    coroutine.close()
    deadline = asyncio.get_running_loop().time() + 30
    while (row := graph.store.summary("r")) is None or row.owner is not None:
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.001)
    waiting.set()
    assert (await graph.aresume("r"))["x"] == 1


@pytest.mark.parametrize("inside", [False, True])
def test_a_run_whose_loop_is_closed_in_mid_step_is_let_go(monkeypatch: pytest.MonkeyPatch, inside: bool) -> None:
    """A node that had used steps was awaited once more where nothing can be: the run counted as failed."""
    unraisable: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", unraisable.append)
    calm, begun = threading.Event(), threading.Event()

    async def wait() -> int:
        if not calm.is_set():
            begun.set()
            await asyncio.sleep(3600)
        return 1

    async def one() -> int:
        return 1

    async def steps(state: State) -> dict[str, Any]:
        number = await current().step("first", one)
        return {"x": number + (await current().step("second", wait) if inside else await wait())}

    graph = graph_of(steps)

    async def until_begun() -> None:
        while not begun.is_set():
            await asyncio.sleep(0)

    loop = asyncio.new_event_loop()
    task = loop.create_task(graph.aexecute({}, run_id="r"))
    loop.run_until_complete(until_begun())
    loop.close()
    del task, loop
    gc.collect()
    deadline = time.monotonic() + 30
    while (row := graph.store.summary("r")) is None or row.owner is not None:
        assert time.monotonic() < deadline
    assert (row.status, unraisable) == ("interrupted", [])
    calm.set()
    assert graph.resume("r")["x"] == 2


def test_an_interrupt_in_a_notebook_cancels_the_async_node_of_a_sync_run() -> None:
    """A loop runs in the main thread, so the node has one in another thread."""
    ran: list[str] = []

    async def slow(state: State) -> dict[str, Any]:
        if not ran:
            ran.append("begun")
            os.kill(os.getpid(), signal.SIGINT)
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                ran.append("cancelled")
                raise
        return {"x": 1}

    graph = graph_of(slow)

    async def cell() -> None:
        with pytest.raises(KeyboardInterrupt):
            graph.execute({}, run_id="r")

    loop = asyncio.new_event_loop()  # as ipykernel runs a cell: without the handler of asyncio's runner
    try:
        loop.run_until_complete(cell())
    finally:
        loop.close()
    assert (ran, status(graph)) == (["begun", "cancelled"], "interrupted")
    assert graph.resume("r")["x"] == 1


class AtHandingOver(AtTakers):
    """Strikes at the lines of those who hand work to another thread, of which ``struck`` says whether it did."""

    CODES: ClassVar = {function.__code__ for function in (NodeLoop.run, threading.Thread.start, call_in_thread)}

    @property
    def struck(self) -> bool:
        return self.seen >= self.at

    def _enter(self, frame: FrameType, event: str, argument: Any) -> Any:
        return self._line if frame.f_code in self.CODES else None

    def _line(self, frame: FrameType, event: str, argument: Any) -> Any:
        # The end of a `with` is another event of its line, at which a signal cannot strike.
        line = linecache.getline(frame.f_code.co_filename, frame.f_lineno)
        if event == "line" and "with " not in line:
            self.seen += 1
            if self.seen == self.at:
                self.strike()
        return self._line


@pytest.mark.filterwarnings("ignore:coroutine '.*' was never awaited:RuntimeWarning")  # so it is: it was interrupted
@pytest.mark.parametrize("kind", ["in a notebook", "with a timeout"])
def test_an_interrupt_while_work_is_handed_to_a_thread_leaves_no_node_beside_its_resume(kind: str) -> None:
    """The thread goes on although its starter never hears of it."""
    at_work: list[int] = []
    most = 0

    def begin() -> None:
        nonlocal most
        at_work.append(1)
        most = max(most, len(at_work))

    async def waiting(state: State) -> dict[str, Any]:
        begin()
        try:
            await asyncio.sleep(0.02)
        finally:
            at_work.pop()
        return {"x": 1}

    def blocking(state: State) -> dict[str, Any]:
        begin()
        time.sleep(0.02)
        at_work.pop()
        return {"x": 1}

    async def cell(number: int) -> bool:
        graph = graph_of(waiting) if kind == "in a notebook" else graph_of(blocking, timeout=60.0)
        with AtHandingOver(interrupt, number) as handing, suppress(KeyboardInterrupt):
            graph.execute({}, run_id="r")
        if kind == "in a notebook":
            assert not at_work
        assert graph.resume("r")["x"] == 1
        return handing.struck

    loop = asyncio.new_event_loop()
    try:
        struck = 0
        while loop.run_until_complete(cell(struck + 1)):
            struck += 1
    finally:
        loop.close()
    assert struck > 10
    assert (at_work, most) == ([], 1)


def test_ctrl_c_as_asyncio_begins_to_listen_for_it_is_no_cancellation() -> None:
    """`asyncio.Runner.run` forgets a signal that comes between the setting of its handler and its next line."""

    def strike(frame: FrameType, event: str, argument: Any) -> Any:
        if frame.f_code is not asyncio.Runner.run.__code__:
            return None
        if event == "line" and signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
            sys.settrace(None)
            signal.raise_signal(signal.SIGINT)
        return strike

    async def node(state: State) -> dict[str, int]:
        return {"x": 1}

    graph = graph_of(node)
    sys.settrace(strike)
    try:
        with pytest.raises(KeyboardInterrupt):
            graph.execute({}, run_id="r")
    finally:
        sys.settrace(None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of the node that was called and not begun
        gc.collect()
    assert graph.resume("r")["x"] == 1


@pytest.mark.parametrize("what", ["node", "failing node", "last node", "route"])
def test_ctrl_c_that_an_async_node_or_route_of_a_sync_run_keeps_to_itself_stops_the_run_after_it(what: str) -> None:
    store, ran = MemoryStore(), list[str]()

    async def wait() -> None:
        ran.append("waits")
        signal.raise_signal(signal.SIGINT)
        with suppress(asyncio.CancelledError):  # as what tidies up does
            await asyncio.sleep(60)

    async def first(state: State) -> Any:
        await wait()
        if what == "failing node" and ran.count("waits") == 1:
            raise OSError("its connection is gone")
        return {"a": 1}

    async def route(state: State) -> str:
        if ran.count("waits") == 0:
            await wait()
        return "b"

    def second(state: State) -> Any:
        ran.append("b")
        return {"b": 1}

    graph = StateGraph(config(store))
    graph.add_node("a", (lambda state: {"a": 1}) if what == "route" else first, version="1", retry=Retry(delay=0.0))
    graph.add_node("b", second, version="1")
    if what == "route":
        graph.add_conditional_edges("a", route, {"b": "b"})
        graph.set_entry_point("a")
        graph.set_exit_point("b")
    else:
        graph.sequence(*(("a",) if what == "last node" else ("a", "b")))
    with pytest.raises(KeyboardInterrupt):
        graph.execute({}, run_id="r")
    assert ran == ["waits"]
    summary = store.summary("r")
    assert summary is not None
    assert summary.status == ("finished" if what == "last node" else "interrupted")
    if what not in ("last node", "failing node"):
        assert graph.resume("r")["b"] == 1
        assert ran == ["waits", "b"]
