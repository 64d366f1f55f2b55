"""How a parallel map ends before its time: interrupts, cancellations, stops, timeouts; and what is tried again."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest
from telling import struck_at

from tau import (
    NodeTimeoutError,
    ParallelConfig,
    ParallelError,
    Retry,
    TauError,
    UnserializableError,
    process_parallel,
)
from tau.observers import Recorder
from tau.workflows.tries import Pace

QUIET = ParallelConfig(observer=None)
COLLECT = ParallelConfig(fail_fast=False, observer=None)
LONG = 30.0  # for what comes at once, unless something is broken


@contextmanager
def on_interrupt(handle: Callable[[], object]) -> Iterator[None]:
    """SIGINT calls this, then raises KeyboardInterrupt."""

    def handler(number: int, frame: FrameType | None) -> None:
        handle()
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def interrupt() -> None:
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


def so_far(error: BaseException) -> ParallelError:
    assert isinstance(error.__cause__, ParallelError)
    return error.__cause__


def test_after_ctrl_c_no_item_begins_and_what_runs_is_waited_for() -> None:
    """W28, W43: it is done, and neither lost nor a failure."""
    raised, seen, recorder = threading.Event(), [], Recorder()

    def task(item: int) -> int:
        seen.append(item)
        if item == 1:
            interrupt()
        assert raised.wait(LONG)
        return item

    with on_interrupt(raised.set), pytest.raises(KeyboardInterrupt) as caught:
        process_parallel(range(10_000), task, ParallelConfig(max_workers=2, observer=recorder))
    error = so_far(caught.value)
    assert str(error) == "parallel execution cancelled: KeyboardInterrupt"
    assert error.result.results == sorted(seen)
    assert len(seen) < 1000
    assert {one.status for one in error.result.outcomes} == {"done", "not_run"}
    assert recorder.types().count("worker.start") == recorder.types().count("worker.complete") == len(seen)
    assert recorder.events[-1].data["items_processed"] == len(seen)
    assert recorder.events[-1].data["error"] is True
    threads = [thread for thread in threading.enumerate() if thread.name.startswith("tau-task-")]
    for thread in threads:
        thread.join(LONG)
    assert not [thread for thread in threads if thread.is_alive()]


def test_another_ctrl_c_does_not_wait_for_what_runs() -> None:
    raised, release = threading.Event(), threading.Event()

    def task(item: int) -> None:
        if item == 0:
            interrupt()
            assert raised.wait(LONG)
            interrupt()
        assert release.wait(LONG)

    try:
        with on_interrupt(raised.set), pytest.raises(KeyboardInterrupt):
            process_parallel(range(2), task, ParallelConfig(max_workers=2, observer=None))
        assert not release.is_set()
    finally:
        release.set()


@pytest.mark.parametrize(
    "options", [{"observer": None}, {"observer": Recorder(), "timeout": LONG, "retry": Retry(), "fail_fast": False}]
)
def test_an_interrupt_at_any_line_of_the_caller_comes_out_and_loses_nothing(options: Any) -> None:
    """At each line of the workflows that the caller's thread runs, in turn: no call hangs, and what the error says is
    done was done, by a task that was called once, and no thread stays behind."""
    cause: BaseException | None = None
    for line in itertools.count(1):
        seen: list[int] = []

        def task(item: int, seen: list[int] = seen) -> int:
            seen.append(item)
            return item

        try:
            with struck_at(line):
                process_parallel([0, 1, 2], task, ParallelConfig(max_workers=2, **options), lambda *_: None)
            break
        except KeyboardInterrupt as error:
            cause = error.__cause__
        assert sorted(set(seen)) == sorted(seen)
        if isinstance(cause, ParallelError):
            assert set(cause.result.results) <= set(seen)
            assert not cause.errors
    assert line > 100
    del cause
    ends = time.monotonic() + LONG
    while any(thread.name.startswith("tau-task-") for thread in threading.enumerate()):
        assert time.monotonic() < ends
        time.sleep(0.01)


async def test_a_cancellation_keeps_the_errors() -> None:
    """W41"""
    failed = asyncio.Event()

    async def task(item: int) -> int:
        if item == 0:
            failed.set()
            raise OSError("no route")
        await asyncio.Event().wait()
        return item

    running = asyncio.create_task(process_parallel(range(3), task, COLLECT))
    await failed.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await running
    error = so_far(caught.value)
    assert str(error) == "parallel execution cancelled: CancelledError; item 0: no route"
    assert [one.index for one in error.errors] == [0]
    assert isinstance(error.__cause__, OSError)


async def test_if_all_is_done_when_a_cancellation_comes_the_result_is_returned_and_the_next_await_raises() -> None:
    """W42"""
    begun = asyncio.Event()

    async def task(item: int) -> int:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return item  # done all the same
        raise AssertionError

    results = []

    async def caller() -> None:
        results.append(await process_parallel([7], task, QUIET))
        await asyncio.sleep(0)
        raise AssertionError("the cancellation was lost")

    running = asyncio.create_task(caller())
    await begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert results[0].results == [7]
    assert running.cancelling() == 1


async def test_another_cancellation_does_not_wait_for_what_runs() -> None:
    begun, cancelled, release = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def task(item: int) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            await release.wait()

    running = asyncio.create_task(process_parallel([1], task, QUIET))
    await begun.wait()
    running.cancel()
    await cancelled.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    release.set()
    await asyncio.sleep(0)


def test_a_loop_that_ends_takes_its_items_along() -> None:
    """Cancelling the tasks of the items themselves is no success of the whole."""

    async def task(item: int) -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        running = asyncio.create_task(process_parallel([1, 2], task, QUIET))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for one in asyncio.all_tasks():
            if one.get_name().startswith("tau-task"):
                one.cancel()
        await running

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(main())


# Timeouts and tries.


@pytest.mark.parametrize("retry", [None, Retry(attempts=3, delay=0.0)])
def test_an_item_that_takes_too_long_in_a_thread_fails_and_its_worker_is_replaced(retry: Retry | None) -> None:
    """It is not tried beside itself."""
    release, calls = threading.Event(), []

    def task(item: int) -> int:
        calls.append(item)
        if item == 0:
            assert release.wait(LONG)
        return item

    config = ParallelConfig(max_workers=1, fail_fast=False, timeout=0.5, retry=retry, observer=None)
    try:
        result = process_parallel(range(4), task, config)
    finally:
        release.set()
    assert result.results == [1, 2, 3]
    error = result.errors[0].error
    assert isinstance(error, NodeTimeoutError)
    assert (result.errors[0].index, error.seconds) == (0, 0.5)
    assert ("idempotent=True allows that" in str(error)) is (retry is not None)
    assert calls == [0, 1, 2, 3]


def test_an_item_that_may_run_twice_is_tried_again_after_its_time() -> None:
    release, calls = threading.Event(), itertools.count()

    def task(item: int) -> str:
        if next(calls) == 0:
            assert release.wait(LONG)
            return "of the first try, too late"
        return "of the second try"

    config = ParallelConfig(timeout=0.02, retry=Retry(attempts=99, delay=0.0), idempotent=True, observer=None)
    try:
        assert process_parallel([0], task, config).results == ["of the second try"]
    finally:
        release.set()


async def test_an_async_item_that_takes_too_long_is_cancelled_and_tried_again() -> None:
    ended = []

    async def task(item: int) -> str:
        try:
            if not ended:
                await asyncio.Event().wait()
        finally:
            ended.append(item)
        return "of the second try"

    config = ParallelConfig(timeout=0.02, retry=Retry(attempts=2, delay=0.0), observer=None)
    assert (await process_parallel([0], task, config)).results == ["of the second try"]
    assert ended == [0, 0]
    ended.clear()
    with pytest.raises(ParallelError, match=r"item 0 did not finish within its timeout of 0\.02 s") as caught:
        await process_parallel([0], task, ParallelConfig(timeout=0.02, observer=None))
    assert isinstance(caught.value.__cause__, NodeTimeoutError)


def sometimes(failures: int, error: Exception) -> tuple[Callable[[int], int], list[int]]:
    """A task that fails so often."""
    calls: list[int] = []

    def task(item: int) -> int:
        calls.append(item)
        if len(calls) <= failures:
            raise error
        return item

    return task, calls


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_failed_item_is_tried_again_as_often_as_retry_says(
    asynchronous: bool, caplog: pytest.LogCaptureFixture
) -> None:
    def run(failures: int, error: Exception, retry: Retry) -> tuple[Any, list[int]]:
        task, calls = sometimes(failures, error)

        async def asynchronously(item: int) -> int:
            return task(item)

        config = ParallelConfig(fail_fast=False, retry=retry, observer=None)
        try:
            if asynchronous:
                return asyncio.run(process_parallel([5], asynchronously, config, name="five")).results, calls
            return process_parallel([5], task, config, name="five").results, calls
        except ParallelError as found:
            return found.errors[0].error, calls

    at_once = Retry(attempts=3, delay=0.0)
    with caplog.at_level(logging.WARNING, "tau"):
        assert run(2, OSError("no route"), at_once) == ([5], [5, 5, 5])
    assert caplog.messages == [
        f"item 0 of parallel 'five' failed in try {n} and is tried again in 0 s: OSError: no route" for n in (1, 2)
    ]
    error = OSError("no route")
    assert run(3, error, at_once) == (error, [5, 5, 5])
    assert run(1, error, Retry(attempts=3, delay=0.0, on=ValueError)) == (error, [5])
    never = UnserializableError("never")
    assert run(1, never, at_once) == (never, [5])


def test_a_failure_does_not_wait_for_items_that_wait_for_their_next_try() -> None:
    """An hour would pass before the next try of item 0."""
    failed = threading.Event()

    def task(item: int) -> None:
        if item == 0:
            failed.set()
            raise ConnectionError("busy")
        assert failed.wait(LONG)
        raise OSError("ROOT")

    retry = Retry(attempts=2, delay=3600.0, max_delay=3600.0, jitter=0.0, on=ConnectionError)
    with pytest.raises(ParallelError) as caught:
        process_parallel([0, 1], task, ParallelConfig(max_workers=2, retry=retry, observer=None))
    assert [(one.index, str(one.error)) for one in caught.value.errors] == [(0, "busy"), (1, "ROOT")]
    assert str(caught.value.__cause__) == "ROOT"


def test_tries_begin_at_an_even_pace() -> None:
    pace = Pace(4.0)
    assert [pace.wait(100.0) for _ in range(3)] == [0.0, 0.25, 0.5]
    assert pace.wait(100.6) == pytest.approx(0.15)
    assert pace.wait(200.0) == 0.0  # what was not used is not saved up
    assert pace.wait(200.0) == 0.25
    assert [Pace(None).wait(0.0) for _ in range(3)] == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_items_that_wait_for_the_pace_do_not_hold_up_the_end(asynchronous: bool) -> None:
    """The second item would begin in an hour."""

    def task(item: int) -> None:
        raise OSError("ROOT")

    async def asynchronously(item: int) -> None:
        raise OSError("ROOT")

    recorder = Recorder()
    config = ParallelConfig(max_workers=2, rate=1 / 3600, observer=recorder)
    run: Any = asyncio.run if asynchronous else lambda result: result
    with pytest.raises(ParallelError) as caught:
        run(process_parallel([0, 1], asynchronously if asynchronous else task, config))  # type: ignore[arg-type]
    assert [one.status for one in caught.value.result.outcomes] in (["failed", "not_run"], ["not_run", "failed"])
    assert recorder.types().count("worker.start") == 1


def test_a_child_that_a_task_forks_off_ends_without_going_on() -> None:
    """It neither reports the item nor takes another."""
    parent, read_end = os.getpid(), []

    def task(item: int) -> int:
        reading, writing = os.pipe()
        child = os.fork()
        if child:
            os.close(writing)
            read_end.append((child, reading))
        else:
            os.close(reading)
            os.write(writing, b"forked")
        return item

    result = process_parallel(range(3), task, ParallelConfig(max_workers=1, observer=None))
    assert os.getpid() == parent
    assert result.results == [0, 1, 2]
    for child, reading in read_end:
        os.waitpid(child, 0)
        with os.fdopen(reading, "rb") as pipe:
            assert pipe.read() == b"forked"
    assert len(read_end) == 3


def test_a_child_that_the_caller_forks_off_is_refused() -> None:
    parent, children = os.getpid(), []

    def progress(done: int, total: int | None, result: int) -> None:
        child = os.fork()
        if child:
            children.append(child)

    try:
        process_parallel(range(3), lambda item: item, ParallelConfig(max_workers=1, observer=None), progress)
    except TauError as error:
        os._exit(7 if os.getpid() != parent and "forked off" in str(error) else 8)
    finally:
        if os.getpid() != parent:
            os._exit(9)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [7, 7, 7]
