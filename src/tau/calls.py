"""How a node's function is called: in an event loop for a sync run, or with a timeout."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from tau.errors import NodeTimeoutError
from tau.graph import Node

T = TypeVar("T")


class NodeLoop:
    """An event loop for the async nodes of one sync run, in a thread of its own where this one has a loop running."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._pool: ThreadPoolExecutor | None = None
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="tau-loop")

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        context = contextvars.copy_context()
        if self._pool is None:
            return self._runner.run(coroutine, context=context)
        return self._pool.submit(lambda: self._runner.run(coroutine, context=context)).result()

    def close(self) -> None:
        if self._pool is None:
            self._runner.close()
        else:
            self._pool.submit(self._runner.close).result()
            self._pool.shutdown()


async def with_timeout(node: Node, coroutine: Coroutine[Any, Any, Any]) -> Any:
    try:
        async with asyncio.timeout(node.timeout) as scope:
            return await coroutine
    except TimeoutError:
        if scope.expired():
            raise _timed_out(node) from None
        raise


def call_in_thread(node: Node, call: Callable[[], Any]) -> Any:
    """Call in a thread that is left to itself after the timeout; what it returns then goes nowhere."""
    done = threading.Event()
    box: list[Any] = [None, None]

    def work() -> None:
        try:
            box[0] = call()
        except BaseException as error:
            box[1] = error
        done.set()

    threading.Thread(
        target=contextvars.copy_context().run, args=(work,), name=f"tau-node-{node.name}", daemon=True
    ).start()
    if not done.wait(node.timeout):
        raise _timed_out(node)
    if box[1] is not None:
        raise box[1]
    return box[0]


def _timed_out(node: Node) -> NodeTimeoutError:
    seconds = node.timeout or 0.0
    return NodeTimeoutError(
        f"node {node.name!r} did not finish within its timeout of {seconds:g} s", node=node.name, seconds=seconds
    )
