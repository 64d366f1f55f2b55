"""`process_chain`, called alone: what it returns, raises and tells."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import logging
import operator
import os
import signal
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from telling import join, struck_at, told

import tau
from tau import ChainConfig, ChainError, ChainResult, ConfigError, TauError, UnknownObserverError, process_chain
from tau.observers import Recorder

QUIET = ChainConfig(observer=None)


def failing_at(bad: str, error: BaseException) -> Callable[[str, str], str]:
    def step(item: str, state: str) -> str:
        if item == bad:
            raise error
        return join(item, state)

    return step


async def ajoin(item: str, state: str) -> str:
    await asyncio.sleep(0)
    return join(item, state)


def test_each_step_gets_the_state_of_the_one_before() -> None:
    """W1"""
    assert process_chain(["a", "b", "c"], "start", join, QUIET) == ChainResult("start->a->b->c", (), 3)


async def test_an_async_step_gives_a_coroutine_with_the_same_result() -> None:
    """W1"""
    running = process_chain(["a", "b", "c"], "start", ajoin, QUIET)
    assert asyncio.iscoroutine(running)
    assert await running == ChainResult("start->a->b->c", (), 3)


def test_without_items_the_result_is_the_initial_state_and_nothing_is_captured() -> None:
    """W2"""
    recorder = Recorder()
    config = ChainConfig(capture_intermediate=True, observer=recorder)
    assert process_chain([], "start", join, config) == ChainResult("start", (), 0)
    assert told(recorder) == [
        (
            "chain.start",
            {"chain": "join", "item_count": 0, "has_progress_callback": False, "capture_intermediate": True},
        ),
        ("chain.complete", {"chain": "join", "steps_completed": 0, "error": False}),
    ]


def test_one_item_is_one_step() -> None:
    """W3"""
    assert process_chain(["a"], "start", join, QUIET) == ChainResult("start->a", (), 1)


@pytest.mark.parametrize(
    ("items", "initial", "step", "final"),
    [
        (range(5), 0, operator.add, 10),
        ({"x": 1, "y": 2}, (), lambda item, state: (*state, item), ("x", "y")),
        ("abc", [], lambda item, state: [*state, item], ["a", "b", "c"]),
        ((n for n in (1.5, 2.5)), None, lambda item, state: item, 2.5),
        (iter([b"1", b"2"]), b"", lambda item, state: state + item, b"12"),
    ],
)
def test_items_and_states_are_of_any_type(items: Any, initial: Any, step: Any, final: Any) -> None:
    """W4"""
    assert process_chain(items, initial, step, QUIET).final == final


def test_a_thousand_items_give_the_right_sum() -> None:
    """W5"""
    assert process_chain(range(1000), 0, operator.add, QUIET) == ChainResult(499500, (), 1000)


def test_progress_may_be_left_out() -> None:
    """W6"""
    assert process_chain(["a"], "start", join, QUIET, None).final == "start->a"


def test_an_error_names_the_step_its_item_and_the_state_before_it() -> None:
    """W7, W15, W17: the result so far is in the error, and the cause is the step's own error."""
    cause = ValueError("no such station")
    seen: list[str] = []

    def step(item: str, state: str) -> str:
        seen.append(item)
        return failing_at("c", cause)(item, state)

    with pytest.raises(ChainError, match=r"^chain failed at step 2: no such station$") as caught:
        process_chain(["a", "b", "c", "d"], "start", step, ChainConfig(capture_intermediate=True, observer=None))
    error = caught.value
    assert (error.step_index, error.item, error.state) == (2, "c", "start->a->b")
    assert error.result == ChainResult("start->a->b", ("start", "start->a", "start->a->b"), 2)
    assert error.__cause__ is cause
    assert seen == ["a", "b", "c"]


def test_an_error_without_a_text_is_named_by_its_class() -> None:
    """W15"""
    with pytest.raises(ChainError, match=r"^chain failed at step 0: KeyError$"):
        process_chain(["a"], "start", failing_at("a", KeyError()), QUIET)


