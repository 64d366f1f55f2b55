"""A map whose items are called in the caller's thread, one after the other."""

from __future__ import annotations

import contextvars
import sys
import threading
import time
from types import FrameType
from typing import Any

import pytest
from telling import struck_at, told

from tau import ConfigError, ExecutionError, ParallelConfig, ParallelError, Retry, StateGraph
from tau import process_parallel as process
from tau.observers import Recorder
from tau.stores.memory import MemoryStore

INLINE = ParallelConfig(executor="inline", observer=None)


def inline(**options: Any) -> ParallelConfig:
    return ParallelConfig(executor="inline", **{"observer": None, **options})


def test_each_item_is_called_in_the_caller_s_thread_in_order() -> None:
    calls = []

    def task(item: int) -> threading.Thread:
        calls.append(item)
        return threading.current_thread()

    assert set(process(range(20), task, inline(max_workers=8)).results) == {threading.current_thread()}
    assert calls == [*range(20)]


def test_it_is_one_worker_that_tells_of_one_item_after_the_other() -> None:
    recorder = Recorder()
    process([1, 2], str, inline(observer=recorder))
    types = [type_ for type_, _ in told(recorder)]
    assert types == ["parallel.start", *["worker.start", "worker.complete"] * 2, "parallel.complete"]
    assert told(recorder)[0][1]["worker_count"] == 1
    assert {data["worker_id"] for type_, data in told(recorder) if type_.startswith("worker")} == {0}


def test_the_first_failure_ends_the_whole_or_failures_are_collected() -> None:
    with pytest.raises(ParallelError) as caught:
        process([1, 0, 2], lambda item: 1 // item, INLINE)
    assert [one.status for one in caught.value.result.outcomes] == ["done", "failed", "not_run"]
    result = process([1, 0, 2], lambda item: 2 // item, inline(fail_fast=False))
    assert (result.results, [one.index for one in result.errors]) == ([2, 1], [1])


def test_a_failed_item_is_tried_again() -> None:
    calls = []

    def task(item: int) -> int:
        calls.append(item)
        if len(calls) < 3:
            raise ConnectionError("busy")
        return item

    assert process([7], task, inline(retry=Retry(attempts=3, delay=0.001))).results == [7]
    with pytest.raises(ParallelError, match="busy"):
        process([7], lambda item: calls.clear() or task(item), inline(retry=Retry(attempts=2, delay=0.001)))


def test_each_call_has_a_copy_of_the_caller_s_context() -> None:
    word = contextvars.ContextVar("word", default="none")
    word.set("outside")

    def task(item: int) -> str:
        before = word.get()
        word.set(str(item))
        return before

    assert process(range(3), task, INLINE).results == ["outside"] * 3
    assert word.get() == "outside"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)])
def test_what_would_end_the_caller_ends_the_map_as_it_is(error: BaseException) -> None:
    def task(item: int) -> int:
        if item == 1:
            raise error
        return item

    with pytest.raises(type(error)) as caught:
        process(range(3), task, inline(fail_fast=False))
    assert caught.value is error
    assert isinstance(error.__cause__, ParallelError)
    assert [one.status for one in error.__cause__.result.outcomes] == ["done", "cancelled", "not_run"]


def test_an_interrupt_at_any_line_comes_out() -> None:
    line, ended = 0, False
    while not ended:
        line += 1
        try:
            with struck_at(line):
                result = process(range(3), str, INLINE)
            ended = True
        except KeyboardInterrupt:
            continue
    assert result.results == ["0", "1", "2"]
    assert line > 30


def test_tries_begin_at_an_even_pace() -> None:
    began: list[float] = []
    process(range(4), lambda item: began.append(time.monotonic()), inline(rate=100.0))
    assert began[-1] - began[0] >= 0.029


def test_a_timeout_is_refused_where_nothing_can_end_an_item() -> None:
    with pytest.raises(ConfigError, match="timeout: expected null with executor='inline'"):
        inline(timeout=1.0)


async def test_async_items_are_then_worked_on_one_at_a_time() -> None:
    at_work = most = 0

    async def task(item: int) -> int:
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        at_work -= 1
        return item

    assert (await process(range(5), task, INLINE)).results == [*range(5)]
    assert most == 1


def test_finished_items_are_kept_in_a_node() -> None:
    calls: list[int] = []
    broken = [3]

    def task(item: int) -> int:
        calls.append(item)
        if item in broken:
            raise ValueError("broke")
        return -item

    def node(state: Any, ctx: Any) -> Any:
        return {"out": ctx.map("m", task, range(5), executor="inline")}

    graph = StateGraph("g", store=MemoryStore())
    graph.add_node("node", node, version="1")
    graph.sequence("node")
    with pytest.raises(ExecutionError, match="broke"):
        graph.execute({}, run_id="r")
    broken.clear()
    assert graph.resume("r")["out"] == [0, -1, -2, -3, -4]
    assert calls == [0, 1, 2, 3, 3, 4]


def test_ctrl_c_as_an_item_is_about_to_begin_leaves_it_free() -> None:
    """Nothing is at work after it, so a resume in this process calls the item."""
    lines = 0

    def line(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal lines
        lines += event == "line"
        if event == "line" and lines == strike:
            sys.settrace(None)
            raise KeyboardInterrupt
        return line

    def enter(frame: FrameType, event: str, argument: Any) -> Any:
        return line if frame.f_code.co_name == "_alone" else None

    def node(state: Any, ctx: Any) -> Any:
        return {"out": ctx.map("m", abs, range(3), executor="inline")}

    graph = StateGraph("g", store=MemoryStore())
    graph.add_node("node", node, version="1")
    graph.sequence("node")
    before, struck = sys.gettrace(), 0
    for strike in range(1, 100):
        lines = 0
        try:
            sys.settrace(enter)
            graph.execute({}, run_id=f"r{strike}")
        except KeyboardInterrupt:
            struck += 1
            assert graph.resume(f"r{strike}")["out"] == [0, 1, 2]
        finally:
            sys.settrace(before)
        if lines < strike:
            break
    assert struck > 5
