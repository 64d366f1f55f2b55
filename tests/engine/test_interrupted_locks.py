"""An interrupt anywhere leaves no lock taken: nobody waits for ever after it, in this thread or in another one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any

import pytest

from lock_takers import AtLines, AtTakers, Interrupted, interrupt
from tau import CheckpointConfig, Context, GraphConfig, Retry, State, StateGraph, Stop, open_store
from tau.host import Host
from tau.log.committer import Committer, Result
from tau.log.tickets import Ticket
from tau.node.left_calls import Call
from tau.stores.memory import MemoryStore
from tau.testing.store_contract.batches import batch
from tau.waiting import DaemonThread

SECONDS = 30.0


def in_time(call: Callable[[], object]) -> None:
    """Call in a thread, which must come back."""
    thread = Thread(target=call, daemon=True)
    thread.start()
    thread.join(SECONDS)
    assert not thread.is_alive(), "it waits for ever"


def test_the_thread_that_commits_is_woken_after_an_interrupt_of_waking_it() -> None:
    committer, told = Committer(MemoryStore()), SimpleQueue[Result]()
    committer.submit(Ticket(batch("first", 0), told.put))
    assert told.get(timeout=SECONDS) == 1

    def interrupted() -> None:
        with AtTakers(interrupt), suppress(Interrupted):
            committer.submit(Ticket(batch("r", 0), told.put))

    in_time(interrupted)
    in_time(lambda: committer.submit(Ticket(batch("s", 0), told.put)))
    assert [told.get(timeout=SECONDS) for _ in range(2)] == [1, 1]


def test_a_handler_may_ask_its_own_thread_to_stop_whenever_that_waits() -> None:
    at, lines = 1, AtLines(lambda: None)
    while at == 1 or lines.seen >= lines.at:
        stop = Stop()
        lines = AtLines(stop.set, at)

        def wait(lines: AtLines = lines, stop: Stop = stop) -> None:
            with lines:
                Host().sleep(0.001, stop.event)

        in_time(wait)
        at += 1
    assert at > 5


def test_a_call_that_was_left_ends_although_leaving_it_was_interrupted() -> None:
    go, began = threading.Event(), threading.Event()

    def work() -> bool:
        began.set()
        return go.wait(SECONDS)

    call = Call(work)
    worker = Thread(target=call, daemon=True)
    worker.start()
    assert began.wait(SECONDS)

    def leave() -> None:
        with AtTakers(interrupt), suppress(Interrupted):
            call.leave(("key",))

    in_time(leave)
    go.set()
    worker.join(SECONDS)
    assert not worker.is_alive()


class Case:
    """A run that waits for all that a run can wait for."""

    def __init__(self, directory: Path, *, is_async: bool) -> None:
        self.store = open_store(f"sqlite:///{directory}/runs.db")
        self.is_async = is_async
        self.failures = [OSError("flaky")]

    def graph(self) -> StateGraph:
        checkpoint = CheckpointConfig(store=self.store, interval=1, preserve=True)
        graph = StateGraph(GraphConfig("g", observer="noop", checkpoint=checkpoint))
        graph.add_node("steps", self.steps, version="1", timeout=60.0)
        graph.add_node("files", self.files, version="1", retry=Retry(attempts=3, delay=0.001, on=OSError))
        graph.add_node("plain", self.plain, version="1")
        graph.sequence("steps", "files", "plain")
        return graph

    def steps(self, state: State, ctx: Context) -> dict[str, Any]:
        return {"x": ctx.step("one", int, "1")}

    async def files(self, state: State, ctx: Context) -> dict[str, Any]:
        async with ctx.artifact("x.txt") as path:
            path.write_text("x")
        if self.failures:
            raise self.failures.pop()
        return {"y": await ctx.step("two", asyncio.sleep, 0, 2)}

    def plain(self, state: State) -> dict[str, Any]:
        return {"z": 3}

    def run(self) -> State:
        graph = self.graph()
        if self.is_async:
            return asyncio.run(graph.aexecute({}, run_id="r", if_exists="resume", stop=Stop()))
        return graph.execute({}, run_id="r", if_exists="resume", stop=Stop())


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_a_run_goes_on_after_an_interrupt_at_each_lock_that_is_taken_in_python(
    tmp_path: Path, *, is_async: bool
) -> None:
    at, takers, results = 1, AtTakers(interrupt), list[State]()
    while at == 1 or takers.seen >= takers.at:
        (tmp_path / f"{at}").mkdir()
        case, takers = Case(tmp_path / f"{at}", is_async=is_async), AtTakers(interrupt, at)

        def interrupted(case: Case = case, takers: AtTakers = takers) -> None:
            with takers, suppress(Interrupted):
                case.run()

        in_time(interrupted)
        in_time(lambda case=case: results.append(case.run()))
        assert [results[-1][key] for key in "xyz"] == [1, 2, 3]
        case.store.close()
        at += 1
    assert len(results) == at - 1


def test_what_a_handler_raises_while_a_thread_begins_comes_out_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    start, begun = threading._start_new_thread, threading.Event()  # type: ignore[attr-defined]

    def struck(*about: Any) -> None:
        start(*about)
        assert begun.wait(SECONDS)
        raise ValueError("struck")

    monkeypatch.setattr(threading, "_start_new_thread", struck)
    with pytest.raises(ValueError, match="struck"):
        DaemonThread(begun.set, "begins").start()