async def test_a_cancellation_passes_and_its_cause_says_how_far_the_chain_came() -> None:
    """W8"""
    reached = asyncio.Event()
    seen: list[str] = []

    async def step(item: str, state: str) -> str:
        seen.append(item)
        if item == "b":
            reached.set()
            await asyncio.Event().wait()
        return join(item, state)

    task = asyncio.create_task(process_chain(["a", "b", "c"], "start", step, QUIET))
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    so_far = caught.value.__cause__
    assert isinstance(so_far, ChainError)
    assert str(so_far) == "chain failed at step 1: processing cancelled: CancelledError"
    assert (so_far.item, so_far.result) == ("b", ChainResult("start->a", (), 1))
    assert seen == ["a", "b"]


async def test_a_timeout_around_a_chain_works() -> None:
    """W8"""

    async def step(item: str, state: str) -> str:
        await asyncio.Event().wait()
        return state

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await process_chain(["a"], "start", step, QUIET)


async def test_a_cancellation_that_nothing_asked_for_is_a_failure_of_the_step() -> None:
    async def step(item: str, state: str) -> str:
        other = asyncio.create_task(asyncio.Event().wait())
        other.cancel()
        await other
        return state

    with pytest.raises(ChainError, match="nothing cancelled it") as caught:
        await process_chain(["a"], "start", step, QUIET)
    assert caught.value.__cause__ is not None
    assert isinstance(caught.value.__cause__.__cause__, asyncio.CancelledError)


def test_ctrl_c_passes_and_its_cause_says_how_far_the_chain_came() -> None:
    """W8: the handler raises in the middle of a step."""

    def step(item: str, state: str) -> str:
        if item == "b":
            signal.raise_signal(signal.SIGINT)
        return join(item, state)

    recorder = Recorder()
    with pytest.raises(KeyboardInterrupt) as caught:
        process_chain(["a", "b", "c"], "start", step, ChainConfig(observer=recorder))
    so_far = caught.value.__cause__
    assert isinstance(so_far, ChainError)
    assert so_far.result == ChainResult("start->a", (), 1)
    assert recorder.types()[-2:] == ["step.complete", "chain.complete"]
    assert recorder.events[-1].data["error_type"] == "cancellation"


def test_progress_is_called_after_each_success() -> None:
    """W9"""
    calls: list[Any] = []
    process_chain(["a", "b", "c"], "start", join, QUIET, lambda *what: calls.append(what))
    assert calls == [(1, 3, "start->a"), (2, 3, "start->a->b"), (3, 3, "start->a->b->c")]


def test_progress_is_not_called_for_a_failure() -> None:
    """W9"""
    calls: list[Any] = []
    with pytest.raises(ChainError):
        process_chain(["a", "b"], "x", failing_at("b", OSError()), QUIET, lambda *what: calls.append(what))
    assert calls == [(1, 2, "x->a")]


def test_what_progress_raises_is_logged_and_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def progress(done: int, total: int | None, state: str) -> None:
        raise RuntimeError("the bar is full")

    with caplog.at_level(logging.ERROR, "tau"):
        assert process_chain(["a", "b"], "x", join, QUIET, progress).final == "x->a->b"
    assert "RuntimeError: the bar is full. The work goes on." in caplog.text


def test_the_states_between_are_kept_on_request() -> None:
    """W10"""
    config = ChainConfig(capture_intermediate=True, observer=None)
    assert process_chain([1, 2, 3], 0, operator.add, config).intermediate == (0, 1, 3, 6)


def test_the_events_of_two_steps() -> None:
    """W11, W13"""
    recorder = Recorder()
    process_chain(["a", "b"], "start", join, ChainConfig(observer=recorder), lambda *_: None, name="letters")
    assert {event.source for event in recorder.events} == {"workflows.ProcessChain"}
    first, second = {"step_index": 0, "total_steps": 2}, {"step_index": 1, "total_steps": 2}
    assert told(recorder) == [
        (type_, {**data, "chain": "letters"})
        for type_, data in [
            ("chain.start", {"item_count": 2, "has_progress_callback": True, "capture_intermediate": False}),
            ("step.start", first),
            ("step.complete", {**first, "error": False}),
            ("step.start", second),
            ("step.complete", {**second, "error": False}),
            ("chain.complete", {"steps_completed": 2, "error": False}),
        ]
    ]


