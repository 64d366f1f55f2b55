"""What a provider is: the one place that knows how a server, or a test, is asked."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator
from typing import ClassVar

from tau.agents.records import Call, Response

Piece = str | Response
"""What a stream yields: pieces of the text as they come, and at its end the whole `Response`."""


class Provider(ABC):
    """How a kind of server is asked. One request is made for each call of a method; nothing is tried again here.

    Implementers: a provider is one file and one line in `tau.agents.providers.registry`. Every method may be called
    from several threads and loops at once. A failure is raised as one of `tau.agents.errors`, never as an error of the
    client's, and holds no secret. A stream that is closed early closes its request. A stream that ends without the
    server's end mark raises `AgentStreamError`.
    """

    name: ClassVar[str]
    """What configurations call it; part of what names a call."""

    is_remote: ClassVar[bool] = True
    """Whether it makes requests, which `tau.agents.no_requests` forbids."""

    address: str = ""
    """Where the server is, without secrets; for messages."""

    @abstractmethod
    def send(self, call: Call) -> Response:
        """Ask, and return the whole answer. Raises `AgentError`."""

    @abstractmethod
    async def asend(self, call: Call) -> Response:
        """`send` for an event loop."""

    @abstractmethod
    def stream(self, call: Call) -> Iterator[Piece]:
        """Ask, and yield the text as it comes, then the whole `Response`. Raises `AgentError`."""

    @abstractmethod
    def astream(self, call: Call) -> AsyncIterator[Piece]:
        """`stream` for an event loop."""

    def replayed(self, response: Response) -> None:  # noqa: B027 - not every provider has a place in a list
        """The recorded answer to a call was given again, and nothing is asked. Raises nothing."""

    def close(self) -> None:  # noqa: B027 - not every provider keeps connections
        """Let go of connections. The provider may be used again. Raises nothing."""
