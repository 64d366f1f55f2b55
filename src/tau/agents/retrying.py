"""When a request is made again: after what is worth it, as often as configured, and as late as the server asks."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from tau.agents.config import ClientConfig
from tau.agents.driving import Work
from tau.agents.errors import (
    AgentConnectionError,
    AgentError,
    AgentRateLimitError,
    AgentServerError,
    AgentStreamError,
    AgentTimeoutError,
)
from tau.agents.records import Call, Response
from tau.events import CALL_RETRY, text_of
from tau.late_imports import load_module
from tau.waiting import LOOK
from tau.workflows.config import INHERIT
from tau.workflows.surroundings import Surroundings

_LEAST: Final = 0.1
"""Seconds: a server that wants to be asked again at once is not."""


@dataclass(frozen=True, slots=True)
class Wait:
    """What is yielded between two requests: for how many seconds, and why."""

    seconds: float
    reason: AgentError


class Tries:
    """How often one call was sent and how long it has waited because a server said so."""

    def __init__(self, config: ClientConfig) -> None:
        self._config = config
        self._failed = 0
        self._told = 0.0
        self.requests = 0

    def wait_after(self, error: AgentError) -> Wait:
        """How long to wait before the next request. Raises the error where there is none."""
        config, told = self._config, None
        if isinstance(error, AgentRateLimitError):
            told = error.retry_after
            if error.quota:
                raise error
        elif not _is_worth_it(error):
            raise error
        if told is not None:
            told = max(told, _LEAST)
            self._told += told
            if self._told > config.max_wait:
                raise error
            return Wait(told, error)
        self._failed += 1
        if self._failed >= config.retry.attempts or not config.retry.matches(error):
            raise error
        return Wait(config.retry.wait(self._failed, random.random()), error)


def tried(call: Call, config: ClientConfig) -> Work[Response]:
    """Yields the call each time it is to be sent, and a `Wait` in between; returns the response with the number of
    requests. Raises the last error."""
    tries = Tries(config)
    while True:
        tries.requests += 1
        try:
            response: Response = yield call
        except AgentError as error:
            wait = tries.wait_after(error)
        else:
            return replace(response, requests=tries.requests)
        yield wait


def _is_worth_it(error: AgentError) -> bool:
    """Whether the same request may have an answer later."""
    if isinstance(error, AgentServerError):
        return error.status >= 500 and error.status != 501
    if isinstance(error, AgentStreamError):
        return not error.text  # nothing of it was handed on
    return isinstance(error, AgentConnectionError | AgentTimeoutError)


def pause(call: Call, wait: Wait) -> None:
    """Wait. Raises `RunInterruptedError` as soon as the run around it is to stop, or its node has ended."""
    for seconds in _slices(call, wait):
        time.sleep(seconds)


async def apause(call: Call, wait: Wait) -> None:
    """`pause` for an event loop."""
    load_module("asyncio")
    import asyncio

    for seconds in _slices(call, wait):
        await asyncio.sleep(seconds)


def _slices(call: Call, wait: Wait) -> Iterator[float]:
    place = around(call)
    about = {"error": text_of(wait.reason), "error_type": type(wait.reason).__name__, "wait_seconds": wait.seconds}
    place.tell(CALL_RETRY, {"agent": call.agent, **about})
    ends = time.monotonic() + wait.seconds
    while True:
        place.check_stop()
        left = ends - time.monotonic()
        if left <= 0:
            return
        yield min(LOOK, left)


def around(call: Call) -> Surroundings:
    """Where a call is made: the run around it, if there is one."""
    found = Surroundings("agents", "agent", call.agent, None)
    return found if found.scope is None else Surroundings("agents", "agent", call.agent, INHERIT)


def first_piece(call: Call, config: ClientConfig, start: Any, begun: list[Any]) -> tuple[Any, Iterator[Any], int]:
    """The first piece of a stream, the rest, and how many requests were made: until there is a piece, it may be made
    again. All that was ``begun`` is to be closed by the caller."""
    tries = Tries(config)
    while True:
        tries.requests += 1
        begun.append(pieces := start(call))
        try:
            return next(pieces), pieces, tries.requests
        except AgentError as error:
            wait = tries.wait_after(error)
        pause(call, wait)


async def afirst_piece(
    call: Call, config: ClientConfig, start: Any, begun: list[Any]
) -> tuple[Any, AsyncIterator[Any], int]:
    """`first_piece` for an event loop."""
    tries = Tries(config)
    while True:
        tries.requests += 1
        begun.append(pieces := start(call))
        try:
            return await anext(pieces), pieces, tries.requests
        except AgentError as error:
            wait = tries.wait_after(error)
        await apause(call, wait)
