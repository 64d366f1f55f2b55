"""How an async node's function is called: in the event loop of a sync run, or with a timeout."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from tau.calls import timed_out
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
            raise timed_out(node) from None
        raise
