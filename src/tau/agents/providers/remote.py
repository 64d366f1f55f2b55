"""What providers that make requests share: one request for each call, bounded, and its failures as our own errors."""

from __future__ import annotations

import sys
from abc import abstractmethod
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, closing
from typing import Any, Final

from tau.agents.config import ClientConfig
from tau.agents.no_requests import check_allowed
from tau.agents.providers.base import Piece, Provider
from tau.agents.providers.clients import Clients
from tau.agents.providers.failures import Place, cut, raised_for
from tau.agents.providers.time_bounds import Bound
from tau.agents.records import Call, Response
from tau.agents.retrying import around
from tau.errors import TauError

_END: Final = object()


class Answer:
    """What the parts of a stream have brought. ``take`` of a subclass reads one part and returns its text."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.texts: list[str] = []
        self.is_over = False
        """Whether the end mark came."""

    @property
    def text(self) -> str:
        return "".join(self.texts)

    def take(self, part: Any) -> str:
        raise NotImplementedError

    def response(self) -> Response:
        raise NotImplementedError


class RemoteProvider(Provider):
    """A provider whose subclasses say what is sent and how an answer is read: `ask`, `whole` and `answer`."""

    def __init__(self, config: ClientConfig, place: Place) -> None:
        self.config = config
        self.place = place
        self.address = place.address
        self.clients = Clients(self.make_client, self.make_async_client)

    @abstractmethod
    def make_client(self) -> Any:
        """A client that tries nothing again."""

    @abstractmethod
    def make_async_client(self) -> Any:
        """The same for the running event loop."""

    @abstractmethod
    def ask(self, client: Any, call: Call, stream: bool) -> Any:
        """What the client returns for the call; of an async client, what has yet to be awaited."""

    @abstractmethod
    def whole(self, call: Call, found: Any) -> Response:
        """The response that this is. Raises `ValueError` for what is none."""

    @abstractmethod
    def answer(self, call: Call) -> Answer:
        """What takes the parts of a stream."""

    def send(self, call: Call) -> Response:
        check_allowed(call, self.address)
        client, bound, outer = self.clients.client(), self._bound(call), sys.exception()
        try:
            with bound.waiting():
                return self.whole(call, self.ask(client, call, stream=False))
        except BaseException as error:
            raised = [raised_for(error, call, self.place, outer)]
            self._look_at(client, bound, raised[0])
        raise raised.pop()  # a variable that holds it would make a cycle with its traceback

    async def asend(self, call: Call) -> Response:
        check_allowed(call, self.address)
        lent, bound, outer = self.clients.async_client(), self._bound(call), sys.exception()
        try:
            async with bound.awaiting():
                return self.whole(call, await self.ask(lent[0], call, stream=False))
        except BaseException as error:
            raised = [raised_for(error, call, self.place, outer)]
            self._look_at(lent[0], bound)
        raise raised.pop()  # a variable that holds it would make a cycle with its traceback

    def stream(self, call: Call) -> Iterator[Piece]:
        check_allowed(call, self.address)
        client, answer, outer = self.clients.client(), self.answer(call), sys.exception()
        bound = self._bound(call)
        try:
            with bound.waiting():
                found = self.ask(client, call, stream=True)
            with closing(found):
                for part in _parts(found, bound, answer):
                    if text := answer.take(part):
                        answer.texts.append(text)
                        yield text
            ended = [self._ended(call, answer)]
        except BaseException as error:
            ended, raised = [], [raised_for(error, call, self.place, outer, answer.text)]
            self._look_at(client, bound, raised[0])
        if not ended:
            raise raised.pop()
        yield ended.pop()

    async def astream(self, call: Call) -> AsyncIterator[Piece]:
        check_allowed(call, self.address)
        lent, answer, outer = self.clients.async_client(), self.answer(call), sys.exception()
        bound = self._bound(call)
        try:
            async with bound.awaiting():
                found = await self.ask(lent[0], call, stream=True)
            async with aclosing(_AsyncParts(found, bound, answer)) as parts:
                async for part in parts:
                    if text := answer.take(part):
                        answer.texts.append(text)
                        yield text
            ended = [self._ended(call, answer)]
        except BaseException as error:
            ended, raised = [], [raised_for(error, call, self.place, outer, answer.text)]
            self._look_at(lent[0], bound)
        if not ended:
            raise raised.pop()
        yield ended.pop()

    def _look_at(self, client: Any, bound: Bound, raised: BaseException | None = None) -> None:
        """Leave a client that was interrupted where it may have lost a connection: in a thread, by whatever a signal
        handler ``raised``; in a loop, by a cancellation in some places."""
        is_interrupt = not (raised is None or isinstance(raised, TauError | GeneratorExit))
        if is_interrupt or not bound.is_settled:
            self.clients.leave(client)

    def _bound(self, call: Call) -> Bound:
        return Bound(self.config.timeout, around(call).check_stop)

    def _ended(self, call: Call, answer: Answer) -> Response:
        if not answer.is_over:
            raise cut(call, self.place, answer.text)
        return answer.response()

    def close(self) -> None:
        self.clients.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.config,)  # keys and connections stay in this process


def _parts(found: Iterator[Any], bound: Bound, answer: Answer) -> Iterator[Any]:
    """The parts of a stream, each waited for within the bound. After the end mark nothing can go
    wrong: the answer is whole."""
    parts = iter(found)
    while True:
        try:
            with bound.waiting():
                part = next(parts, _END)
        except Exception:
            if not answer.is_over:
                raise
            return
        if part is _END:
            return
        yield part


class _AsyncParts:
    """`_parts` of an async client, closed in the way that its stream has."""

    def __init__(self, found: Any, bound: Bound, answer: Answer) -> None:
        self._found, self._parts, self._bound, self._answer = found, aiter(found), bound, answer

    def __aiter__(self) -> _AsyncParts:
        return self

    async def __anext__(self) -> Any:
        part = _END
        try:
            async with self._bound.awaiting():
                part = await anext(self._parts, _END)
        except Exception:
            if not self._answer.is_over:
                raise
        if part is _END:
            raise StopAsyncIteration
        return part

    async def aclose(self) -> None:
        await (self._found.aclose() if hasattr(self._found, "aclose") else self._found.close())
