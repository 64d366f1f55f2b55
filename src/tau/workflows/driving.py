"""How a workflow that calls one function after the other is driven: with plain calls, or in an event loop.

The workflow is a generator that yields what is to be called with, and is sent what the call returned or thrown what it
raised; so there is one text of it for sync and async functions.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator
from typing import Any, TypeVar

from tau.errors import ConfigError, TauError
from tau.late_imports import load_module
from tau.node.calls import is_late
from tau.workflows.surroundings import Surroundings

R = TypeVar("R")
Work = Generator[tuple[Any, ...], Any, R]
"""Yields the arguments of each call, returns the result of the whole."""


def drive(around: Surroundings, work: Work[R], call: Callable[..., Any]) -> R:
    """The result of the workflow, each call made here. Raises what the workflow raises."""
    step: Callable[[Any], tuple[Any, ...]] = work.send
    given: Any = None
    while True:
        try:
            request = step(given)
            given = call(*request)
            step = work.send
        except BaseException as raised:
            around.check_process()
            if is_over(work):
                given = None  # no cycle through the traceback of an error
                if isinstance(raised, StopIteration):
                    return raised.value  # type: ignore[no-any-return]
                raise
            step, given = work.throw, raised
        else:
            around.check_process()


async def drive_async(around: Surroundings, work: Work[R], call: Callable[..., Any]) -> R:
    """The result of the workflow, each call awaited here where it gives something to await. Raises what the workflow
    raises; a cancellation that nothing asked this task for is a failure of what was called."""
    load_module("tau.node.async_calls")
    from tau.node.async_calls import cancellations

    before = cancellations()
    step: Callable[[Any], tuple[Any, ...]] = work.send
    given: Any = None
    while True:
        try:
            request = step(given)
            given = call(*request)
            if is_late(given):
                given = await given
            step = work.send
        except BaseException as raised:
            around.check_process()
            if is_over(work):
                given = None
                if isinstance(raised, StopIteration):
                    return raised.value  # type: ignore[no-any-return]
                raise
            if type(raised).__name__ == "CancelledError" and cancellations() <= before:
                raised = cancelled_inside(raised)
            step, given = work.throw, raised
        else:
            around.check_process()


def is_over(work: Work[Any]) -> bool:
    return inspect.getgeneratorstate(work) == inspect.GEN_CLOSED


def cancelled_inside(error: BaseException) -> TauError:
    """The failure of a call that ended with a cancellation, although its task was not cancelled."""
    failure = TauError(
        f"it ended with {type(error).__name__}, although nothing cancelled it: something that it awaited was "
        "cancelled; catch that, or let it come to its end"
    )
    failure.__cause__ = error
    return failure


def not_async(what: str, value: Any) -> Any:
    """The value, unless it has yet to be awaited (`ConfigError`)."""
    if is_late(value):
        if inspect.iscoroutine(value):
            value.close()
        raise ConfigError(
            f"{what} is not async, but returned {type(value).__name__}, which has yet to be awaited; "
            "give the async function itself, or make it an async def"
        )
    return value
