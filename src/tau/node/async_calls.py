"""How an async node's function is called: in the event loop of a sync run, or with a timeout."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from typing import Any, TypeVar

from tau.errors import TauError
from tau.graph.graph import Node
from tau.node.calls import timed_out
from tau.node.left_calls import Call, Key

T = TypeVar("T")


class NodeLoop:
    """An event loop for the async nodes of one sync run, in a thread of its own where this one has a loop running."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._pool: ThreadPoolExecutor | None = None
        self._is_left = False
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="tau-loop")

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        context = contextvars.copy_context()
        if self._pool is None:
            return self._runner.run(coroutine, context=context)
        tasks: list[asyncio.Task[Any]] = []

        async def in_a_task() -> T:
            task = asyncio.current_task()
            assert task is not None
            tasks.append(task)
            return await coroutine

        future = self._pool.submit(lambda: self._runner.run(in_a_task(), context=context))
        try:
            return future.result()
        except BaseException:
            if not future.done():  # an interrupt of the thread that waits here
                self._cancel(tasks, future)
            raise

    def _cancel(self, tasks: list[asyncio.Task[Any]], future: Future[Any]) -> None:
        """Cancel the node and wait for its end; another interrupt ends the waiting."""
        self._is_left = True
        for task in tasks:
            task.get_loop().call_soon_threadsafe(task.cancel)
        wait([future])
        self._is_left = False

    def close(self) -> None:
        if self._pool is None:
            self._runner.close()
        elif self._is_left:
            self._pool.shutdown(wait=False)
        else:
            self._pool.submit(self._runner.close).result()
            self._pool.shutdown()


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
            raise cancelled_inside(node, error) from error
        raise


async def in_a_thread(key: Key, function: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    """Call a node in the loop's pool."""
    call = Call(function)
    try:
        return await asyncio.to_thread(call)
    except BaseException:
        call.leave(key)
        raise


def cancellations() -> int:
    """How often the task that runs here was asked to end; 0 where there is none."""
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()


def cancelled_inside(node: Node, error: BaseException) -> TauError:
    """The failure of a node that ends with a cancellation that was not requested of its run."""
    failure = TauError(
        f"node {node.name!r} ended with {type(error).__name__}, although the run was not cancelled: something that it "
        "awaited was cancelled; catch that in the node, or let it come to its end"
    )
    failure.__cause__ = error
    return failure


class Answer(asyncio.Future[T]):
    """The result of a commit under way, which cannot be called back: a cancellation is raised once it is there."""

    def cancel(self, msg: Any = None) -> bool:
        return False


async def done(future: Future[Any]) -> None:
    """Wait until something has become of ``future``; a cancellation is raised then."""
    loop = asyncio.get_running_loop()
    answer: Answer[None] = Answer(loop=loop)

    def tell(_: Future[Any]) -> None:
        with suppress(RuntimeError):  # the loop was closed meanwhile: nothing waits there any more
            loop.call_soon_threadsafe(answer.set_result, None)

    future.add_done_callback(tell)
    await answer
