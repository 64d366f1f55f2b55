"""`process_parallel`, called alone: results, errors, outcomes, events; each promise for threads and for tasks."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import logging
import os
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from telling import told

from tau import ConfigError, ParallelConfig, ParallelError, ParallelResult, TaskError, UnknownObserverError
from tau import process_parallel as process
from tau.observers import Recorder
from tau.workflows.outcomes import parallel_error, task_error

COLLECT = ParallelConfig(fail_fast=False, observer=None)
QUIET = ParallelConfig(observer=None)
LONG = 30.0  # for what comes at once, unless something is broken


def in_threads(items: Any, task: Callable[[Any], Any], *rest: Any, **options: Any) -> ParallelResult[Any]:
    return process(items, task, *rest, **options)


def in_tasks(items: Any, task: Callable[[Any], Any], *rest: Any, **options: Any) -> ParallelResult[Any]:
    async def call(item: Any) -> Any:
        await asyncio.sleep(0)
        return task(item)

    async def main() -> ParallelResult[Any]:
        return await process(items, call, *rest, name=options.get("name", getattr(task, "__name__", None)))

    return asyncio.run(main())


BOTH = pytest.mark.parametrize("run", [in_threads, in_tasks])


def double(item: int) -> int:
    return 2 * item


def fails_if_odd(item: int) -> int:
    if item % 2:
        raise ValueError(f"{item} is odd")
    return 2 * item


@BOTH
def test_without_items_there_are_no_results_and_no_error(run: Any) -> None:
    """W20"""
    recorder = Recorder()
    assert run([], double, ParallelConfig(observer=recorder)) == ParallelResult([], (), b"")
    start = {"item_count": 0, "worker_count": 0, "fail_fast": True, "has_progress_callback": False}
    assert told(recorder) == [
        ("parallel.start", {"parallel": "double", **start}),
        ("parallel.complete", {"parallel": "double", "items_processed": 0, "items_failed": 0, "error": False}),
    ]


@BOTH
@pytest.mark.parametrize("count", [1, 5, 1000])
def test_results_come_in_the_order_of_the_items(run: Any, count: int) -> None:
    """W21, W23"""
    assert run(range(count), double, QUIET).results == [2 * n for n in range(count)]


def test_results_are_in_order_even_if_the_items_end_in_reverse() -> None:
    """W22: each item waits for the next one."""
    ended = [threading.Event() for _ in range(101)]
    ended[100].set()

    def task(item: int) -> int:
        assert ended[item + 1].wait(LONG)
        ended[item].set()
        return item

    assert process(range(100), task, ParallelConfig(max_workers=100, observer=None)).results == [*range(100)]


async def test_results_of_tasks_are_in_order_even_if_they_end_in_reverse() -> None:
    """W22"""
    ended = [asyncio.Event() for _ in range(101)]
    ended[100].set()

    async def task(item: int) -> int:
        await ended[item + 1].wait()
        ended[item].set()
        return item

    result = await process(range(100), task, ParallelConfig(max_workers=100, observer=None))
    assert result.results == [*range(100)]


@BOTH
def test_the_first_failure_ends_the_whole(run: Any) -> None:
    """W24, W33, W36"""

    def task(item: int) -> int:
        if item == 50:
            raise ConnectionError("connection refused")
        return item

    with pytest.raises(ParallelError) as caught:
        run(range(100), task, ParallelConfig(max_workers=4, observer=None))
    error = caught.value
    assert str(error) == "parallel execution failed: item 50: connection refused"
    assert [(one.index, one.item) for one in error.errors] == [(50, 50)]
    assert len(error.result.results) >= 46
    assert len(error.result.results) < 100
    assert error.result.errors == error.errors


@BOTH
def test_failures_are_collected_and_none_is_no_error(run: Any) -> None:
    """W25"""
    assert run(range(5), double, COLLECT) == ParallelResult([0, 2, 4, 6, 8], (), b"\1" * 5)


@BOTH
def test_collected_failures_stand_beside_the_dense_results(run: Any) -> None:
    """W26, W45: the outcomes say which is which."""
    result = run([1, 2, 3, 4, 5, 6], fails_if_odd, COLLECT)
    assert result.results == [4, 8, 12]
    assert [(one.index, one.item, str(one.error)) for one in result.errors] == [
        (0, 1, "1 is odd"), (2, 3, "3 is odd"), (4, 5, "5 is odd"),
    ]  # fmt: skip
    assert all(one.__cause__ is one.error for one in result.errors)
    assert [(one.index, one.status, one.value) for one in result.outcomes] == [
        (0, "failed", None), (1, "done", 4), (2, "failed", None), (3, "done", 8), (4, "failed", None), (5, "done", 12),
    ]  # fmt: skip
    assert [one.error for one in result.outcomes if one.error] == [*result.errors]


@BOTH
def test_if_all_failed_collecting_is_an_error_too(run: Any) -> None:
    """W27"""
    with pytest.raises(ParallelError) as caught:
        run([1, 3, 5], fails_if_odd, COLLECT)
    assert (len(caught.value.errors), caught.value.result.results) == (3, [])


async def test_a_timeout_around_tasks_cancels_them_and_keeps_what_is_done() -> None:
    """W28, W29"""
    seen = []

    async def task(item: int) -> int:
        seen.append(item)
        if item >= 2:
            await asyncio.Event().wait()
        return item

    with pytest.raises(TimeoutError) as caught:
        async with asyncio.timeout(0.02):
            await process(range(100), task, ParallelConfig(max_workers=3, observer=None))
    cancelled = caught.value.__cause__
    assert isinstance(cancelled, asyncio.CancelledError)
    so_far = cancelled.__cause__
    assert isinstance(so_far, ParallelError)
    assert str(so_far) == "parallel execution cancelled: CancelledError"
    assert so_far.result.results == [0, 1]
    statuses = [one.status for one in so_far.result.outcomes]
    assert statuses == ["done", "done", *["cancelled"] * 3, *["not_run"] * 95]
    assert seen == [0, 1, 2, 3, 4]


def test_never_more_threads_are_at_work_than_wanted() -> None:
    """W30"""
    at_work, most, lock = set(), [], threading.Lock()
    meet = threading.Barrier(2, timeout=LONG)

    def task(item: int) -> None:
        with lock:
            at_work.add(item)
            most.append(len(at_work))
        meet.wait()  # there are two at a time
        with lock:
            at_work.discard(item)

    process(range(20), task, ParallelConfig(max_workers=2, observer=None))
    assert max(most) == 2


async def test_never_more_tasks_are_at_work_than_wanted() -> None:
    """W30"""
    at_work, most = set(), []

    async def task(item: int) -> None:
        at_work.add(item)
        most.append(len(at_work))
        await asyncio.sleep(0)
        at_work.discard(item)

    await process(range(20), task, ParallelConfig(max_workers=2, observer=None))
    assert max(most) == 2


@BOTH
@pytest.mark.parametrize(
    ("config", "items", "workers"),
    [
        ({}, 1000, min(2 * (os.cpu_count() or 1), 16)),
        ({"worker_cap": 1}, 1000, 1),
        ({}, 1, 1),
        ({"max_workers": 40}, 100, 40),
        ({"max_workers": 40}, 3, 3),
    ],
)
def test_the_number_of_workers(run: Any, config: Any, items: int, workers: int) -> None:
    """W31, W46: never more than items."""
    recorder = Recorder()
    run(range(items), double, ParallelConfig(observer=recorder, **config))
    assert recorder.events[0].data["worker_count"] == workers
    assert {e.data["worker_id"] for e in recorder.events if e.type == "worker.start"} <= set(range(workers))


@BOTH
def test_progress_is_called_for_each_success_in_turn(run: Any) -> None:
    """W32, W44: never for failures, never two at once, and the count grows by one."""
    calls, inside, thread = [], threading.Lock(), threading.get_ident()

    def progress(done: int, total: int | None, result: int) -> None:
        assert inside.acquire(blocking=False)
        calls.append((done, total, result))
        assert threading.get_ident() == thread
        inside.release()

    run(range(200), fails_if_odd, COLLECT, progress)
    assert [(done, total) for done, total, _ in calls] == [(n, 200) for n in range(1, 101)]
    assert sorted(result for _, _, result in calls) == [2 * n for n in range(0, 200, 2)]


def test_the_text_of_a_failure() -> None:
    """W34, W36, W47: sorted by count; the first comes first among those as frequent."""

    def text(*errors: Exception) -> str:
        return str(parallel_error([task_error(n, None, error) for n, error in enumerate(errors)], ParallelResult()))

    refused, late = ConnectionError("connection refused"), TimeoutError("timeout")
    assert text() == "parallel execution failed"
    assert text(refused) == "parallel execution failed: item 0: connection refused"
    assert text(late, refused, refused, refused) == (
        "parallel execution failed: 4 items failed with 2 error types: "
        "'connection refused' (3 items), 'timeout' (1 item)"
    )
    assert text(late, refused).endswith("'timeout' (1 item), 'connection refused' (1 item)")
    assert text(refused, late).endswith("'connection refused' (1 item), 'timeout' (1 item)")
    assert text(*(OSError(str(n)) for n in range(1000))).endswith("'6' (1 item), '7' (1 item), ...")


@BOTH
def test_all_errors_are_in_the_order_of_the_items_and_the_first_to_come_is_the_cause(run: Any) -> None:
    """W35, W39"""
    with pytest.raises(ParallelError) as caught:
        run([1, 3, 5, 7], fails_if_odd, COLLECT)
    assert [one.index for one in caught.value.errors] == [0, 1, 2, 3]
    assert caught.value.__cause__ in [one.error for one in caught.value.errors]


async def test_what_a_failure_cancels_is_no_failure_and_the_cause_is_what_came_first() -> None:
    """W39, W40"""
    root = OSError("ROOT")
    waiting = asyncio.Event()

    async def task(item: int) -> int:
        if item == 0:
            return item
        if item == 3:
            await waiting.wait()
            raise root
        if item == 2:
            waiting.set()
        await asyncio.Event().wait()
        return item

    recorder = Recorder()
    with pytest.raises(ParallelError) as caught:
        await process(range(6), task, ParallelConfig(max_workers=3, observer=recorder))
    assert str(caught.value) == "parallel execution failed: item 3: ROOT"
    assert caught.value.__cause__ is root
    statuses = [one.status for one in caught.value.result.outcomes]
    assert statuses == ["done", "cancelled", "cancelled", "failed", "not_run", "not_run"]
    assert recorder.types().count("worker.start") == recorder.types().count("worker.complete") == 4


def test_what_runs_in_a_thread_when_another_fails_comes_to_its_end() -> None:
    """W39, W40: nothing finished is lost or reported as failed."""
    begun, failed = threading.Event(), threading.Event()

    def task(item: int) -> int:
        if item == 0:
            begun.set()
            assert failed.wait(LONG)
        elif item == 1:
            assert begun.wait(LONG)
            failed.set()
            raise OSError("ROOT")
        return item

    with pytest.raises(ParallelError) as caught:
        process([0, 1, 2, 3], task, ParallelConfig(max_workers=2, observer=None))
    outcomes = caught.value.result.outcomes
    assert [one.status for one in outcomes[:2]] == ["done", "failed"]
    assert outcomes[3].status == "not_run"


@pytest.mark.parametrize("asynchronous", [False, True])
def test_an_unknown_observer_is_refused_before_anything_begins(asynchronous: bool) -> None:
    """W37"""

    async def task(item: int) -> int:
        return item

    with pytest.raises(UnknownObserverError, match=r"^failed to resolve observer: unknown observer: nobody"):
        process([1], task if asynchronous else double, ParallelConfig(observer="nobody"))  # type: ignore[arg-type]


@BOTH
def test_the_events_of_two_items(run: Any) -> None:
    """W38"""
    recorder = Recorder()
    config = ParallelConfig(max_workers=1, fail_fast=False, observer=recorder)
    run([2, 3], fails_if_odd, config, lambda *_: None, name="pairs")
    assert {event.source for event in recorder.events} == {"workflows.ProcessParallel"}
    first, second = ({"worker_id": 0, "item_index": n, "total_items": 2} for n in range(2))
    start = {"item_count": 2, "worker_count": 1, "fail_fast": False, "has_progress_callback": True}
    assert told(recorder) == [
        (type_, {**data, "parallel": "pairs"})
        for type_, data in [
            ("parallel.start", start),
            ("worker.start", first),
            ("worker.complete", {**first, "error": False}),
            ("worker.start", second),
            ("worker.complete", {**second, "error": True}),
            ("parallel.complete", {"items_processed": 1, "items_failed": 1, "error": False}),
        ]
    ]
    assert [e.timestamp for e in recorder.events] == sorted(e.timestamp for e in recorder.events)


@BOTH
def test_the_observer_is_called_by_one_thread_and_every_start_has_an_end(run: Any) -> None:
    """O13"""
    threads, recorder = set(), Recorder()

    def observer(event: Any) -> None:
        threads.add(threading.get_ident())
        recorder(event)

    run(range(200), double, ParallelConfig(max_workers=8, observer=observer))
    assert threads == {threading.get_ident()}
    at_work = set()
    for event in recorder.events[1:-1]:
        if event.type == "worker.start":
            assert event.data["worker_id"] not in at_work
            at_work.add(event.data["worker_id"])
        else:
            at_work.remove(event.data["worker_id"])
    assert not at_work
    assert recorder.types().count("worker.complete") == 200


@BOTH
@pytest.mark.parametrize("error", [RecursionError("deep"), StopIteration(), MemoryError(), AssertionError()])
def test_any_exception_of_a_task_is_a_task_error(run: Any, error: BaseException) -> None:
    """W48: a StopIteration cannot pass a coroutine, so Python makes a RuntimeError of it."""

    def task(item: int) -> int:
        raise error

    with pytest.raises(ParallelError) as caught:
        run([1], task, QUIET)
    found = caught.value.errors[0].error
    assert found is error or (isinstance(found, RuntimeError) and found.__cause__ is error)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), BaseException("odd")])
def test_whatever_a_task_raises_in_a_thread_is_a_task_error(error: BaseException) -> None:
    """W48, W18: it is raised neither there nor in the caller's thread, which did not ask for it."""

    def task(item: int) -> int:
        if item == 1:
            raise error
        return item

    result = process([0, 1, 2], task, COLLECT)
    assert result.results == [0, 2]
    assert result.errors[0].error is error


