"""How what consists of several calls is driven, with plain calls or in an event loop.

It is a generator that yields each `Call` and is sent its `Response`, or thrown what it raised; so there is one text of
it for both.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from typing import Any, TypeVar

R = TypeVar("R")
Work = Generator[Any, Any, R]
"""Yields what is to be done, is sent what came of it, returns the result of the whole."""


def drive(work: Work[R], do: Callable[[Any], Any]) -> R:
    """The result of the work, each part done here. Raises what the work raises."""
    step: Callable[[Any], Any] = work.send
    given: Any = None
    while True:
        try:
            request = step(given)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        try:
            step, given = work.send, do(request)
        except BaseException as error:
            step, given = work.throw, error


async def drive_async(work: Work[R], do: Callable[[Any], Awaitable[Any]]) -> R:
    """The result of the work, each part awaited here. Raises what the work raises."""
    step: Callable[[Any], Any] = work.send
    given: Any = None
    while True:
        try:
            request = step(given)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        try:
            step, given = work.send, await do(request)
        except BaseException as error:
            step, given = work.throw, error
