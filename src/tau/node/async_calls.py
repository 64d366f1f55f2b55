"""How an async node's function is called: in the event loop of a sync run, or with a timeout."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import sys
import time
import weakref
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from tau.errors import TauError
from tau.graph.graph import Node
from tau.log.pool import Pool
from tau.log.tickets import Ticket
from tau.node.calls import timed_out
from tau.node.left_calls import Call, Key
from tau.waiting import LOOK, DaemonThread, Flag

if TYPE_CHECKING:
    from tau.log.committer import Committer

T = TypeVar("T")
_log = logging.getLogger("tau")

NODES: Final = 32
"""How many sync nodes run at a time under one event loop."""

_loops: dict[int, _Loop] = {}
"""By the number of the loop. No `WeakKeyDictionary`: what a handler raises in its callbacks is lost."""


class _Loop:
    """What an event loop has of tau: threads for its sync nodes, and coroutines that wait for a commit.

    These are woken by the committer. The loop also looks every `LOOK` seconds whether they can go on, since a signal
    handler may raise in the callback that was to wake them.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.reference = weakref.ref(loop)
        self.pool: Pool | None = None
        self.waiting: dict[Answer[None], Ticket] = {}
        self._looks_at = 0.0

    def has_ended(self) -> bool:
        loop = self.reference()
        return loop is None or loop.is_closed()

    def watch(self, answer: Answer[None], ticket: Ticket) -> None:
        """Wake it if the ticket is over, until it is taken out of `waiting`."""
        self.waiting[answer] = ticket
        if self._looks_at < time.monotonic() - LOOK:  # it does not look, or what a handler raised has ended it
            self._look(answer.get_loop())

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self.waiting:
            self._looks_at = 0.0
            return
        self._looks_at = time.monotonic() + LOOK
        loop.call_later(LOOK, self._look, loop)
        for answer, ticket in self.waiting.copy().items():
            if ticket.over and not answer.done():
                answer.set_result(None)


def _here() -> _Loop:
    """That of the running loop; those of loops that are closed are let go."""
    loop = asyncio.get_running_loop()
    found = _loops.get(id(loop))
    if found is None or found.reference() is not loop:
        for number, other in [*_loops.items()]:
            if other.has_ended() and _loops.pop(number, None) is not None and other.pool is not None:
                other.pool.close()
        found = _loops.setdefault(id(loop), _Loop(loop))
    return found


class NodeLoop:
    """An event loop for the async nodes of one sync run, in a thread of its own where this one has a loop running.

    An interrupt may come anywhere here, so what the two threads share are flags and queues of C, which it does not
    leave taken, unlike those of `threading` and `concurrent.futures`, which take theirs in Python.
    """

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._work: SimpleQueue[Callable[[], object] | None] | None = None
        self._is_left = False
        self.kept: KeyboardInterrupt | None = None
        """Ctrl-C that came while something was awaited which kept its cancellation to itself."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return
        self._work = SimpleQueue()
        DaemonThread(_serve, "tau-loop", (self._work,)).start()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        context = contextvars.copy_context()
        if self._work is None:
            return self._run_here(coroutine, context)
        call = _Call(self._runner, coroutine, context)
        try:
            self._work.put(call)
            call.over.wait()
        except BaseException:  # an interrupt of the thread that waits here
            self._is_left = True
            call.cancel()
            self._wait()  # until the node has ended, if it had begun; another interrupt ends the waiting
            coroutine.close()
            self._is_left = False
            raise
        if call.error is not None:
            try:
                raise call.error
            finally:
                call.error = None  # no cycle through its own traceback
        return call.results[0]

    def cancel(self) -> None:
        """Have what runs in it end, from another thread."""
        with suppress(RuntimeError):  # it is closed, or has not begun
            loop = self._runner.get_loop()
            loop.call_soon_threadsafe(lambda: [task.cancel() for task in asyncio.all_tasks(loop)])

    def _run_here(self, coroutine: Coroutine[Any, Any, T], context: contextvars.Context) -> T:
        """Ctrl-C at one place of `asyncio.Runner.run` comes out as the cancellation of what has not begun."""
        begun: list[bool] = []

        async def noted() -> T:
            begun.append(True)
            return await coroutine

        try:
            return self._runner.run(noted(), context=context)
        except asyncio.CancelledError as error:
            if begun:
                raise
            coroutine.close()
            raise KeyboardInterrupt from error
        finally:
            # A cancellation does not say who asked for it; CPython's runner counts those that Ctrl-C asked for.
            if getattr(self._runner, "_interrupt_count", 0) and not isinstance(sys.exception(), KeyboardInterrupt):
                self.kept = KeyboardInterrupt()

    def close(self) -> None:
        if self._work is None:
            self._runner.close()
            return
        self._work.put(self._runner.close)
        if not self._is_left:
            self._wait()
        self._work.put(None)

    def _wait(self) -> None:
        """Wait until all that was given to the thread is done."""
        assert self._work is not None
        done = Flag()
        self._work.put(done.set)
        done.wait()


class _Call(Generic[T]):
    """A coroutine that is run in the thread of its loop; ``over`` is set at its end."""

    def __init__(self, runner: asyncio.Runner, coroutine: Coroutine[Any, Any, T], context: contextvars.Context) -> None:
        self._runner, self._coroutine, self._context = runner, coroutine, context
        self._tasks: list[asyncio.Task[Any]] = []
        self._is_cancelled = False
        self.results: list[T] = []
        self.error: BaseException | None = None
        self.over = Flag()

    def __call__(self) -> None:
        try:
            self.results.append(self._runner.run(self._in_a_task(), context=self._context))
        except BaseException as error:
            self.error = error
        finally:
            self.over.set()

    async def _in_a_task(self) -> T:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.append(task)
        if self._is_cancelled:  # before there was a task
            self._coroutine.close()
            raise asyncio.CancelledError
        return await self._coroutine

    def cancel(self) -> None:
        self._is_cancelled = True
        for task in self._tasks:
            task.get_loop().call_soon_threadsafe(task.cancel)


def _serve(queue: SimpleQueue[Callable[[], object] | None]) -> None:
    while (work := queue.get()) is not None:
        try:
            work()
        except BaseException:  # of closing the loop: whoever waits for what follows is told
            _log.exception("the event loop of a run's async nodes was not closed")


async def with_timeout(node: Node, coroutine: Coroutine[Any, Any, Any]) -> Any:
    try:
        async with asyncio.timeout(node.timeout) as scope:
            return await coroutine
    except TimeoutError:
        if scope.expired():
            raise timed_out(node) from None
        raise
    except asyncio.CancelledError as error:
        if not cancellations():
            raise cancelled_inside(f"node {node.name!r}", error) from error
        raise


async def in_a_thread(key: Key, function: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    """Call a node in a thread of this loop's pool: what it returned, or what it raised."""
    call, pool = Call(function), pool_of_loop()
    work = partial(contextvars.copy_context().run, call)
    await while_wanted(call, partial(pool.put, work), partial(call.leave, key))
    return call.answer


