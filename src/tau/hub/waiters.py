"""What a sender waits with: a thread with a flag, a task with a future of its loop.

Each is answered once, from any thread, and closed where its owner waits no longer; the two exclude each other.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, Final, Protocol

from tau.signals import insist
from tau.waiting import Flag

TOO_LATE: Final = object()
"""What waiting gives if no answer came in time."""


class Waiter(Protocol):
    """What a sender waits with."""

    @property
    def is_open(self) -> bool:
        """Whether its owner waits, and has no answer yet."""

    def answer(self, value: Any) -> bool:
        """Give it that; whether it was still waited for. An exception is raised where it is waited for."""

    def close(self) -> bool:
        """Wait no longer; false if there is an answer already."""


class _Once:
    """An answer that is given once. Putting it into a dictionary that has none is one step, whatever interrupts it."""

    __slots__ = ("_given",)

    def __init__(self) -> None:
        self._given: dict[None, tuple[Any]] = {}

    @property
    def is_open(self) -> bool:
        return not self._given

    def close(self) -> bool:
        return self._is_first((TOO_LATE,))

    def _is_first(self, given: tuple[Any]) -> bool:
        return self._given.setdefault(None, given) is given

    def _taken(self) -> Any:
        (value,) = self._given[None]
        self._given[None] = (TOO_LATE,)
        if isinstance(value, BaseException):
            try:
                raise value
            finally:
                del value  # no cycle through its own traceback
        return value


class ThreadWaiter(_Once):
    """For a thread. An interrupt of it, as by Ctrl-C, ends the waiting."""

    __slots__ = ("_flag",)

    def __init__(self) -> None:
        super().__init__()
        self._flag = Flag()

    def answer(self, value: Any) -> bool:
        given = (value,)
        return insist(lambda: self._answer(given))

    def _answer(self, given: tuple[Any]) -> bool:
        if not self._is_first(given):
            return False
        self._flag.set()
        return True

    def wait(self, seconds: float) -> Any:
        """The answer, or `TOO_LATE`; raises an answer that is an exception."""
        try:
            self._flag.wait(seconds)
        finally:
            self.close()
        return self._taken()


class LoopWaiter(_Once):
    """For a task, in the loop that runs here."""

    __slots__ = ("_future", "_loop")

    def __init__(self) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._future: asyncio.Future[None] = self._loop.create_future()

    def answer(self, value: Any) -> bool:
        given = (value,)
        return insist(lambda: self._answer(given))

    def _answer(self, given: tuple[Any]) -> bool:
        if not self._is_first(given):
            return False
        if asyncio._get_running_loop() is self._loop:
            self._set()
        else:
            with suppress(RuntimeError):  # its loop was closed: nothing waits there any more
                self._loop.call_soon_threadsafe(self._wake)
        return True

    def _wake(self) -> None:
        insist(self._set)

    def _set(self) -> None:
        if not self._future.done():
            self._future.set_result(None)

    def _end(self) -> None:
        try:
            self.close()
        finally:
            self._wake()

    async def wait(self, seconds: float) -> Any:
        """The answer, or `TOO_LATE`; raises an answer that is an exception."""
        timer = self._loop.call_later(max(0.0, seconds), self._end)
        try:
            await self._future
        finally:
            timer.cancel()
            self.close()
        return self._taken()
