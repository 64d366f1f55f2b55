"""The threads in which event loops do what must not hold them up: how many there are, when they end, what is lost."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import weakref
from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import Any

import pytest

import tau.log.pool
from tau import State, StateGraph
from tau.errors import StoreUnavailableError
from tau.log.committer import Committer
from tau.log.pool import Pool
from tau.node.async_calls import NODES, in_a_thread, off_the_loop
from tau.stores.memory import MemoryStore

SECONDS = 30.0


def graph_of(node: Callable[[State], Any]) -> StateGraph:
    graph = StateGraph("g", store=MemoryStore())
    graph.add_node("n", node, version="1")
    graph.sequence("n")
    return graph


def test_it_has_as_many_threads_as_work_and_no_more_than_it_may() -> None:
    pool, names, go = Pool("p", 3), SimpleQueue[str](), threading.Event()

    def work() -> None:
        names.put(threading.current_thread().name)
        go.wait(SECONDS)

    for count in (1, 2, 3, 3, 3):
        pool.put(partial(work))
        assert len(pool._threads) == count
    assert [names.get(timeout=SECONDS) for _ in range(3)] == ["p"] * 3
    assert names.empty()
    go.set()
    assert [names.get(timeout=SECONDS) for _ in range(2)] == ["p"] * 2


def test_work_is_begun_in_the_order_in_which_it_came() -> None:
    pool, done = Pool("p", 1), SimpleQueue[int]()
    for number in range(100):
        pool.put(partial(done.put, number))
    assert [done.get(timeout=SECONDS) for _ in range(100)] == list(range(100))


def test_work_that_hangs_or_raises_holds_nothing_up(caplog: pytest.LogCaptureFixture) -> None:
    pool, done, go = Pool("p", 2), SimpleQueue[int](), threading.Event()

    def fail() -> None:
        raise SystemExit("odd")

    pool.put(partial(go.wait, SECONDS))
    for number in range(10):
        pool.put(partial(fail))
        pool.put(partial(done.put, number))
        assert done.get(timeout=SECONDS) == number
    go.set()
    assert caplog.messages == ["thread 'p' goes on after an error"] * 10


def test_threads_of_loops_that_are_closed_end_when_another_loop_needs_some(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that calls `asyncio.run` again and again gathered a thread for each call of the last five seconds."""
    monkeypatch.setattr(tau.log.pool, "_IDLE", 10 * SECONDS)
    graph = graph_of(lambda state: {})

    async def two() -> None:
        await asyncio.gather(graph.aexecute({}), graph.aexecute({}))

    for _ in range(50):
        asyncio.run(two())
        idle = [thread for thread in threading.enumerate() if thread.name == "tau-node"]
    for thread in idle[:-2]:
        thread.join(SECONDS)
    left = [thread for thread in idle if thread.is_alive()]
    assert len(left) <= 2


def test_a_closed_pool_does_what_is_put_in_and_ends_its_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tau.log.pool, "_IDLE", 10 * SECONDS)
    pool, done, go = Pool("p", 3), SimpleQueue[int](), threading.Event()
    for _ in range(3):
        pool.put(partial(go.wait, SECONDS))
    threads = list(pool._threads)
    pool.close()
    pool.put(partial(done.put, 1))
    go.set()
    assert done.get(timeout=SECONDS) == 1
    for thread in threads:
        thread.join(SECONDS)
        assert not thread.is_alive()
    pool.put(partial(done.put, 2))
    assert done.get(timeout=SECONDS) == 2


def test_threads_that_have_nothing_to_do_end_and_let_go_of_what_they_did(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tau.log.pool, "_IDLE", 0.01)

    class Large:
        def __call__(self) -> None:
            pass

    pool, work = Pool("p", 4), Large()
    gone = weakref.ref(work)
    pool.put(work)
    threads = pool._threads
    del work
    for thread in threads:
        thread.join(SECONDS)
        assert not thread.is_alive()
    assert gone() is None
    pool_gone = weakref.ref(pool)
    del pool, threads, thread
    gc.collect()
    assert pool_gone() is None


def test_what_is_given_as_the_threads_end_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many give something at once, to threads that are always about to end."""
    monkeypatch.setattr(tau.log.pool, "_IDLE", 0.0)
    pool, over = Pool("p", 2), SimpleQueue[None]()

    def give() -> None:
        done = SimpleQueue[int]()
        for number in range(300):
            pool.put(partial(done.put, number))
            assert done.get(timeout=SECONDS) == number
        over.put(None)

    for _ in range(4):
        Thread(target=give, daemon=True).start()
    for _ in range(4):
        over.get(timeout=SECONDS)


def test_a_child_has_threads_of_its_own_and_does_not_do_what_its_parent_was_given() -> None:
    pool, busy, go, done = Pool("p", 1), threading.Event(), threading.Event(), SimpleQueue[str]()

    def wait() -> None:
        busy.set()
        go.wait(SECONDS)

    pool.put(partial(wait))
    pool.put(partial(done.put, "the parent's"))
    assert busy.wait(SECONDS)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            pool.put(partial(done.put, "the child's"))
            code = 0 if done.get(timeout=SECONDS) == "the child's" else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    go.set()
    assert done.get(timeout=SECONDS) == "the parent's"


async def test_where_no_thread_can_be_had_a_store_says_so_and_what_was_given_never_begins() -> None:
    begun: list[int] = []
    committer = Committer(MemoryStore())
    before = threading.stack_size(1 << 50)  # of stacks that large the system has none
    try:
        with pytest.raises(StoreUnavailableError, match="can't start new thread; raise the limits"):
            await off_the_loop(committer, lambda: begun.append(1))
        with pytest.raises(RuntimeError, match="can't start new thread"):
            await in_a_thread(("n",), lambda: begun.append(1))
    finally:
        threading.stack_size(before)
    assert await off_the_loop(committer, lambda: 7) == (7, None)
    assert begun == []


async def test_a_loop_that_is_closed_before_the_answer_comes_disturbs_no_thread(
    caplog: pytest.LogCaptureFixture,
) -> None:
    committer, go = Committer(MemoryStore()), threading.Event()

    def run() -> None:
        loop = asyncio.new_event_loop()
        waiting = off_the_loop(committer, partial(go.wait, SECONDS))
        loop.call_soon(waiting.send, None)
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
        waiting.close()

    await asyncio.to_thread(run)
    go.set()
    assert await off_the_loop(committer, lambda: 7) == (7, None)
    assert not caplog.records


async def test_sync_nodes_run_at_a_time_in_threads_that_see_the_context_of_their_run() -> None:
    """And those that hang, of another loop, are in nobody's way."""
    variable, barrier, go = ContextVar("variable", default=0), threading.Barrier(NODES), threading.Event()
    hanging = SimpleQueue[None]()

    def hang(state: State) -> None:
        hanging.put(None)
        go.wait(SECONDS)

    async def hang_all() -> None:
        await asyncio.gather(*(graph_of(hang).aexecute({}, run_id=f"{n}") for n in range(NODES)))

    other = asyncio.create_task(asyncio.to_thread(asyncio.run, hang_all()))

    def wait_for_all() -> None:
        for _ in range(NODES):
            hanging.get(timeout=SECONDS)

    def node(state: State) -> dict[str, Any]:
        barrier.wait(SECONDS)
        return {"x": variable.get()}

    async def run(number: int) -> Any:
        variable.set(number)
        return (await graph_of(node).aexecute({}, run_id=f"{number}"))["x"]

    await asyncio.to_thread(wait_for_all)
    assert await asyncio.gather(*(run(number) for number in range(NODES))) == list(range(NODES))
    go.set()
    await other