def test_the_events_of_a_failure() -> None:
    """W12, W13"""
    recorder = Recorder()
    with pytest.raises(ChainError):
        process_chain(["a", "b"], "x", failing_at("b", OSError()), ChainConfig(observer=recorder), name="n")
    expected = ["chain.start", "step.start", "step.complete", "step.start", "step.complete", "chain.complete"]
    assert recorder.types() == expected
    assert told(recorder)[-2:] == [
        ("step.complete", {"step_index": 1, "total_steps": 2, "error": True, "chain": "n"}),
        ("chain.complete", {"steps_completed": 1, "error": True, "error_type": "processor", "chain": "n"}),
    ]


@pytest.mark.parametrize(
    "call",
    [
        lambda config: process_chain(["a"], "x", join, config),
        lambda config: process_chain(["a"], "x", ajoin, config),
    ],
)
def test_an_unknown_observer_is_refused_before_anything_begins(call: Any) -> None:
    """W16"""
    with pytest.raises(UnknownObserverError, match=r"^failed to resolve observer: unknown observer: nobody"):
        call(ChainConfig(observer="nobody"))


@pytest.mark.parametrize("error", [RecursionError("deep"), AssertionError(), StopIteration(), MemoryError()])
def test_any_exception_of_a_step_is_a_chain_error(error: Exception) -> None:
    """W18"""
    with pytest.raises(ChainError) as caught:
        process_chain(["a"], "x", failing_at("a", error), QUIET)
    assert caught.value.__cause__ is error


async def test_a_stop_iteration_of_an_async_step_is_a_chain_error() -> None:
    """W18: Python makes a RuntimeError of it on the way out of a coroutine."""

    async def step(item: str, state: str) -> str:
        raise StopIteration

    with pytest.raises(ChainError):
        await process_chain(["a"], "x", step, QUIET)


def test_a_system_exit_passes_and_the_chain_is_closed() -> None:
    """W18"""
    recorder = Recorder()
    with pytest.raises(SystemExit):
        process_chain(["a"], "x", failing_at("a", SystemExit(3)), ChainConfig(observer=recorder))
    assert recorder.types() == ["chain.start", "step.start", "step.complete", "chain.complete"]


def test_items_are_drawn_one_by_one_and_their_number_need_not_be_known() -> None:
    recorder, drawn, calls = Recorder(), [], []

    def endless() -> Iterator[int]:
        for number in itertools.count():
            drawn.append(number)
            yield number

    def step(item: int, state: int) -> int:
        assert drawn[-1] == item
        if item == 3:
            raise OSError("enough")
        return item

    with pytest.raises(ChainError):
        process_chain(endless(), 0, step, ChainConfig(observer=recorder), lambda *what: calls.append(what))
    assert drawn == [0, 1, 2, 3]
    assert calls == [(1, None, 0), (2, None, 1), (3, None, 2)]
    assert (recorder.events[0].data["item_count"], recorder.events[1].data["total_steps"]) == (None, None)


def test_items_that_cannot_be_drawn_to_their_end_are_a_chain_error() -> None:
    def items() -> Iterator[str]:
        yield "a"
        raise OSError("the file ends here")

    with pytest.raises(ChainError, match="chain failed at step 1: the file ends here") as caught:
        process_chain(items(), "x", join, QUIET)
    assert (caught.value.item, caught.value.result) == (None, ChainResult("x->a", (), 1))


def test_a_plain_function_that_returns_a_coroutine_is_told_to_be_async() -> None:
    def step(item: str, state: str) -> Any:
        return ajoin(item, state)

    with pytest.raises(ChainError, match="is not async, but returned coroutine") as caught:
        process_chain(["a"], "x", step, QUIET)
    assert isinstance(caught.value.__cause__, ConfigError)


