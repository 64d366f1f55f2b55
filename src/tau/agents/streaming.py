"""Streams: text as it comes, recorded when it is complete and before its last piece is handed on."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Generator, Iterator
from dataclasses import replace
from typing import Any

from tau.agents import call_journal
from tau.agents.asking import Asking, timed
from tau.agents.errors import AgentError
from tau.agents.records import Call, Response
from tau.agents.retrying import afirst_piece, first_piece


class _Kept:
    """What a stream and its reader share: the call and, at the end, its response. The reader does not hold the stream,
    so that one which nobody has any more is closed at once, as one that a loop was left from."""

    def __init__(self, asking: Asking, call: Call) -> None:
        self.asking, self.call = asking, call
        self.response: Response | None = None

    def done(self, response: Response) -> None:
        self.response = self.asking.finished(response, self.call)


class _Stream:
    """What both kinds have."""

    _kept: _Kept

    @property
    def response(self) -> Response:
        """The whole, once the stream has ended. Raises `AgentError` before that."""
        kept = self._kept
        if kept.response is None:
            raise AgentError(
                "the stream has not ended, so there is no response yet; read it to its end", agent=kept.call.agent
            )
        return kept.response


class ChatStream(_Stream):
    """The pieces of an answer as they come; ``response`` is the whole. Close it, or use it in a ``with`` block, to end
    the request before its end: then nothing is recorded. One that was recorded comes in one piece."""

    def __init__(self, asking: Asking, call: Call) -> None:
        self._kept = _Kept(asking, call)
        self._pieces = _read(self._kept)

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


def _read(kept: _Kept) -> Generator[str, None, None]:
    call, asking = kept.call, kept.asking
    asking.check_journal(call)
    if call_journal.is_recorded(call):
        kept.done(call_journal.answer(call, lambda: _whole(asking, call)))
        if kept.response is not None and kept.response.text:
            yield kept.response.text
        return
    began, begun = time.monotonic(), list[Any]()
    try:
        first, rest, requests = first_piece(call, asking.config, asking.provider.stream, begun)
        for held, piece in _pairs(first, rest):
            if isinstance(piece, Response):
                whole = timed(replace(piece, requests=requests), began)
                kept.done(call_journal.answer(call, lambda whole=whole: whole))  # type: ignore[misc]
            if held is not None:
                yield held
    finally:
        for one in begun:
            one.close()


class AsyncChatStream(_Stream):
    """`ChatStream` for an event loop: ``async for``, ``async with``, ``aclose``."""

    def __init__(self, asking: Asking, call: Call) -> None:
        self._kept = _Kept(asking, call)
        self._pieces = _aread(self._kept)

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
        await self._pieces.aclose()


async def _aread(kept: _Kept) -> AsyncGenerator[str, None]:
    call, asking = kept.call, kept.asking
    asking.check_journal(call)
    if call_journal.is_recorded(call):
        kept.done(await call_journal.aanswer(call, lambda: _awhole(asking, call)))
        if kept.response is not None and kept.response.text:
            yield kept.response.text
        return
    began, begun = time.monotonic(), list[Any]()
    try:
        held, rest, requests = await afirst_piece(call, asking.config, asking.provider.astream, begun)
        while not isinstance(held, Response):
            piece = await anext(rest)
            if isinstance(piece, Response):
                await _keep(kept, timed(replace(piece, requests=requests), began))
            yield held
            held = piece
        if kept.response is None:
            await _keep(kept, timed(replace(held, requests=requests), began))
    finally:
        for one in begun:
            await one.aclose()


async def _keep(kept: _Kept, whole: Response) -> None:
    async def given() -> Response:
        return whole

    kept.done(await call_journal.aanswer(kept.call, given))


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
