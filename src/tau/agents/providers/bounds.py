"""What keeps an answer within bounds while it is read, whichever client reads it: its size and its time.

Both clients stand on libraries with the interface of httpx. A hook sees each response before its body is read: it
raises `Refusal` for an error status, so that headers are not lost, and else bounds the body.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

from tau.agents.errors import AgentError

MOST_BYTES: Final = 64 << 20
"""The largest answer that is read, in bytes."""

_MOST_OF_ERROR: Final = 64 << 10

_seconds: ContextVar[float | None] = ContextVar("tau_agents_seconds", default=None)


class Refusal(Exception):
    """A response with an error status, with its headers and what it says."""

    def __init__(self, status: int, headers: Any, text: str) -> None:
        super().__init__(f"status {status}")
        self.status, self.headers, self.text = status, headers, text


class TooMuchError(AgentError):
    """The answer is larger than what is read."""


class TooLateError(AgentError):
    """The answer was not complete in time."""


@contextmanager
def whole_within(seconds: float) -> Iterator[None]:
    """What is requested in the block must be complete so many seconds after its headers. Not for a block that
    yields."""
    before = _seconds.set(seconds)
    try:
        yield
    finally:
        _seconds.reset(before)


def hooks(module: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The event hooks of a client and of an async client of that library."""

    class Bounded(module.SyncByteStream):  # type: ignore[misc]
        def __init__(self, inner: Any, most: int = MOST_BYTES) -> None:
            self.inner, self.room = inner, _Room(most)

        def __iter__(self) -> Iterator[bytes]:
            for part in self.inner:
                self.room.take(part)
                yield part

        def close(self) -> None:
            self.inner.close()

    class AsyncBounded(module.AsyncByteStream):  # type: ignore[misc]
        def __init__(self, inner: Any, most: int = MOST_BYTES) -> None:
            self.inner, self.room = inner, _Room(most)

        async def __aiter__(self) -> AsyncIterator[bytes]:
            async for part in self.inner:
                self.room.take(part)
                yield part

        async def aclose(self) -> None:
            await self.inner.aclose()

    def seen(response: Any) -> None:
        if response.status_code >= 400:
            response.stream = Bounded(response.stream, _MOST_OF_ERROR)
            raise Refusal(response.status_code, response.headers, response.read().decode("utf-8", "replace"))
        response.stream = Bounded(response.stream)

    async def async_seen(response: Any) -> None:
        if response.status_code >= 400:
            response.stream = AsyncBounded(response.stream, _MOST_OF_ERROR)
            text = (await response.aread()).decode("utf-8", "replace")
            raise Refusal(response.status_code, response.headers, text)
        response.stream = AsyncBounded(response.stream)

    return {"response": [seen]}, {"response": [async_seen]}


class _Room:
    """How much more may come, and until when."""

    def __init__(self, most: int) -> None:
        seconds = _seconds.get()
        self._left = most
        self._ends = None if seconds is None else time.monotonic() + seconds

    def take(self, part: bytes) -> None:
        self._left -= len(part)
        if self._left < 0:
            raise TooMuchError("too large")
        if self._ends is not None and time.monotonic() > self._ends:
            raise TooLateError("too late")
