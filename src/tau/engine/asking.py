"""Asking an async route, for as long as the run goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from tau.engine.stop import StopNow
from tau.graph.edges import Route
from tau.log.journal import Journal
from tau.node.async_calls import cancellations, cancelled_inside
from tau.state import State
from tau.waiting import LOOK


async def answer_of(route: Route, state: State, stopping: Callable[[], str], journal: Journal | None) -> Any:
    """Await an async route. It is cancelled when the run is to stop or belongs to another owner: it has finished
    nothing that would be lost, and a resume asks it again. Raises `StopNow`, and what the route raises."""
    watch = _Watch(stopping, journal)
    try:
        async with watch.scope:
            watch.begin()
            return await route.function(state if route.reader is None else route.reader.instance(state))
    except TimeoutError:
        if watch.scope.expired():
            raise StopNow(watch.reason) from None
        raise
    except asyncio.CancelledError as error:
        if not cancellations():
            raise cancelled_inside(f"the route of node {route.source!r}", error) from error
        raise
    finally:
        watch.end()


class _Watch:
    """Looks now and then whether the run goes on, and ends its scope if it does not."""

    def __init__(self, stopping: Callable[[], str], journal: Journal | None) -> None:
        self.scope = asyncio.timeout(None)
        self.reason = ""
        self._stopping, self._journal = stopping, journal
        self._next: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        self._next = asyncio.get_running_loop().call_later(LOOK, self._look)

    def _look(self) -> None:
        self.reason = self._stopping()
        if not self.reason and self._journal is not None and self._journal.superseded:
            self.reason = "another process has changed the run"
        if self.reason:
            self.scope.reschedule(asyncio.get_running_loop().time())
        else:
            self.begin()

    def end(self) -> None:
        if self._next is not None:
            self._next.cancel()
