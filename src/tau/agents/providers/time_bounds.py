"""How long one request may take, from when it is sent to the last byte of its answer, however slowly these come.

The timeouts of the clients are those of one read, which a server that sends a byte now and then never reaches, and a
thread that reads sees nothing of a run that is to stop. Both clients tell of what they do with a request (the extension
``trace`` of httpcore): of the connection that was made for it, whose reads and writes are bounded from then on, and of
the moment at which it is sent.
"""

from __future__ import annotations

import select
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar
from functools import cache, partial
from typing import Any, Final

from tau.agents.errors import AgentError
from tau.late_imports import load_module
from tau.waiting import LOOK

_PART: Final = 16 << 10
"""Bytes that are written at once: a socket that takes any more takes about as many."""


_SETTLED: Final = ("response_closed.complete", "connect_tcp.failed", "start_tls.failed")
_OF_CLIENTS: Final = sys.stdlib_module_names | {
    "anyio", "certifi", "distro", "h11", "h2", "httpcore", "httpcore2", "httpx", "httpx2", "idna", "jiter", "ollama",
    "openai", "pydantic", "pydantic_core", "sniffio", "socksio", "tau", "truststore", "uvloop",
}  # fmt: skip


class TooLateError(AgentError):
    """The answer was not complete in time."""


class Bound:
    """The time of one request: ``seconds`` in all, from when it connects or is sent, and only in blocks that wait for
    the server. ``check_stop`` raises where the caller is to stop; it is called every `LOOK` seconds while somebody
    waits. One thread or task at a time uses it."""

    def __init__(self, seconds: float, check_stop: Callable[[], None]) -> None:
        self._seconds, self._check_stop = seconds, check_stop
        self._is_sent = False
        self._since: float | None = None
        self._last = ""

    @property
    def is_settled(self) -> bool:
        """Whether the client has given its connection back, or had none: false where it was interrupted in between."""
        return not self._last or self._last.endswith(_SETTLED)

    def note(self, name: str) -> None:
        """A client has told of that. Raises what `check` raises."""
        self._last = name
        if _begins(name):
            self.sent()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """What is requested, read or written in the block raises `TooLateError` once the time is over, and what
        ``check_stop`` raises. Not for a block that yields."""
        before = _bound.set(self)
        self._since = time.monotonic() if self._is_sent else None
        try:
            yield
        finally:
            self._seconds, self._since = self.left(), None
            _bound.reset(before)

    @asynccontextmanager
    async def awaiting(self) -> AsyncIterator[None]:
        """`waiting` for a task of an event loop, whatever is awaited in the block."""
        load_module("asyncio")
        import asyncio

        alarm, loop = asyncio.timeout(None), asyncio.get_running_loop()
        why: Exception | None = None
        look: Any = None

        def looks() -> None:
            nonlocal look, why
            try:
                look = loop.call_later(min(LOOK, self.check()), looks)
            except Exception as error:
                why = error
                alarm.reschedule(loop.time())

        try:
            async with alarm:
                with self.waiting():
                    looks()
                    yield
        except TimeoutError:
            if why is not None:
                raise why from None
            raise
        finally:
            if look is not None:
                look.cancel()

    def sent(self) -> None:
        """It is about to connect, or to send the request. Raises what `check` raises."""
        self.check()
        if not self._is_sent:
            self._is_sent, self._since = True, time.monotonic()

    def left(self) -> float:
        """The seconds that are left."""
        return self._seconds - (0.0 if self._since is None else time.monotonic() - self._since)

    def check(self) -> float:
        """The seconds that are left. Raises `TooLateError`, and what ``check_stop`` raises."""
        self._check_stop()
        left = self.left()
        if left <= 0:
            raise TooLateError("too late")
        return left


_bound: ContextVar[Bound | None] = ContextVar("tau_agents_bound", default=None)


def watch(request: Any) -> None:
    """The hook of a client: bound what is done with the request."""
    if (bound := _bound.get()) is not None:
        request.extensions["trace"] = partial(_traced, bound)
        given = request.extensions.get("timeout", {})
        if given.get("connect") is not None:
            given["connect"] = min(given["connect"], bound.check())


async def async_watch(request: Any) -> None:
    """The hook of an async client."""
    if (bound := _bound.get()) is not None:

        async def traced(name: str, _: Any) -> None:
            bound.note(name)

        request.extensions["trace"] = traced


def _begins(name: str) -> bool:
    """Whether something begins for a request; but what is closed, is closed in any case."""
    return name.endswith(".started") and "close" not in name


def _traced(bound: Bound, name: str, info: Any) -> None:
    """What is done with a request begins, or is done; then a connection returns its stream."""
    bound.note(name)
    stream = info.get("return_value")
    if hasattr(stream, "get_extra_info"):
        with suppress(TypeError):  # of a kind that cannot be another one: it keeps its timeout for each read
            stream.__class__ = _bounded(type(stream))  # type: ignore[arg-type]


def is_foreign(error: BaseException | None) -> bool:
    """Whether it was raised by code that is neither a client's nor what that is built on, as by a signal handler, whose
    `TimeoutError` clients take for their own."""
    traceback = None if error is None else error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    if traceback is None:
        return False
    return str(traceback.tb_frame.f_globals.get("__name__")).partition(".")[0] not in _OF_CLIENTS


@cache
def _bounded(kind: Any) -> Any:
    """That kind of stream, for whoever waits for what it reads and writes."""
    if hasattr(kind, "reads_within_bounds"):
        return kind

    class Bounded(kind):  # type: ignore[misc]
        reads_within_bounds = True

        def read(self, most: int, timeout: float | None = None) -> bytes:
            if (bound := _bound.get()) is None:
                return super().read(most, timeout)  # type: ignore[no-any-return]
            while True:
                left = bound.check()
                try:
                    return super().read(most, min(LOOK, left))  # type: ignore[no-any-return]
                except Exception as error:
                    if type(error).__name__ != "ReadTimeout" or is_foreign(error.__cause__):
                        raise

        def write(self, data: bytes, timeout: float | None = None) -> None:
            if (bound := _bound.get()) is None:
                return super().write(data, timeout)  # type: ignore[no-any-return]
            room = select.poll()
            room.register(self.get_extra_info("socket"), select.POLLOUT)
            for at in range(0, len(data), _PART):
                while not room.poll(min(LOOK, left := bound.check()) * 1000):
                    pass
                super().write(data[at : at + _PART], left)
            return None

    return Bounded