async def test_a_cancellation_that_nothing_asked_for_is_a_failure_of_its_item() -> None:
    async def task(item: int) -> int:
        if item == 1:
            other = asyncio.create_task(asyncio.Event().wait())
            other.cancel()
            await other
        return item

    result = await process([0, 1, 2], task, COLLECT)
    assert result.results == [0, 2]
    assert "nothing cancelled it" in str(result.errors[0])


def test_a_plain_function_that_returns_a_coroutine_is_told_to_be_async() -> None:
    async def fetch(item: int) -> int:
        return item

    def task(item: int) -> Any:
        return fetch(item)

    with pytest.raises(ParallelError, match="is not async, but returned coroutine") as caught:
        process([1], task, QUIET)
    assert isinstance(caught.value.errors[0].error, ConfigError)


variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


@BOTH
def test_each_item_has_a_copy_of_the_caller_s_context(run: Any) -> None:
    def task(item: int) -> str:
        found = variable.get()
        variable.set(f"of item {item}")
        return found

    token = variable.set("of the caller")
    try:
        assert run(range(50), task, QUIET).results == ["of the caller"] * 50
        assert variable.get() == "of the caller"
    finally:
        variable.reset(token)


class Item:
    """Something that can be counted while it lives."""


def lazily(run: Any, count: int, workers: int) -> None:
    """Draw so many items, and see how many of them there ever were at once."""
    alive: weakref.WeakSet[Item] = weakref.WeakSet()
    most, drawn = 0, 0

    def items() -> Iterator[Item]:
        nonlocal most, drawn
        for _ in range(count):
            item = Item()
            alive.add(item)
            most, drawn = max(most, len(alive)), drawn + 1
            yield item

    recorder = Recorder()
    config = ParallelConfig(max_workers=workers, observer=lambda e: recorder(e) if "parallel" in e.type else None)
    result = run(items(), lambda item: None, config)
    assert drawn == count == len(result.results)
    assert most <= 4 * workers + 4  # twice as many are given, each thread may still hold its last one
    assert recorder.events[0].data["item_count"] is None