def pool_of_loop() -> Pool:
    """The threads in which the sync nodes of the running loop run; a node that hangs takes no thread from another."""
    here = _here()
    if here.pool is None:
        here.pool = Pool("tau-node", NODES)
    return here.pool


def cancellations() -> int:
    """How often the task that runs here was asked to end; 0 where there is none."""
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()


def cancelled_inside(what: str, error: BaseException) -> TauError:
    """The failure of a node or route that ends with a cancellation that was not requested of its run."""
    failure = TauError(
        f"{what} ended with {type(error).__name__}, although the run was not cancelled: something that it "
        "awaited was cancelled; catch that there, or let it come to its end"
    )
    failure.__cause__ = error
    return failure


class Answer(asyncio.Future[T]):
    """The result of a commit under way, which cannot be called back: a cancellation is raised once it is there.

    ``asked`` is called as soon as there is one.
    """

    asked: Callable[[], object] | None = None

    def cancel(self, msg: Any = None) -> bool:
        if self.asked is not None:
            self.asked()
        return False


async def off_the_loop(committer: Committer, function: Callable[[], T]) -> tuple[T, asyncio.CancelledError | None]:
    """Call in one of the threads of a store's committer, to the end: what it returned, and a cancellation that came
    meanwhile, which the caller is to raise. Raises what the call raises."""
    call = Call(function)
    cancelled: asyncio.CancelledError | None = None
    try:
        await to_its_end(call, partial(committer.pool.put, call))
    except asyncio.CancelledError as error:
        cancelled = error
    try:
        return call.result(), cancelled
    except BaseException as failure:
        if cancelled is not None:
            raise cancelled from failure
        raise


def is_dropped(error: BaseException, task: asyncio.Task[Any] | None) -> bool:
    """Whether an error is raised in a task as that was dropped or its loop closed: nothing can be awaited any more.

    What code in it raises itself comes in a step of the task.
    """
    if not isinstance(error, GeneratorExit):
        return False
    try:
        return task is None or asyncio.current_task() is not task
    except RuntimeError:  # no loop runs
        return True


async def to_its_end(
    call: Call[Any], hand_over: Callable[[], object], asked: Callable[[], object] | None = None
) -> None:
    """Hand the call to a thread and wait until it is over; a call that has begun is completed. A cancellation or an
    interrupt of this thread is raised after that; ``asked`` is called at once when a cancellation comes."""
    try:
        hand_over()
        await until(call.over, _answer(asked))
    except (asyncio.CancelledError, GeneratorExit):  # it is over, or the loop has ended
        raise
    except BaseException:
        if not call.give_up():
            await until(call.over, _answer(asked))
        raise


async def while_wanted(call: Call[Any], hand_over: Callable[[], object], leave: Callable[[], object]) -> None:
    """Hand the call to a thread and wait until it is over. After a cancellation or an interrupt it is not waited for:
    ``leave`` is called."""
    try:
        hand_over()
        await until(call.over, asyncio.get_running_loop().create_future())
    except BaseException:
        leave()
        raise


async def over(ticket: Ticket, asked: Callable[[], object] | None = None) -> None:
    """Wait until it is over; a cancellation is raised then, and told to ``asked`` at once."""
    answer = _answer(asked)
    ticket.waiting.append(answer)
    if ticket.over:
        return
    here = _here()
    here.watch(answer, ticket)
    try:
        await answer
    finally:
        here.waiting.pop(answer, None)


def _answer(asked: Callable[[], object] | None) -> Answer[None]:
    answer: Answer[None] = Answer(loop=asyncio.get_running_loop())
    answer.asked = asked
    return answer


async def until(flag: Flag, answer: asyncio.Future[None]) -> None:
    """Wait until it is set, or something else becomes of ``answer``."""
    loop = asyncio.get_running_loop()

    def look() -> None:
        if flag.is_set() and not answer.done():
            answer.set_result(None)
        elif not answer.done():
            loop.call_later(LOOK, look)

    def tell() -> None:
        with suppress(RuntimeError):  # the loop was closed meanwhile: nothing waits there any more
            loop.call_soon_threadsafe(look)

    flag.then(tell)
    look()
    await answer