async def _items() -> Any:
    yield 1


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((5, 0, operator.add), "items: expected an iterable, found int"),
        ((_items(), 0, operator.add), "collect an async iterable first"),
        (([], 0, "add"), "step: expected a callable, found str"),
        (([], 0, operator.add, {"observer": None}), "config: expected a ChainConfig, found dict"),
        (([], 0, operator.add, QUIET, 5), "progress: expected a callable that is not async"),
        (([], 0, operator.add, QUIET, ajoin), "progress: expected a callable that is not async"),
    ],
)
def test_arguments_that_cannot_be_used_are_named(arguments: Any, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        process_chain(*arguments)


def test_a_chain_is_called_after_its_function_or_as_it_is_told() -> None:
    class Adder:
        def __call__(self, item: int, state: int) -> int:
            return item + state

    names = []
    for step, name in [(partial(operator.add), None), (Adder(), None), (Adder(), "sum")]:
        recorder = Recorder()
        process_chain([1], 0, step, ChainConfig(observer=recorder), name=name)
        names.append(recorder.events[0].data["chain"])
    assert names == ["add", "Adder", "sum"]
    with pytest.raises(ConfigError, match="name cannot be empty"):
        process_chain([1], 0, operator.add, QUIET, name="")


def test_alone_a_chain_is_logged_by_default(caplog: pytest.LogCaptureFixture) -> None:
    """C5"""
    with caplog.at_level(logging.INFO, "tau.events"):
        process_chain(["a"], "x", join)
    assert [record.event.type for record in caplog.records] == [
        "chain.start",
        "step.start",
        "step.complete",
        "chain.complete",
    ]


def test_a_child_that_a_step_forks_off_does_not_go_on_with_the_chain() -> None:
    parent, children, recorder = os.getpid(), [], Recorder()

    def step(item: str, state: str) -> str:
        child = os.fork()
        if child:
            children.append(child)
        return join(item, state)

    try:
        result = process_chain(["a", "b"], "x", step, ChainConfig(observer=recorder))
    except TauError as error:
        if os.getpid() != parent:
            os._exit(7 if "forked off" in str(error) and recorder.types()[-1] == "step.start" else 8)
        raise
    finally:
        if os.getpid() != parent:
            os._exit(9)
    assert result.final == "x->a->b"
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [7, 7]


class Item:
    """Something that can be counted while it lives."""


def test_an_interrupt_at_any_line_comes_out_and_loses_nothing() -> None:
    """At each line of the workflows that a chain runs, in turn: what the error says is done was done once."""
    for line in itertools.count(1):
        seen: list[int] = []

        def step(item: int, state: int, seen: list[int] = seen) -> int:
            seen.append(item)
            return state + item

        try:
            with struck_at(line):
                process_chain([1, 2, 4], 0, step, QUIET, lambda *_: None)
            break
        except KeyboardInterrupt as error:
            cause = error.__cause__
        assert sorted(set(seen)) == seen
        if isinstance(cause, ChainError):
            assert cause.result.final == sum(seen[: cause.result.steps])
    assert line > 100


def test_nothing_is_left_of_a_chain_that_failed() -> None:
    """Its states do not wait for the garbage collector."""
    alive: weakref.WeakSet[Item] = weakref.WeakSet()

    def step(item: int, state: Item) -> Item:
        if item == 3:
            raise OSError("no")
        made = Item()
        alive.add(made)
        return made

    def work() -> None:
        with contextlib.suppress(ChainError):
            process_chain(range(5), Item(), step, QUIET)

    gc.collect()
    gc.disable()
    try:
        work()
        assert not alive
    finally:
        gc.enable()


def test_the_names_are_loaded_at_first_use() -> None:
    assert tau.process_chain is process_chain
    assert {"process_chain", "ChainConfig", "ChainResult"} <= set(dir(tau))
