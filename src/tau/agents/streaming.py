"""Streams: text as it comes, recorded when it is complete and before its last piece is handed on."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

from tau.agents import call_journal
from tau.agents.asking import Asking, timed
from tau.agents.errors import AgentError
from tau.agents.records import Call, Response
from tau.agents.retrying import afirst_piece, first_piece


class _Stream:
    """What both kinds have: the call and, at the end, its response."""

    def __init__(self, asking: Asking, call: Call) -> None:
        self._asking, self._call = asking, call
        self._response: Response | None = None

    @property
    def response(self) -> Response:
        """The whole, once the stream has ended. Raises `AgentError` before that."""
        if self._response is None:
            raise AgentError(
                "the stream has not ended, so there is no response yet; read it to its end", agent=self._call.agent
            )
        return self._response

    def _done(self, response: Response) -> None:
        self._response = self._asking.finished(response, self._call)


class ChatStream(_Stream):
    """The pieces of an answer as they come; ``response`` is the whole. Close it, or use it in a ``with`` block, to end
    the request before its end: then nothing is recorded. One that was recorded comes in one piece."""

    def __init__(self, asking: Asking, call: Call) -> None:
        super().__init__(asking, call)
        self._pieces = self._read()

    def __iter__(self) -> ChatStream:
        return self

    def __next__(self) -> str:
        return next(self._pieces)

    def __enter__(self) -> ChatStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the request. Raises nothing."""
        self._pieces.close()

    def _read(self) -> Generator[str, None, None]:
        call, asking = self._call, self._asking
        asking.check_journal(call)
        if call_journal.is_recorded(call):
            self._done(call_journal.answer(call, lambda: _whole(asking, call)))
            if self.response.text:
                yield self.response.text
            return
        began = time.monotonic()
        first, rest, requests = first_piece(call, asking.config, asking.provider.stream)
        with closing(rest):  # type: ignore[type-var]
            for held, piece in _pairs(first, rest):
                if isinstance(piece, Response):
                    whole = timed(replace(piece, requests=requests), began)
                    self._done(call_journal.answer(call, lambda whole=whole: whole))  # type: ignore[misc]
                if held is not None:
                    yield held


class AsyncChatStream(_Stream):
    """`ChatStream` for an event loop: ``async for``, ``async with``, ``aclose``."""

    def __init__(self, asking: Asking, call: Call) -> None:
        super().__init__(asking, call)
        self._pieces = self._read()

    def __aiter__(self) -> AsyncChatStream:
        return self

    async def __anext__(self) -> str:
        return await anext(self._pieces)

    async def __aenter__(self) -> AsyncChatStream:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End the request. Raises nothing."""
        await self._pieces.aclose()  # type: ignore[attr-defined]

    async def _read(self) -> AsyncIterator[str]:
        call, asking = self._call, self._asking
        asking.check_journal(call)
        if call_journal.is_recorded(call):
            self._done(await call_journal.aanswer(call, lambda: _awhole(asking, call)))
            if self.response.text:
                yield self.response.text
            return
        began = time.monotonic()
        held, rest, requests = await afirst_piece(call, asking.config, asking.provider.astream)
        try:
            while not isinstance(held, Response):
                piece = await anext(rest)
                if isinstance(piece, Response):
                    await self._keep(timed(replace(piece, requests=requests), began))
                yield held
                held = piece
            if self._response is None:
                await self._keep(timed(replace(held, requests=requests), began))
        finally:
            await rest.aclose()  # type: ignore[attr-defined]

    async def _keep(self, whole: Response) -> None:
        async def given() -> Response:
            return whole

        self._done(await call_journal.aanswer(self._call, given))


def _pairs(first: Any, rest: Iterator[Any]) -> Iterator[tuple[str | None, Any]]:
    """Each piece with the one before it, which is handed on when this one is there."""
    yield None, first
    held = first
    for piece in rest:
        yield held, piece
        held = piece


def _whole(asking: Asking, call: Call) -> Response:
    """The response of a stream that nobody reads piece by piece: another call took the recorded one meanwhile."""
    *_, last = asking.provider.stream(call)
    assert isinstance(last, Response)
    return last


async def _awhole(asking: Asking, call: Call) -> Response:
    last = [piece async for piece in asking.provider.astream(call)][-1]
    assert isinstance(last, Response)
    return last
