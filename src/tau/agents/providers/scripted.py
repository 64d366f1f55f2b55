"""Answers that a test or an example gives instead of a model."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Any

from tau.agents.errors import AgentError
from tau.agents.providers.base import Piece, Provider
from tau.agents.providers.turns import Turn
from tau.agents.records import Call, Response, ToolCall
from tau.late_imports import load_module
from tau.node.calls import is_late


class FunctionProvider(Provider):
    """Answers are what ``function(call)`` returns: text, a `ToolCall` or several, a whole `Response`, any other plain
    value (which is answered as JSON), or an exception, which is raised. It may be async. Making one raises nothing."""

    name = "function"
    is_remote = False

    def __init__(self, function: Callable[[Call], Any]) -> None:
        self._function = function

    def send(self, call: Call) -> Response:
        found = self._function(call)
        if is_late(found):
            load_module("asyncio")
            import asyncio

            found = asyncio.run(_awaited(found))
        return self._noted(answered(call, found))

    async def asend(self, call: Call) -> Response:
        found = self._function(call)
        return self._noted(answered(call, await found if is_late(found) else found))

    def _noted(self, response: Response) -> Response:
        if isinstance(self._function, Script):
            self._function.given(response)
        return response

    def replayed(self, response: Response) -> None:
        if isinstance(self._function, Script):
            self._function.replayed(response)

    def stream(self, call: Call) -> Iterator[Piece]:
        response = self.send(call)
        yield from pieces(response.text)
        yield response

    async def astream(self, call: Call) -> AsyncIterator[Piece]:
        response = await self.asend(call)
        for piece in pieces(response.text):
            yield piece
        yield response


class Script:
    """A function for `FunctionProvider`: the answers of a sequence, one after the other, or of a mapping the first one
    whose key is in the last message. Raises `AgentError` where there is none, and where a sequence would begin anew in
    a run that has answers of it already."""

    def __init__(self, answers: Sequence[Any] | Mapping[str, Any]) -> None:
        self._answers = answers
        self._next = 0
        self._turn: Turn | None = None if isinstance(answers, Mapping) else Turn()
        self._lock = threading.Lock()

    def __call__(self, call: Call) -> Any:
        if self._turn is None:
            return self._matching(self._answers, call)  # type: ignore[arg-type]
        with self._lock:
            self._turn.check(call)
            number = self._next
            if number == len(self._answers):
                raise AgentError(
                    f"the script of agent {call.agent!r} has {number} answer{'s' * (number != 1)} and was asked for "
                    "another one; give it one answer for each call, or use agents.function"
                )
            self._next += 1
        return self._answers[number]  # type: ignore[index]

    def given(self, response: Response) -> None:
        """This was made of an answer."""
        if self._turn is not None:
            self._turn.ids.add(response.id)

    def replayed(self, response: Response) -> None:
        """This was recorded, and was not asked for."""
        if self._turn is not None:
            self._turn.replayed(response)

    def __reduce__(self) -> tuple[Any, ...]:
        return Script, (self._answers,)

    def _matching(self, answers: Mapping[str, Any], call: Call) -> Any:
        last = str(call.messages[-1].get("content", "")) if call.messages else ""
        for part, found in answers.items():
            if part in last:
                return found
        raise AgentError(
            f"the script of agent {call.agent!r} has no answer for {last!r:.80}; its keys are "
            f"{', '.join(map(repr, answers)) or 'none'}, and one of them must be in the last message"
        )


def answered(call: Call, found: Any) -> Response:
    """What a test gave, as a response. Raises it where it is an exception."""
    if isinstance(found, BaseException):
        raise found
    if isinstance(found, Response):
        return found
    if call.verb == "embed":
        return Response(embeddings=tuple(found), model=call.model, finish_reason="stop")
    calls = (found,) if isinstance(found, ToolCall) else found
    if isinstance(calls, list | tuple) and calls and all(isinstance(one, ToolCall) for one in calls):
        return Response(tool_calls=tuple(calls), model=call.model, finish_reason="tool_calls")
    text = found if isinstance(found, str) else json.dumps(found)
    return Response(text=text, model=call.model, finish_reason="stop")


def pieces(text: str) -> list[str]:
    """A text in words, each with the space before it."""
    first, *more = text.split(" ")
    return [one for one in (first, *(f" {word}" for word in more)) if one]


async def _awaited(late: Any) -> Any:
    return await late
