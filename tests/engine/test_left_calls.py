"""A sync node that a cancellation or a timeout left behind goes on in its thread; the node is not run beside it."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tau import (
    CheckpointConfig,
    GraphConfig,
    NodeTimeoutError,
    RunInterruptedError,
    State,
    StateGraph,
    Stop,
    open_store,
)
from tau.errors import ExecutionError
from tau.node import left_calls
from tau.node.async_calls import NODES, pool_of_loop
from tau.stores.contract import Store
from tau.stores.memory import MemoryStore

DEADLINE = 30


class Work:
    """A node that is held up until it is let go, and notes how many calls of it are at work at a time."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.began, self.go = threading.Event(), threading.Event()
        self.now = self.most = self.calls = 0

    def node(self, state: State) -> dict[str, Any]:
        with self.lock:
            self.now += 1
            self.calls += 1
            self.most = max(self.most, self.now)
        self.began.set()
        assert self.go.wait(DEADLINE)
        with self.lock:
            self.now -= 1
        return {"x": self.calls}

    def graph(self, store: Any, **options: Any) -> StateGraph:
        graph = StateGraph(GraphConfig("g", observer="noop", checkpoint=CheckpointConfig(store=store, interval=1)))
        graph.add_node("work", self.node, version="1", **options)
        graph.sequence("work")
        return graph


class LetGoWhenTold(logging.Handler):
    """Lets the call that was left behind go on when somebody says that he waits for it."""

    def __init__(self, work: Work) -> None:
        super().__init__(logging.WARNING)
        self.work = work
        self.told: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.told.append(record.getMessage())
        self.work.go.set()


@pytest.fixture
def work() -> Iterator[Work]:
    made = Work()
    yield made
    made.go.set()


@pytest.fixture
def waiting(work: Work) -> Iterator[LetGoWhenTold]:
    handler = LetGoWhenTold(work)
    logging.getLogger("tau").addHandler(handler)
    yield handler
    logging.getLogger("tau").removeHandler(handler)


@pytest.fixture(params=["memory", "sqlite", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    urls = {"sqlite": f"sqlite:///{tmp_path}/r.db", "file": f"file://{tmp_path}/runs"}
    made = open_store(urls[request.param]) if request.param in urls else MemoryStore()
    yield made
    made.close()


async def cancelled(work: Work, store: Any, **options: Any) -> None:
    task = asyncio.create_task(work.graph(store, **options).aexecute({}, run_id="r"))
    assert await asyncio.to_thread(work.began.wait, DEADLINE)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not left_calls.left or work.now == 1


@pytest.mark.parametrize("timeout", [None, 20.0])
@pytest.mark.parametrize("sync", [False, True], ids=["aresume", "resume"])
async def test_a_cancelled_node_is_not_run_beside_itself(
    store: Store, work: Work, waiting: LetGoWhenTold, timeout: float | None, *, sync: bool
) -> None:
    await cancelled(work, store, timeout=timeout)
    summary = store.summary("r")
    assert summary is not None
    assert summary.status == "interrupted"
    graph = work.graph(store, timeout=timeout)
    final = await (asyncio.to_thread(graph.resume, "r") if sync else graph.aresume("r"))
    assert (final["x"], work.calls, work.most) == (2, 2, 1)
    assert len(waiting.told) == 1
    assert waiting.told[0].startswith("node 'work' of run 'r' waits: an earlier call of it, left behind by")
    assert not left_calls.left


@pytest.mark.parametrize("run", ["sync", "async"])
def test_a_timed_out_node_is_not_run_beside_itself(store: Store, work: Work, waiting: LetGoWhenTold, run: str) -> None:
    def start() -> State:
        graph = work.graph(store, timeout=0.3)
        return graph.execute({}, run_id="r") if run == "sync" else asyncio.run(graph.aexecute({}, run_id="r"))

    def resume() -> State:
        graph = work.graph(store, timeout=20.0)
        return graph.resume("r") if run == "sync" else asyncio.run(graph.aresume("r"))

    with pytest.raises(ExecutionError, match="did not finish within"):
        start()
    assert resume()["x"] == 2
    assert (work.calls, work.most) == (2, 1)
    assert len(waiting.told) == 1


def test_the_waiting_is_part_of_the_timeout(store: Store, work: Work) -> None:
    graph = work.graph(store, timeout=0.3)
    with pytest.raises(ExecutionError, match="did not finish within"):
        graph.execute({}, run_id="r")
    with pytest.raises(ExecutionError, match="was not run: an earlier call of it") as refused:
        graph.resume("r")
    assert isinstance(refused.value.__cause__, NodeTimeoutError)
    assert work.calls == 1


async def test_who_waits_can_be_stopped_and_cancelled(store: Store, work: Work) -> None:
    await cancelled(work, store)
    told = asyncio.Event()
    loop = asyncio.get_running_loop()

    class Told(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            loop.call_soon_threadsafe(told.set)

    handler = Told(logging.WARNING)
    logging.getLogger("tau").addHandler(handler)
    try:
        stop = Stop()
        stopped = asyncio.create_task(work.graph(store).aresume("r", stop=stop))
        await asyncio.wait_for(told.wait(), DEADLINE)
        stop.set("enough")
        with pytest.raises(RunInterruptedError, match="enough"):
            await stopped
        told.clear()
        dropped = asyncio.create_task(work.graph(store).aresume("r"))
        await asyncio.wait_for(told.wait(), DEADLINE)
        dropped.cancel()
        with pytest.raises(asyncio.CancelledError):
            await dropped
    finally:
        logging.getLogger("tau").removeHandler(handler)
        work.go.set()
    assert work.calls == 1


async def test_another_run_and_another_store_do_not_wait(store: Store, work: Work) -> None:
    await cancelled(work, store)
    work.go.set()  # the first one is let go; those below hold nobody up
    other = Work()
    await cancelled(other, MemoryStore())
    work_again = Work()
    work_again.go.set()
    assert (await work_again.graph(MemoryStore()).aexecute({}, run_id="r"))["x"] == 1
    assert (await work_again.graph(store).aexecute({}, run_id="another"))["x"] == 2
    other.go.set()


async def test_a_call_that_had_not_begun_never_begins(work: Work) -> None:
    """All threads of the pool are busy when the run is cancelled."""
    go, busy, over = threading.Event(), threading.Barrier(NODES + 1), threading.Barrier(NODES + 1)

    def wait() -> None:
        busy.wait(DEADLINE)
        assert go.wait(DEADLINE)
        over.wait(DEADLINE)

    for _ in range(NODES):
        pool_of_loop().put(partial(wait))
    await asyncio.to_thread(busy.wait, DEADLINE)
    store = MemoryStore()
    task = asyncio.create_task(work.graph(store).aexecute({}, run_id="r"))
    while store.lease("r") is None:
        await asyncio.sleep(0)
    for _ in range(50):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go.set()
    await asyncio.to_thread(over.wait, DEADLINE)
    assert work.calls == 0
    work.go.set()
    assert (await work.graph(store).aresume("r"))["x"] == 1


def test_a_child_waits_for_no_thread_of_its_parent(tmp_path: Path, work: Work) -> None:
    url = f"sqlite:///{tmp_path}/r.db"
    with pytest.raises(ExecutionError, match="did not finish within"):
        work.graph(url, timeout=0.3).execute({}, run_id="r")
    assert left_calls.left
    pid = os.fork()
    if pid == 0:
        work.go = threading.Event()
        work.lock = threading.Lock()
        work.go.set()
        code = 1
        try:
            code = 0 if work.graph(url, timeout=20.0).resume("r")["x"] == 2 else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