@BOTH
def test_items_are_drawn_as_there_is_room(run: Any) -> None:
    lazily(run, 20_000, 4)


@pytest.mark.deep
@BOTH
def test_a_million_items_are_drawn_as_there_is_room(run: Any) -> None:
    lazily(run, 1_000_000, 4)


@BOTH
def test_no_more_items_are_drawn_than_twice_the_workers_ahead(run: Any) -> None:
    drawn, done = [], []

    def items() -> Iterator[int]:
        for number in range(100):
            assert number <= len(done) + 2 * 3
            drawn.append(number)
            yield number

    run(items(), done.append, ParallelConfig(max_workers=3, observer=None))
    assert drawn == [*range(100)]


@BOTH
@pytest.mark.parametrize("config", [QUIET, COLLECT])
def test_items_that_cannot_be_drawn_to_their_end_are_an_error(run: Any, config: ParallelConfig) -> None:
    def items() -> Iterator[int]:
        yield 7
        raise OSError("the file ends here")

    with pytest.raises(ParallelError, match="item 1 could not be drawn: the file ends here") as caught:
        run(items(), double, config)
    assert isinstance(caught.value.__cause__, OSError)


@BOTH
def test_what_progress_raises_is_logged_and_changes_nothing(run: Any, caplog: pytest.LogCaptureFixture) -> None:
    def progress(done: int, total: int | None, result: int) -> None:
        raise RuntimeError("the bar is full")

    with caplog.at_level(logging.ERROR, "tau"):
        assert run([1, 2], double, QUIET, progress).results == [2, 4]
    assert "RuntimeError: the bar is full. The work goes on." in caplog.text


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((5, double), "items: expected an iterable, found int"),
        (([], "double"), "task: expected a callable, found str"),
        (([], double, {"observer": None}), "config: expected a ParallelConfig, found dict"),
        (([], double, QUIET, 5), "progress: expected a callable that is not async"),
    ],
)
def test_arguments_that_cannot_be_used_are_named(arguments: Any, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        process(*arguments)


def test_nothing_is_left_of_a_map_once_its_result_is_dropped() -> None:
    """Neither its items nor the tracebacks of its errors wait for the garbage collector."""
    alive: weakref.WeakSet[Item] = weakref.WeakSet()

    def task(item: Item) -> None:
        raise OSError("no")

    def work() -> None:
        items = [Item() for _ in range(20)]
        for one in items:
            alive.add(one)
        with contextlib.suppress(ParallelError):
            process(items, task, COLLECT)

    gc.collect()
    gc.disable()
    try:
        work()
        for thread in threading.enumerate():
            if thread.name.startswith("tau-task-"):
                thread.join(LONG)
        assert not alive
    finally:
        gc.enable()


def test_the_fields_of_an_error() -> None:
    """W33"""
    cause = OSError("no route")
    error = task_error(5, "station", cause)
    assert isinstance(error, TaskError)
    assert (error.index, error.item, error.error, error.__cause__) == (5, "station", cause, cause)
    assert str(error) == "item 5: no route"
