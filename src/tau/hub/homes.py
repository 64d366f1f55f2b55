"""Where handlers are called: async ones in an event loop, sync ones in threads. Nothing runs where nothing is sent."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol

from tau import forks
from tau.log.pool import Pool
from tau.waiting import DaemonThread

_MOST: Final = 1 << 20  # threads: each may have to wait for another, so that none of them may be held back

CANCELLED: Final = "the task in which its handler ran was cancelled, as happens when asyncio.run ends"

_threads = Pool("tau-hub", _MOST)


class Server(Protocol):
    """What serves a mailbox until it is empty; one of the two is called, in a context of its own."""

    def serve(self) -> object:
        """In a thread."""

    def serve_async(self) -> Coroutine[Any, Any, None]:
        """In a loop."""

    def end(self, why: str) -> object:
        """The place where it was served is gone."""

    def ended(self) -> object:
        """Nothing of it is at work, however that came."""


class Home(Protocol):
    """Where the handler of an agent is called."""

    loop: asyncio.AbstractEventLoop | None
    """The loop, ``None`` for threads."""

    @property
    def has_ended(self) -> Callable[[], bool]:
        """Tells whether nothing can be called there any more."""

    def start(self, server: Server) -> None:
        """Have it served there soon. Raises `RuntimeError` where nothing can begin."""


class Threads:
    """For sync handlers: daemon threads, which end a few seconds after there was nothing to do."""

    loop: asyncio.AbstractEventLoop | None = None

    def has_ended(self) -> bool:
        return False

    def start(self, server: Server) -> None:
        context = contextvars.Context()  # a handler belongs to no run, whoever sends
        _threads.put(lambda: context.run(server.serve))


class Loop:
    """For async handlers: a loop, and a task in it for as long as there is something to do."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop: asyncio.AbstractEventLoop | None = loop
        self._loop = loop
        self.has_ended = loop.is_closed
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, server: Server) -> None:
        if asyncio._get_running_loop() is self._loop:
            self._begin(server)
        else:
            self._loop.call_soon_threadsafe(self._begin, server)

    def _begin(self, server: Server) -> None:
        try:
            task = self._loop.create_task(server.serve_async(), context=contextvars.Context(), name="tau-hub")
            self._tasks.add(task)  # a loop keeps weak references only
            task.add_done_callback(_Ended(self._tasks, server))
        except BaseException:  # of a signal handler
            server.ended()
            raise

    def cancel(self) -> None:
        """End what is served here, from any thread."""
        for task in [*self._tasks]:
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(task.cancel)


class _Ended:
    """What becomes of a mailbox whose task has ended: it may have been cancelled before it began."""

    def __init__(self, tasks: set[asyncio.Task[None]], server: Server) -> None:
        self._tasks, self._server = tasks, server

    def __call__(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            self._server.end(CANCELLED)
        self._server.ended()


def home_of(is_async: bool) -> Home:
    """Where a handler that is registered here is called: an async one in the loop that runs here, without one in a loop
    that all hubs of this process share, in a thread of its own."""
    if not is_async:
        return Threads()
    running = asyncio._get_running_loop()
    return Loop(running if running is not None else _own_loop())


class _Own:
    """The loop of those that are registered outside of any; it begins with the first of them."""

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        self.first = threading.RLock()


_own = _Own()
_of_parents = list[asyncio.AbstractEventLoop]()  # a finaliser of theirs would reach into the parent


@forks.in_child
def _leave_to_the_parent() -> None:
    if _own.loop is not None:
        _of_parents.append(_own.loop)
    _own.loop, _own.first = None, threading.RLock()


def _own_loop() -> asyncio.AbstractEventLoop:
    with _own.first:
        if _own.loop is None:
            loop = asyncio.new_event_loop()
            DaemonThread(_run, "tau-hub-loop", (loop,)).start()
            _own.loop = loop
        return _own.loop


def _run(loop: asyncio.AbstractEventLoop) -> None:
    while True:  # what ends a loop, such as sys.exit in a handler, is not to end the handlers of others
        try:
            loop.run_forever()
        except BaseException:
            continue
        return
