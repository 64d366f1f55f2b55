"""A stream of which nothing was handed on may be asked for again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

import tau
from tau.agents import Agent, Call, Response
from tau.agents.errors import AgentStreamError
from tau.agents.providers.base import Piece, Provider


class Unsteady(Provider):
    """Its first stream breaks off before it has begun."""

    name = "unsteady"
    is_remote = False

    def __init__(self) -> None:
        self.streams = 0

    def send(self, call: Call) -> Response:
        raise NotImplementedError

    async def asend(self, call: Call) -> Response:
        raise NotImplementedError

    def stream(self, call: Call) -> Iterator[Piece]:
        self.streams += 1
        if self.streams == 1:
            raise AgentStreamError("the stream ended without its end mark after 0 characters")
        yield "well"
        yield Response(text="well", finish_reason="stop")

    async def astream(self, call: Call) -> AsyncIterator[Piece]:
        for piece in self.stream(call):
            yield piece


async def test_a_stream_that_breaks_off_before_it_has_begun_is_asked_for_again() -> None:
    twice = tau.Retry(attempts=2, delay=0.0, jitter=0.0)
    stream = Agent(Unsteady(), "m", retry=twice).chat_stream("hi")
    assert (list(stream), stream.response.requests) == (["well"], 2)
    late = Agent(Unsteady(), "m", retry=twice).achat_stream("hi")
    assert ([piece async for piece in late], late.response.requests) == (["well"], 2)
    with pytest.raises(AgentStreamError):
        list(Agent(Unsteady(), "m", retry=tau.Retry(attempts=1)).chat_stream("hi"))
