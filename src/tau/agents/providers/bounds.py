"""What keeps an answer within bounds, whichever client reads it: its size here, its time in `time_bounds`.

Both clients stand on libraries with the interface of httpx. A hook sees each request before it is sent, and each
response before its body is read: it raises `Refusal` for an error status, so that headers are not lost, and else bounds
the body.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

from tau.agents.errors import AgentError
from tau.agents.providers.time_bounds import async_watch, watch

MOST_BYTES: Final = 64 << 20
"""The largest answer that is read, in bytes."""

_MOST_OF_ERROR: Final = 64 << 10


class Refusal(Exception):
    """A response with an error status, with its headers and what it says."""

    def __init__(self, status: int, headers: Any, text: str) -> None:
        super().__init__(f"status {status}")
        self.status, self.headers, self.text = status, headers, text


class TooMuchError(AgentError):
    """The answer is larger than what is read."""


def hooks(module: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The event hooks of a client and of an async client of that library."""

    class Bounded(module.SyncByteStream):  # type: ignore[misc]
        def __init__(self, inner: Any, most: int = MOST_BYTES) -> None:
            self.inner, self.left = inner, most

        def __iter__(self) -> Iterator[bytes]:
            for part in self.inner:
                self.left = _less(self.left, part)
                yield part

        def close(self) -> None:
            self.inner.close()

    class AsyncBounded(module.AsyncByteStream):  # type: ignore[misc]
        def __init__(self, inner: Any, most: int = MOST_BYTES) -> None:
            self.inner, self.left = inner, most

        async def __aiter__(self) -> AsyncIterator[bytes]:
            async for part in self.inner:
                self.left = _less(self.left, part)
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

    return {"request": [watch], "response": [seen]}, {"request": [async_watch], "response": [async_seen]}


def _less(left: int, part: bytes) -> int:
    """How much more may come after the part. Raises `TooMuchError`."""
    if len(part) > left:
        raise TooMuchError("too large")
    return left - len(part)
