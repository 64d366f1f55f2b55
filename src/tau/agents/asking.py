"""How the calls of an agent are answered: by the journal of the run, else by its provider, as often as it takes."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from tau.agents import call_journal
from tau.agents.config import ClientConfig
from tau.agents.driving import drive, drive_async
from tau.agents.errors import AgentError
from tau.agents.providers.base import Provider
from tau.agents.records import Call, Response, with_messages
from tau.agents.retrying import Wait, apause, pause, tried
from tau.agents.tool_loop import failure_text, result_text
from tau.agents.tools import Tool
from tau.errors import ConfigError
from tau.node.calls import is_late


class Asking:
    """What answers calls. ``required``: a call where no journal is at hand is an error."""

    def __init__(self, provider: Provider, config: ClientConfig, required: bool) -> None:
        self.provider, self.config = provider, config
        self.required = required

    def answer(self, call: Call) -> Response:
        """The answer to a call. Raises `AgentError`, and what storing it raises."""
        self.check_journal(call)
        return self.finished(call_journal.answer(call, lambda: self._ask(call)), call)

    async def aanswer(self, call: Call) -> Response:
        """`answer` for an event loop."""
        self.check_journal(call)
        return self.finished(await call_journal.aanswer(call, lambda: self._aask(call)), call)

    def finished(self, response: Response, call: Call) -> Response:
        """The response as the caller is given it; the provider is told of one that was recorded."""
        if response.replayed:
            self.provider.replayed(response)
        return with_messages(response, call)

    def called(self, call: Call, tools: Mapping[str, Tool]) -> Response:
        """What a tool gives for a call of it, recorded as that of a model is. What it raises is told in the text."""
        return call_journal.answer(call, lambda: text_answer(lambda: _used(call, tools)))

    async def acalled(self, call: Call, tools: Mapping[str, Tool]) -> Response:
        """`called` for an event loop."""

        async def ask() -> Response:
            found = await _aused(call, tools)
            return text_answer(lambda: found)

        return await call_journal.aanswer(call, ask)

    def check_journal(self, call: Call) -> None:
        """Raises `AgentError` where a journal is required and none is at hand."""
        if self.required and (why := call_journal.missing()):
            raise AgentError(
                f'agent {call.agent!r} has journal="required", and its call would not be recorded: {why}',
                agent=call.agent,
                provider=call.provider,
                model=call.model,
            )

    def _ask(self, call: Call) -> Response:
        began = time.monotonic()

        def do(what: Any) -> Any:
            return pause(call, what) if isinstance(what, Wait) else self.provider.send(what)

        return timed(drive(tried(call, self.config), do), began)

    async def _aask(self, call: Call) -> Response:
        began = time.monotonic()

        async def do(what: Any) -> Any:
            return await (apause(call, what) if isinstance(what, Wait) else self.provider.asend(what))

        return timed(await drive_async(tried(call, self.config), do), began)


def timed(response: Response, began: float) -> Response:
    """The response, with how long the caller has waited since then."""
    return replace(response, timings={**response.timings, "duration_seconds": max(0.0, time.monotonic() - began)})


def _used(call: Call, tools: Mapping[str, Tool]) -> str:
    function = tools[call.model].function
    assert function is not None
    try:
        found = function(**call.parameters)
        if is_late(found):
            if inspect.iscoroutine(found):
                found.close()
            raise ConfigError(f"the tool {call.model!r} is async; use arun instead of run")
        return result_text(found)
    except Exception as error:
        return failure_text(error)


async def _aused(call: Call, tools: Mapping[str, Tool]) -> str:
    function = tools[call.model].function
    assert function is not None
    try:
        found = function(**call.parameters)
        return result_text(await found if is_late(found) else found)
    except Exception as error:
        return failure_text(error)


def text_answer(make: Callable[[], str]) -> Response:
    """A response that is made here, as that of a tool."""
    began = time.monotonic()
    return timed(Response(text=make(), finish_reason="stop", requests=0), began)
